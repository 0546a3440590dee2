// paste_masks and encode_rle, and that the second says what the first draws.
#include <cstring>

#include "ops.h"
#include "results.h"

namespace fuzz {
namespace {

constexpr int64_t kMostPixels = 1 << 16;  // of a plane that is compared

struct Masks {
  Tensor probs, boxes;
  std::string rule;
  bool inclusive;
};

Masks masks_of(Tensors& tensors, Bytes& bytes) {
  const int64_t count = bytes.size() % 6, size = 1 + bytes.size() % 14;
  const Tensor probs = tensors.like({count, size, size}, ScalarType::Float);
  const Tensor boxes = tensors.like({count, 4}, ScalarType::Float);
  return {probs, boxes, bytes.seldom() ? "nearest" : bytes.flag() ? "exact" : "integer", bytes.flag()};
}

int64_t side(Bytes& bytes) { return bytes.seldom() ? bytes.integer() : 1 + bytes.byte() % 64; }

// COCO's reading of a string, without the shortcuts of ours: pixels of runs of 0 and 1 in turn.
std::vector<int64_t> decoded(const uint8_t* begin, const uint8_t* end) {
  std::vector<int64_t> runs;
  while (begin < end) {
    int64_t value = 0, bit = 0, group = 32;
    while (group & 32) {
      must(begin < end && *begin >= 48 && *begin < 112 && bit < 35, "encode_rle", "a run length is not COCO's");
      group = *begin++ - 48;
      value |= (group & 31) << bit;
      bit += 5;
    }
    if (group & 16) value -= INT64_C(1) << bit;
    runs.push_back(runs.size() > 2 ? value + runs[runs.size() - 2] : value);
  }
  return runs;
}

void check_runs(const std::vector<int64_t>& runs, int64_t pixels) {
  int64_t sum = 0;
  for (size_t i = 0; i < runs.size(); ++i) {
    must(runs[i] > 0 || (i == 0 && runs[i] == 0), "encode_rle", "a run is empty or negative");
    sum += runs[i];
  }
  must(sum == pixels, "encode_rle", "the runs must sum to the picture");
}

// The plane of one instance, column by column, is what the runs say.
void compare(const Masks& masks, int64_t row, const std::vector<int64_t>& runs, int64_t height, int64_t width,
             double threshold) {
  const Tensor probs = torch::stable::narrow(const_cast<Tensor&>(masks.probs), 0, row, 1);
  const Tensor boxes = torch::stable::narrow(const_cast<Tensor&>(masks.boxes), 0, row, 1);
  const Outcome outcome = call("paste_masks", 1, probs, boxes, height, width, threshold, masks.rule, masks.inclusive);
  must(!outcome.refused(), "paste_masks", "it refuses what encode_rle takes");
  const auto* plane = static_cast<const uint8_t*>(outcome.results[0].const_data_ptr());
  int64_t pixel = 0;
  for (size_t i = 0; i < runs.size(); ++i)
    for (const int64_t end = pixel + runs[i]; pixel < end; ++pixel)
      must(plane[pixel % height * width + pixel / height] == i % 2, "encode_rle",
           "it says another mask than paste_masks");
}

}  // namespace

void paste_masks(Bytes& bytes) {
  Tensors tensors(bytes);
  const Masks masks = masks_of(tensors, bytes);
  const int64_t height = side(bytes), width = side(bytes);
  const double threshold = bytes.number();
  const Outcome outcome =
      call("paste_masks", 1, masks.probs, masks.boxes, height, width, threshold, masks.rule, masks.inclusive);
  if (outcome.refused()) return;
  must_be("paste_masks", outcome.results[0], {masks.probs.size(0), height, width}, ScalarType::Bool);
  const auto* plane = static_cast<const uint8_t*>(outcome.results[0].const_data_ptr());
  for (int64_t i = 0; i < outcome.results[0].numel(); ++i)
    must(plane[i] <= 1, "paste_masks", "a pixel is neither 0 nor 1");
}

void encode_rle(Bytes& bytes) {
  Tensors tensors(bytes);
  const Masks masks = masks_of(tensors, bytes);
  const int64_t count = masks.probs.dim() > 0 ? masks.probs.size(0) : 0;
  const Tensor sizes = tensors.like({count, 2}, ScalarType::Long),
               thresholds = tensors.like({count}, ScalarType::Float);
  const bool usual =
      !bytes.seldom() && sizes.dim() == 2 && sizes.size(1) == 2 && sizes.scalar_type() == ScalarType::Long;
  auto* size = static_cast<int64_t*>(const_cast<void*>(sizes.const_data_ptr()));
  for (int64_t row = 0; usual && row < sizes.size(0) && row < 64; ++row)
    for (int64_t axis = 0; axis < 2; ++axis)
      size[row * sizes.stride(0) + axis * sizes.stride(1)] = 1 + bytes.byte() % 100;
  const Outcome outcome =
      call("encode_rle", 2, masks.probs, masks.boxes, sizes, thresholds, masks.rule, masks.inclusive);
  if (outcome.refused()) return;
  const Tensor &strings = outcome.results[0], &offsets = outcome.results[1];
  must_be("encode_rle", offsets, {count + 1}, ScalarType::Long);
  const int64_t* offset = offsets.const_data_ptr<int64_t>();
  must_be("encode_rle", strings, {offset[count]}, ScalarType::Byte);
  must(offset[0] == 0, "encode_rle", "the first string must begin at 0");
  for (int64_t row = 0; row < count; ++row) {
    must(offset[row] < offset[row + 1], "encode_rle", "a string is empty");
    const auto* string = strings.const_data_ptr<uint8_t>();
    const std::vector<int64_t> runs = decoded(string + offset[row], string + offset[row + 1]);
    const int64_t height = size[row * sizes.stride(0)], width = size[row * sizes.stride(0) + sizes.stride(1)];
    check_runs(runs, height * width);
    const double threshold = static_cast<const float*>(thresholds.const_data_ptr())[row * thresholds.stride(0)];
    if (height * width <= kMostPixels) compare(masks, row, runs, height, width, threshold);
  }
}

}  // namespace fuzz

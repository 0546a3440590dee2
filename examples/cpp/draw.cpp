#include "draw.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace {

using torch::Tensor;

constexpr std::array<std::array<uint8_t, 3>, 7> kColours{
    {{230, 25, 75}, {60, 180, 75}, {0, 130, 200}, {245, 130, 48}, {145, 30, 180}, {70, 240, 240}, {240, 50, 230}}};
constexpr double kOpacity = 115.0 / 255;

// Lengths of the runs outside and inside in turn. Groups of five bits, lowest first; from the fourth length on it is
// the difference to the length two before.
std::vector<int64_t> run_lengths(const std::string& counts) {
  std::vector<int64_t> lengths;
  for (size_t at = 0; at < counts.size();) {
    int64_t length = 0, group = 0;
    int shift = 0;
    do {
      if (at == counts.size() || shift > 30) throw std::runtime_error("mask: a run length is cut off");
      group = counts[at++] - 48;
      length |= (group & 31) << shift;
      shift += 5;
    } while (group & 32);
    if (group & 16) length -= int64_t{1} << shift;
    lengths.push_back(lengths.size() > 2 ? length + lengths[lengths.size() - 2] : length);
  }
  return lengths;
}

Tensor outline(const Tensor& plane) {  // pixels of the mask that have a neighbour outside it
  const Tensor padded = torch::constant_pad_nd(plane, {1, 1, 1, 1});
  const int64_t height = plane.size(0), width = plane.size(1);
  const auto moved = [&](int64_t down, int64_t right) { return padded.narrow(0, 1 + down, height).narrow(1, 1 + right, width); };
  return plane & ~(moved(-1, 0) & moved(1, 0) & moved(0, -1) & moved(0, 1));
}

void tint(Tensor& drawn, const Tensor& plane, const Tensor& colour) {
  const Tensor edge = outline(plane).unsqueeze(2), area = plane.unsqueeze(2);
  const Tensor blended = drawn * (1 - kOpacity) + colour * kOpacity;
  drawn = torch::where(edge, colour, torch::where(area, blended, drawn));
}

void frame(Tensor& drawn, const Tensor& box, const Tensor& colour) {
  const auto* corners = box.const_data_ptr<float>();
  const auto inside = [](float at, int64_t length) { return std::clamp<int64_t>(std::lround(at), 0, length - 1); };
  const int64_t left = inside(corners[0], drawn.size(1)), right = inside(corners[2], drawn.size(1));
  const int64_t top = inside(corners[1], drawn.size(0)), bottom = inside(corners[3], drawn.size(0));
  Tensor area = drawn.slice(0, top, bottom + 1).slice(1, left, right + 1);
  for (const int64_t side : {0, 1})
    for (const int64_t place : {0, -1}) area.select(side, place) = colour;
}

}  // namespace

Tensor decode_mask(const std::string& counts, Size picture) {
  const Tensor plane = torch::zeros({picture.width * picture.height}, torch::kBool);  // column by column
  int64_t at = 0;
  bool inside = false;
  for (const int64_t length : run_lengths(counts)) {
    if (length < 0 || length > plane.size(0) - at) throw std::runtime_error("mask: run lengths do not fit the picture");
    if (inside) plane.narrow(0, at, length).fill_(true);
    at += length;
    inside = !inside;
  }
  if (at != plane.size(0)) throw std::runtime_error("mask: run lengths do not fill the picture");
  return plane.view({picture.width, picture.height}).t();
}

Tensor draw(const Tensor& pixels, const Detections& found) {
  Tensor drawn = pixels.to(torch::kFloat);
  const auto colour_of = [](size_t row) {
    const auto& [red, green, blue] = kColours[row % kColours.size()];
    return torch::tensor({float(red), float(green), float(blue)});
  };
  for (size_t row = found.masks.size(); row-- > 0;)
    tint(drawn, decode_mask(found.masks[row], found.picture), colour_of(row));
  for (auto row = static_cast<size_t>(found.boxes.size(0)); row-- > 0;)
    frame(drawn, found.boxes[static_cast<int64_t>(row)], colour_of(row));
  return drawn.round().to(torch::kByte).contiguous();
}

// nms, propose and select_detections.
#include <set>

#include "ops.h"
#include "results.h"

namespace fuzz {
namespace {

std::vector<double> box_weights(Bytes& bytes) {
  if (!bytes.seldom()) return {10, 10, 5, 5};
  std::vector<double> weights(bytes.below(6));
  for (double& each : weights) each = bytes.number();
  return weights;
}

double threshold(Bytes& bytes) { return bytes.seldom() ? bytes.number() : bytes.byte() / 255.0; }

// Suppression compares every box with every other, so more of them take longer than a fuzzer waits.
constexpr int64_t kMostBoxes = 4096;

int64_t count_of(Bytes& bytes) { return bytes.seldom() ? bytes.integer() : bytes.byte() % 32; }

}  // namespace

void nms(Bytes& bytes) {
  Tensors tensors(bytes);
  const int64_t count = bytes.seldom() ? bytes.size() * 20 : bytes.size();  // a block of the op is 1024
  const Tensor boxes = tensors.like({count, 4}, ScalarType::Float), scores = tensors.like({count}, ScalarType::Float);
  std::optional<Tensor> classes;
  if (bytes.flag()) classes = tensors.like({count}, ScalarType::Long);
  const double limit = threshold(bytes);
  const bool legacy = bytes.flag(), inclusive = bytes.flag();
  if (count > kMostBoxes && count <= kMostElements) return;
  const Outcome outcome = call("nms", 1, boxes, scores, limit, classes, legacy, inclusive);
  if (outcome.refused()) return;
  const Tensor& kept = outcome.results[0];
  must(kept.size(0) <= boxes.size(0), "nms", "more boxes are kept than there are");
  must_be("nms", kept, {kept.size(0)}, ScalarType::Long);
  const int64_t* index = kept.const_data_ptr<int64_t>();
  const std::set<int64_t> distinct(index, index + kept.size(0));
  must(static_cast<int64_t>(distinct.size()) == kept.size(0), "nms", "an index is kept twice");
  must(distinct.empty() || (*distinct.begin() >= 0 && *distinct.rbegin() < boxes.size(0)), "nms",
       "an index is no box's");
  const auto score = [&](int64_t i) {
    const float value = static_cast<const float*>(scores.const_data_ptr())[i * scores.stride(0)];
    return std::isnan(value) ? -INFINITY : value;
  };
  for (int64_t i = 1; i < kept.size(0); ++i) {
    const float better = score(index[i - 1]), worse = score(index[i]);
    must(better > worse || (better == worse && index[i - 1] < index[i]), "nms", "indices must come best first");
  }
}

void propose(Bytes& bytes) {
  Tensors tensors(bytes);
  const int64_t images = bytes.size() % 4, anchors = bytes.size() % 5, depth = 1 + bytes.below(3);
  const ScalarType dtype = tensors.feature_dtype();
  const Tensor image_sizes = tensors.like({images, 2}, ScalarType::Long);
  const Tensor cells = tensors.like({depth, anchors, 4}, ScalarType::Float);
  std::optional<Tensor> levels[12];
  for (int64_t i = 0; i < depth; ++i) {
    const int64_t height = bytes.size(), width = bytes.size();
    if (!bytes.seldom() || i == 0) levels[2 * i] = tensors.like({images, anchors, height, width}, dtype);
    if (!bytes.seldom() || i == 0) levels[2 * i + 1] = tensors.like({images, 4 * anchors, height, width}, dtype);
    if (levels[2 * i] && levels[2 * i]->numel() > kMostBoxes) return;
  }
  std::vector<int64_t> strides;
  for (int64_t i = 0; i < depth; ++i) strides.push_back(bytes.seldom() ? bytes.integer() : int64_t{4} << i);
  if (bytes.seldom()) strides.pop_back();
  const int64_t before = count_of(bytes), after = count_of(bytes);
  const double limit = threshold(bytes), min_size = bytes.seldom() ? bytes.number() : 0;
  std::optional<double> least;
  if (bytes.flag()) least = bytes.number();
  const bool sigmoid = bytes.flag(), from_grid = bytes.flag(), legacy = bytes.flag(), inclusive = bytes.flag();
  const Outcome outcome =
      call("propose", 3, image_sizes, cells, *levels[0], *levels[1], levels[2], levels[3], levels[4], levels[5],
           levels[6], levels[7], levels[8], levels[9], levels[10], levels[11], strides, before, after, limit,
           box_weights(bytes), min_size, least, sigmoid, from_grid, legacy, inclusive);
  if (outcome.refused()) return;
  must_be_ranked("propose", outcome.results[0], outcome.results[1], outcome.results[2]);
  must(outcome.results[1].size(1) <= after, "propose", "more rows than were asked for");
}

namespace {

// labels and proposal_rows, where the counts say that there are some.
void check_labels(const Outcome& outcome, int64_t proposals, int64_t classes, int64_t background, double least) {
  const Tensor &scores = outcome.results[1], &labels = outcome.results[2], &rows = outcome.results[3];
  const int64_t images = scores.size(0), most = scores.size(1);
  must_be("select_detections", labels, {images, most}, ScalarType::Long);
  must_be("select_detections", rows, {images, most}, ScalarType::Long);
  for (int64_t i = 0; i < images * most; ++i) {
    const int64_t label = labels.const_data_ptr<int64_t>()[i], row = rows.const_data_ptr<int64_t>()[i];
    if (i % most >= outcome.results[4].const_data_ptr<int64_t>()[i / most]) {
      must(label == 0 && row == 0, "select_detections", "a row past counts is not 0");
      continue;
    }
    must(label >= 0 && label < classes && label != background, "select_detections", "a label is no class");
    must(row >= 0 && row < proposals, "select_detections", "a proposal row is none");
    must(scores.const_data_ptr<float>()[i] > static_cast<float>(least), "select_detections", "a score is too low");
  }
}

}  // namespace

void select_detections(Bytes& bytes) {
  Tensors tensors(bytes);
  const int64_t images = bytes.size() % 4, proposals = bytes.size(), classes = 1 + bytes.size() % 7,
                rows = images * proposals;
  const int64_t columns[] = {4 * classes, 4 * (classes - 1), 4};
  const ScalarType dtype = tensors.feature_dtype();
  const Tensor scores = tensors.like({rows, classes}, dtype),
               deltas = tensors.like({rows, columns[bytes.below(3)]}, dtype);
  const Tensor boxes = tensors.like({images, proposals, 4}, ScalarType::Float);
  const Tensor counts = tensors.like({images}, ScalarType::Long), sizes = tensors.like({images, 2}, ScalarType::Long);
  constexpr const char* kActivations[] = {"softmax", "sigmoid", "none", "relu"};
  const std::string activation = kActivations[bytes.below(4)];
  const double least = threshold(bytes), limit = threshold(bytes), min_size = bytes.seldom() ? bytes.number() : 0;
  const int64_t most = count_of(bytes);
  const bool background_first = bytes.flag(), legacy = bytes.flag(), inclusive = bytes.flag();
  const Outcome outcome = call("select_detections", 5, scores, deltas, boxes, counts, sizes, least, limit, most,
                               box_weights(bytes), activation, background_first, min_size, legacy, inclusive);
  if (outcome.refused()) return;
  must_be_ranked("select_detections", outcome.results[0], outcome.results[1], outcome.results[4]);
  must(outcome.results[1].size(1) == most, "select_detections", "rows must be max_detections");
  const int64_t columns_found = scores.size(1);
  check_labels(outcome, boxes.size(1), columns_found, background_first ? 0 : columns_found - 1, least);
}

}  // namespace fuzz

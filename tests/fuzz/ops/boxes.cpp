// nms, propose and select_detections.
#include <map>
#include <set>

#include "ops.h"
#include "overlaps.h"

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

// Kept are those of ordinary boxes that no better kept one of their class suppresses, and no others.
void check_suppression(const Tensor& boxes, const std::optional<Tensor>& classes, const Suppression& rule,
                       const std::vector<int64_t>& kept, const std::set<int64_t>& distinct) {
  const int64_t count = boxes.size(0);
  must(count == 0 || !kept.empty(), "nms", "the best box must be kept");
  if (count > kMostCompared) return;
  const auto corners = [&](int64_t i) { return corners_at(boxes, i * boxes.stride(0), boxes.stride(1)); };
  const auto label = [&](int64_t i) {
    return classes ? static_cast<const int64_t*>(classes->const_data_ptr())[i * classes->stride(0)] : 0;
  };
  std::map<int64_t, std::vector<Corners>> by_class;
  for (const int64_t i : kept) by_class[label(i)].push_back(corners(i));
  for (const auto& [_, all] : by_class) must_be_apart("nms", all, rule);
  bool ordinary = true;
  for (int64_t i = 0; i < count; ++i) ordinary = ordinary && corners(i).ordinary();
  for (int64_t i = 0; ordinary && i < count; ++i) {
    const std::vector<Corners>& others = by_class[label(i)];
    must(distinct.contains(i) || std::any_of(others.begin(), others.end(),
                                             [&](const Corners& each) { return rule.may_go(each, corners(i)); }),
         "nms", "a box is dropped that overlaps with none that is kept");
  }
}

// Such that a box of ordinary deltas has sides that are numbers, in order.
bool moderate(const Tensors& tensors, const std::vector<double>& weights) {
  return tensors.largest() < kFarthest && std::all_of(weights.begin(), weights.end(), [](double w) { return w >= 0.1; });
}

// Of float32 boxes (B, N, 4) or (N, 4) in any strides.
bool all_ordered(const Tensor& boxes) {
  const int64_t rank = boxes.dim(), planes = rank == 3 ? boxes.size(0) : 1;
  if (boxes.numel() == 0 || boxes.numel() > kMostElements) return false;
  for (int64_t plane = 0; plane < planes; ++plane)
    for (int64_t row = 0; row < boxes.size(rank - 2); ++row) {
      const int64_t begin = (rank == 3 ? plane * boxes.stride(0) : 0) + row * boxes.stride(rank - 2);
      if (!corners_at(boxes, begin, boxes.stride(rank - 1)).ordered()) return false;
    }
  return true;
}

// The boxes (B, N, 4) of one image, as an op returns them: the first `count`.
std::vector<Corners> boxes_of(const Tensor& boxes, int64_t image, int64_t count) {
  std::vector<Corners> found;
  for (int64_t row = 0; row < count; ++row) found.push_back(corners_at(boxes, (image * boxes.size(1) + row) * 4, 1));
  return found;
}

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
  if (!bytes.seldom()) put_sides_in_order(boxes);
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
  check_suppression(boxes, classes, {limit, legacy}, {index, index + kept.size(0)}, distinct);
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
  const std::vector<double> weights = box_weights(bytes);
  if (!bytes.seldom()) put_sides_in_order(cells);
  const Outcome outcome =
      call("propose", 3, image_sizes, cells, *levels[0], *levels[1], levels[2], levels[3], levels[4], levels[5],
           levels[6], levels[7], levels[8], levels[9], levels[10], levels[11], strides, before, after, limit,
           weights, min_size, least, sigmoid, from_grid, legacy, inclusive);
  if (outcome.refused()) return;
  must_be_ranked("propose", outcome.results[0], outcome.results[1], outcome.results[2]);
  const int64_t rows = outcome.results[1].size(1);
  must(rows <= after, "propose", "more rows than were asked for");
  const bool some = moderate(tensors, weights) && all_ordered(cells) && min_size <= 0 && !least;
  for (int64_t image = 0; image < outcome.results[2].size(0); ++image) {
    const int64_t count = outcome.results[2].const_data_ptr<int64_t>()[image];
    must(count > 0 || rows == 0 || !some, "propose", "the best anchor must be kept");
    // Levels leave each other alone, and the result does not say of which one a box is.
    if (depth == 1) must_be_apart("propose", boxes_of(outcome.results[0], image, count), {limit, legacy});
  }
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

// What an activation makes of the score of one row and label.
double activated(const Tensor& scores, int64_t row, int64_t label, const std::string& activation) {
  const auto raw = [&](int64_t at) -> double {
    return element(scores, row * scores.stride(0) + at * scores.stride(1));
  };
  if (activation == "none") return raw(label);
  if (activation == "sigmoid") return 1 / (1 + std::exp(-raw(label)));
  double sum = 0;
  for (int64_t other = 0; other < scores.size(1); ++other) sum += std::exp(raw(other) - raw(label));
  return 1 / sum;
}

// Whether one of some rows has a foreground score that is above the threshold, and not only by rounding.
bool has_score(const Tensor& scores, int64_t begin, int64_t end, int64_t background, const std::string& activation,
               double least) {
  for (int64_t row = begin; row < end; ++row)
    for (int64_t label = 0; label < scores.size(1); ++label)
      if (label != background && activated(scores, row, label, activation) > least + kSlack) return true;
  return false;
}

// Of each label those that are kept must be apart.
void check_apart(const Outcome& outcome, int64_t image, int64_t count, const Suppression& rule) {
  const std::vector<Corners> boxes = boxes_of(outcome.results[0], image, count);
  std::map<int64_t, std::vector<Corners>> by_label;
  for (int64_t row = 0; row < count; ++row)
    by_label[outcome.results[2].const_data_ptr<int64_t>()[image * outcome.results[2].size(1) + row]].push_back(
        boxes[row]);
  for (const auto& [_, all] : by_label) must_be_apart("select_detections", all, rule);
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
  const std::vector<double> weights = box_weights(bytes);
  if (!bytes.seldom()) put_sides_in_order(boxes);
  const Outcome outcome = call("select_detections", 5, scores, deltas, boxes, counts, sizes, least, limit, most,
                               weights, activation, background_first, min_size, legacy, inclusive);
  if (outcome.refused()) return;
  must_be_ranked("select_detections", outcome.results[0], outcome.results[1], outcome.results[4]);
  must(outcome.results[1].size(1) == most, "select_detections", "rows must be max_detections");
  const int64_t background = background_first ? 0 : scores.size(1) - 1, rows_found = boxes.size(1);
  check_labels(outcome, rows_found, scores.size(1), background, least);
  const bool usual = moderate(tensors, weights) && min_size <= 0 && most > 0 && all_ordered(boxes);
  for (int64_t image = 0; image < boxes.size(0); ++image) {
    const int64_t count = outcome.results[4].const_data_ptr<int64_t>()[image], begin = image * rows_found;
    const int64_t filled = std::clamp<int64_t>(
        static_cast<const int64_t*>(counts.const_data_ptr())[image * counts.stride(0)], 0, rows_found);
    must(count > 0 || !usual || !has_score(scores, begin, begin + filled, background, activation, least),
         "select_detections", "the best detection must be kept");
    check_apart(outcome, image, count, {limit, legacy});
  }
}

}  // namespace fuzz

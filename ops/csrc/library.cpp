// Table of contents: the schema of every op. Saved traces name these schemas, so they are public: to change
// one, add a new op. Contracts stand in csrc/<op>.h, kernels in csrc/cpu/<op>.cpp and csrc/cuda/<op>.cu.
//
// Pyramid levels are separate arguments, not a Tensor[]: the stable ABI moves tensors out of a list that two
// calls of one graph share, and the second call would get undefined tensors (seen with PyTorch 2.13).
#include <torch/csrc/stable/library.h>

STABLE_TORCH_LIBRARY(maskrcnn, ops) {
  // Pictures -> canvas
  ops.def(
      "resize_normalize(Tensor[] images, Tensor sizes, int height, int width, *, float[] mean, float[] std,"
      " float divisor=255.0, str filter='bilinear', bool bgr=False, ScalarType? dtype=None) -> Tensor");

  // Boxes
  ops.def(
      "propose(Tensor image_sizes, Tensor cell_anchors, Tensor objectness0, Tensor deltas0,"
      " Tensor? objectness1=None, Tensor? deltas1=None, Tensor? objectness2=None, Tensor? deltas2=None,"
      " Tensor? objectness3=None, Tensor? deltas3=None, Tensor? objectness4=None, Tensor? deltas4=None,"
      " Tensor? objectness5=None, Tensor? deltas5=None, *, int[] strides, int pre_nms_top_n, int post_nms_top_n,"
      " float nms_threshold, float[] box_weights=[1.0, 1.0, 1.0, 1.0], float min_size=0.0,"
      " float? score_threshold=None, bool sigmoid=True, bool strides_from_grid=False, bool legacy=False,"
      " bool inclusive=False) -> (Tensor boxes, Tensor scores, Tensor counts)");
  ops.def(
      "nms(Tensor boxes, Tensor scores, float iou_threshold, Tensor? classes=None, *, bool legacy=False,"
      " bool inclusive=False) -> Tensor");
  ops.def(
      "select_detections(Tensor class_scores, Tensor box_deltas, Tensor proposals, Tensor counts,"
      " Tensor image_sizes, *, float score_threshold, float nms_threshold, int max_detections,"
      " float[] box_weights, str activation='softmax', bool background_first=True, float min_size=0.0,"
      " bool legacy=False, bool inclusive=False)"
      " -> (Tensor boxes, Tensor scores, Tensor labels, Tensor proposal_rows, Tensor counts)");

  // Features
  ops.def(
      "roi_align(Tensor features, Tensor rois, float spatial_scale, int pooled_height, int pooled_width,"
      " int sampling_ratio=-1, bool aligned=False) -> Tensor");
  ops.def(
      "pyramid_roi_align(Tensor boxes, Tensor counts, Tensor level0, Tensor? level1=None, Tensor? level2=None,"
      " Tensor? level3=None, Tensor? level4=None, Tensor? level5=None, *, float[] spatial_scales,"
      " int pooled_height, int pooled_width, int sampling_ratio=-1, bool aligned=False, int canonical_level=4,"
      " float canonical_size=224.0, float ratio_epsilon=0.0, float level_epsilon=1e-6, bool legacy=False)"
      " -> Tensor");
  ops.def(
      "deform_conv2d(Tensor features, Tensor weight, Tensor offset, Tensor? mask=None, Tensor? bias=None, *,"
      " int stride=1, int padding=0, int dilation=1) -> Tensor");

  // Masks
  ops.def(
      "paste_masks(Tensor probs, Tensor boxes, int height, int width, float threshold=0.5, *,"
      " str rule='exact', bool inclusive=True) -> Tensor");
  ops.def(
      "encode_rle(Tensor probs, Tensor boxes, Tensor image_sizes, Tensor thresholds, *, str rule='exact',"
      " bool inclusive=True) -> (Tensor counts, Tensor offsets)");
}

// The exported model, from a picture to detections; see handler/detector.py.
#pragma once
#include <torch/script.h>

#include <string>
#include <vector>

#include "archive.h"
#include "canvas.h"
#include "model_card.h"

struct Selection {  // what is answered of a picture
  double score_threshold;
  int64_t max_detections;
  double mask_threshold;
};

struct Detections {  // of one picture, best score first, in its pixels; tensors on the CPU
  Size picture;
  torch::Tensor boxes;   // (N, 4) float32, x1 y1 x2 y2
  torch::Tensor scores;  // (N,) float32
  torch::Tensor labels;  // (N,) int64
  std::vector<std::string> masks;  // N, COCO's compressed run lengths; none from a model that finds boxes only
};

class Detector {
 public:
  // Loads the ops, then the trace. UserError: they do not load, or there is no such device.
  Detector(const ModelFiles& files, ModelCard card, torch::Device device);

  const ModelCard& card() const { return card_; }
  Selection default_selection() const;

  // pixels: (H, W, 3) uint8, RGB, on the CPU.
  Detections detect(const torch::Tensor& pixels, const Selection& selection);

 private:
  torch::Tensor place(const torch::Tensor& pixels, Size resized) const;
  std::vector<std::string> masks(const torch::Tensor& boxes_on_canvas, const torch::Tensor& boxes,
                                 const torch::Tensor& labels, at::ArrayRef<c10::IValue> levels, Size picture,
                                 double threshold);

  ModelCard card_;
  torch::Device device_;
  torch::jit::Module model_;
};

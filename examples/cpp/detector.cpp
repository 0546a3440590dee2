#include "detector.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <dlfcn.h>
#include <torch/cuda.h>
#include <torch/csrc/jit/passes/frozen_graph_optimizations.h>
#include <torch/csrc/jit/passes/inliner.h>
#include <torch/csrc/jit/runtime/graph_executor.h>

#include "error.h"
#include "join_layers.h"

namespace {

using c10::IValue;
using torch::Tensor;

// Registers the ops; before the trace is loaded, which names them.
void load_ops(const std::filesystem::path& library) {
  if (!dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL))
    throw UserError("the op library does not load with this PyTorch: " + std::string(dlerror()));
}

torch::jit::Stack call(const char* op, torch::jit::Stack arguments) {
  c10::Dispatcher::singleton().findSchemaOrThrow(op, "").callBoxed(arguments);
  return arguments;
}

void use_channels_last(torch::jit::Module& model) {
  for (Tensor weight : model.parameters())
    if (weight.dim() == 4) weight.set_data(weight.contiguous(at::MemoryFormat::ChannelsLast));
}

torch::jit::Module load_trace(const std::filesystem::path& path, const ModelCard& card, torch::Device device) {
  torch::jit::Module model;
  try {
    model = torch::jit::load(path.string(), device);
  } catch (const c10::Error& error) {
    throw UserError(path.filename().string() + " does not load: " + error.what_without_backtrace());
  }
  model.eval();
  use_channels_last(model);
  std::vector<std::string> methods{"detect"};
  if (card.postprocessing.masks) methods.emplace_back("segment");
  model = torch::jit::freeze(model, methods);
  for (const auto& name : methods) {
    auto graph = model.get_method(name).graph();
    torch::jit::Inline(*graph);
    torch::jit::OptimizeFrozenGraph(graph, /*optimize_numerics=*/true);
    if (device.is_cpu()) join_layers(*graph);
  }
  return model;
}

void check_device(torch::Device device, const std::filesystem::path& cuda_ops) {
  if (device.is_cpu()) return;
  if (!torch::cuda::is_available()) throw UserError("--device cuda: this PyTorch sees no GPU");
  if (!std::filesystem::is_regular_file(cuda_ops))
    throw UserError("--device cuda: the model was exported without kernels for it; export it where nvcc is");
}

}  // namespace

Detector::Detector(const ModelFiles& files, ModelCard card, torch::Device device)
    : card_(std::move(card)), device_(device) {
  check_device(device, files.cuda_ops);
  load_ops(files.ops);
  if (device.is_cuda()) load_ops(files.cuda_ops);
  // The profiling executor compiles kernels for the shapes of the first calls: seconds at each new size of a picture.
  torch::jit::getProfilingMode() = false;
  const c10::InferenceMode inference;
  model_ = load_trace(files.trace, card_, device);
}

Selection Detector::default_selection() const {
  const auto& post = card_.postprocessing;
  return {post.score_threshold, post.max_detections, post.mask_threshold};
}

Tensor Detector::place(const Tensor& pixels, Size resized) const {
  const auto& pre = card_.preprocessing;
  const Size canvas = canvas_size(resized, pre);
  const Tensor sizes = torch::tensor({{resized.height, resized.width}});  // (1, 2)
  const c10::List<Tensor> pictures({pixels.to(device_)});
  return call("maskrcnn::resize_normalize",
              {pictures, sizes, canvas.height, canvas.width, pre.mean, pre.std, pre.pixel_divisor, pre.resize_filter,
               pre.bgr, torch::kFloat})[0]
      .toTensor();
}

Detections Detector::detect(const Tensor& pixels, const Selection& selection) {
  const c10::InferenceMode inference;
  const auto& post = card_.postprocessing;
  const Size picture{pixels.size(0), pixels.size(1)}, resized = resized_size(picture, card_.preprocessing);
  const Tensor sizes = torch::tensor({{resized.height, resized.width}}).to(device_);
  const IValue found = model_.get_method("detect")({place(pixels, resized), sizes});
  const std::vector<IValue> parts = found.toTupleRef().elements().vec();  // boxes, scores, labels, rows, counts, then the pyramid
  const Tensor on_canvas = parts[0].toTensor()[0].cpu(), scores = parts[1].toTensor()[0].cpu();
  const Tensor labels = parts[2].toTensor()[0].cpu();
  const auto count = parts[4].toTensor().item<int64_t>();

  const Tensor boxes = boxes_on_image(on_canvas, resized, picture, post.clip_boxes);
  Tensor kept = (torch::arange(scores.size(0)) < count) & (scores > std::max(selection.score_threshold, post.score_threshold));
  if (post.clip_boxes)  // who clips also drops what clipping left without an inside
    kept &= (boxes.slice(1, 2) - boxes.slice(1, 0, 2) > 0).all(1);
  const Tensor rows = kept.nonzero().flatten().slice(0, 0, selection.max_detections);

  Detections answer{picture, boxes.index_select(0, rows), scores.index_select(0, rows), labels.index_select(0, rows), {}};
  if (post.masks)
    answer.masks = masks(on_canvas.index_select(0, rows), answer.boxes, answer.labels,
                         at::ArrayRef<IValue>(parts).slice(5), picture, selection.mask_threshold);
  return answer;
}

std::vector<std::string> Detector::masks(const Tensor& boxes_on_canvas, const Tensor& boxes, const Tensor& labels,
                                         at::ArrayRef<IValue> levels, Size picture, double threshold) {
  const int64_t count = boxes.size(0);
  if (count == 0) return {};
  torch::jit::Stack arguments{boxes_on_canvas.to(device_), labels.to(device_),
                              torch::tensor({count}, torch::kLong).to(device_)};
  arguments.insert(arguments.end(), levels.begin(), levels.end());
  const Tensor probs = model_.get_method("segment")(arguments).toTensor();  // (N, M, M)
  const Tensor sizes = torch::tensor({{picture.height, picture.width}}).repeat({count, 1});
  const Tensor thresholds = torch::full({count}, threshold);
  const auto& post = card_.postprocessing;
  const auto encoded = call("maskrcnn::encode_rle", {probs, boxes.to(device_), sizes.to(device_), thresholds.to(device_),
                                                     post.paste_rule, post.paste_inclusive});
  const Tensor bytes = encoded[0].toTensor().cpu(), offsets = encoded[1].toTensor().cpu();
  const auto* text = reinterpret_cast<const char*>(bytes.const_data_ptr<uint8_t>());
  const auto* ends = offsets.const_data_ptr<int64_t>();
  std::vector<std::string> strings;
  for (int64_t row = 0; row < count; ++row) strings.emplace_back(text + ends[row], text + ends[row + 1]);
  return strings;
}

#include "../resize_normalize.h"

#include <optional>

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#include "canvas_tiles.h"
#include "launch.h"
#include "resize_bilinear.h"
#include "resize_pillow.h"

namespace maskrcnn {
namespace {

// blockIdx.y: twice the picture's number, plus 1 for its columns. One thread an output index.
__global__ void __launch_bounds__(kCanvasThreads) taps_kernel(const __grid_constant__ PillowSource source) {
  const PillowPicture& of = source.pictures[blockIdx.y / 2];
  const PillowTaps& taps = blockIdx.y % 2 == 0 ? of.rows : of.columns;
  const double scale = pillow_scale(taps.source_size, taps.size);
  for (int64_t output = grid_thread(); output < taps.size; output += grid_threads()) {
    const PillowTap tap = pillow_tap(output, taps.source_size, scale);
    const double total = pillow_total(tap);
    taps.first[output] = static_cast<int32_t>(tap.first);
    taps.count()[output] = static_cast<int32_t>(tap.count);
    for (int64_t index = 0; index < tap.count; ++index)
      taps.weights()[index * taps.size + output] = pillow_fixed_weight(tap, index, total);
  }
}

// blockIdx.y: the picture. One thread a pixel.
__global__ void __launch_bounds__(kCanvasThreads) between_kernel(const __grid_constant__ PillowSource source) {
  const PillowPicture& of = source.pictures[blockIdx.y];
  const int64_t width = of.between_width(), total = of.between_pixels();
  for (int64_t i = grid_thread(); i < total; i += grid_threads()) {
    const Pixel pixel = of.first_pass(i / width, i % width);
    of.between[i] = pixel.red | static_cast<uint32_t>(pixel.green) << 8 | static_cast<uint32_t>(pixel.blue) << 16;
  }
}

// The pictures of one launch, tiles.pictures of them, and their part of the canvas.
template <class Out>
struct Part {
  const Picture* pictures;
  CanvasTiles tiles;
  Normalisation normalisation;
  Out* canvas;
};

template <class Out>
void resize_bilinear(const Launcher& launch, const Part<Out>& part) {
  BilinearSource source{};
  std::copy_n(part.pictures, part.tiles.pictures, source.pictures);
  write_canvas(launch, source, part.normalisation, part.tiles, part.canvas);
}

template <class Out>
void resize_pillow(const Launcher& launch, const Part<Out>& part, const Tensor& out) {
  const unsigned count = static_cast<unsigned>(part.tiles.pictures);
  int64_t words = 0, most_outputs = 0, most_pixels = 0;
  for (unsigned i = 0; i < count; ++i) words += words_of(part.pictures[i]);
  const Tensor scratch = torch::stable::new_empty(out, {words}, ScalarType::Int);
  auto* memory = scratch.mutable_data_ptr<int32_t>();
  PillowSource source{};
  for (unsigned i = 0; i < count; ++i) {
    const PillowPicture& of = source.pictures[i] = lay_out(part.pictures[i], memory);
    memory += words_of(of.picture);
    most_outputs = std::max({most_outputs, of.picture.height, of.picture.width});
    most_pixels = std::max(most_pixels, of.between_pixels());
  }
  launch(taps_kernel, dim3(blocks_for(most_outputs, kCanvasThreads), 2 * count), kCanvasThreads, 0, source);
  launch(between_kernel, dim3(blocks_for(most_pixels, kCanvasThreads), count), kCanvasThreads, 0, source);
  write_canvas(launch, source, part.normalisation, part.tiles, part.canvas);
}

template <class Out>
void resize_onto(const Tensor& out, const Launcher& launch, const std::vector<Picture>& pictures,
                 const Normalisation& normalisation, const std::string& filter) {
  const int64_t height = out.size(2), width = out.size(3), total = out.size(0);
  for (int64_t first = 0; first < total; first += kPicturesAtOnce) {
    const int64_t count = std::min<int64_t>(kPicturesAtOnce, total - first);
    Out* canvas = static_cast<Out*>(out.mutable_data_ptr()) + first * 3 * height * width;
    const Part<Out> part{pictures.data() + first, {count, height, width}, normalisation, canvas};
    if (filter == "pillow") resize_pillow(launch, part, out);
    else resize_bilinear(launch, part);
  }
}

Tensor resize_normalize_cuda(const std::vector<Tensor>& images, const Tensor& sizes, int64_t height, int64_t width,
                             const std::vector<double>& mean, const std::vector<double>& std, double divisor,
                             const std::string& filter, bool bgr, std::optional<ScalarType> dtype) {
  const ScalarType wanted = dtype.value_or(ScalarType::Float);
  check_resize_normalize(images, sizes, height, width, mean, std, divisor, filter, wanted);
  std::vector<Picture> pictures;
  for (const Tensor& image : images) pictures.push_back(picture_of(image, sizes, pictures.size(), bgr));
  const auto device = images.empty() ? sizes.device() : images[0].device();  // as on the CPU
  const Tensor out = torch::stable::empty({static_cast<int64_t>(images.size()), 3, height, width}, wanted, std::nullopt,
                                          device, std::nullopt, torch::headeronly::MemoryFormat::ChannelsLast);
  if (images.empty()) return out;
  const Launcher launch("resize_normalize", images[0]);
  const Normalisation normalisation = normalisation_of(mean, std, divisor);
  if (wanted == ScalarType::Half)
    resize_onto<torch::headeronly::Half>(out, launch, pictures, normalisation, filter);
  else if (wanted == ScalarType::BFloat16)
    resize_onto<torch::headeronly::BFloat16>(out, launch, pictures, normalisation, filter);
  else
    resize_onto<float>(out, launch, pictures, normalisation, filter);
  return out;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(maskrcnn, CUDA, ops) { ops.impl("resize_normalize", TORCH_BOX(&resize_normalize_cuda)); }

}  // namespace maskrcnn

// resize_normalize.
#include "ops.h"
#include "results.h"

namespace fuzz {
namespace {

struct Normalisation {
  std::vector<double> mean, std;
  double divisor;

  explicit Normalisation(Bytes& bytes)
      : mean(numbers(bytes, {0.485, 0.456, 0.406})),
        std(numbers(bytes, {0.229, 0.224, 0.225})),
        divisor(bytes.seldom() ? bytes.number() : 255) {}

  static std::vector<double> numbers(Bytes& bytes, std::vector<double> usual) {
    if (!bytes.seldom()) return usual;
    std::vector<double> numbers(bytes.below(5));
    for (double& each : numbers) each = bytes.number();
    return numbers;
  }

  // The largest magnitude that a pixel may become.
  float most() const {
    float most = 0;
    for (int channel = 0; channel < 3; ++channel)
      for (const float pixel : {0.0f, 255.0f})
        most = std::fmax(most, std::fabs((pixel / static_cast<float>(divisor) - static_cast<float>(mean[channel])) /
                                         static_cast<float>(std[channel])));
    return most;
  }
};

}  // namespace

void resize_normalize(Bytes& bytes) {
  Tensors tensors(bytes);
  const int64_t count = bytes.below(4);
  std::vector<Tensor> images;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t height = bytes.size(), width = bytes.size();  // evaluated in this order by every compiler
    images.push_back(tensors.like({height, width, 3}, ScalarType::Byte));
  }
  const int64_t height = bytes.seldom() ? bytes.integer() : 1 + bytes.byte() % 64;
  const int64_t width = bytes.seldom() ? bytes.integer() : 1 + bytes.byte() % 64;
  const Tensor sizes = tensors.like({count, 2}, ScalarType::Long);
  const bool usual =
      !bytes.seldom() && sizes.dim() == 2 && sizes.size(1) == 2 && sizes.scalar_type() == ScalarType::Long;
  auto* size = static_cast<int64_t*>(const_cast<void*>(sizes.const_data_ptr()));
  for (int64_t row = 0; usual && row < sizes.size(0) && row < 64; ++row)
    for (int64_t axis = 0; axis < 2; ++axis)
      size[row * sizes.stride(0) + axis * sizes.stride(1)] =
          1 + bytes.byte() % std::clamp<int64_t>(axis ? width : height, 1, 64);
  const Normalisation by(bytes);
  const std::string filter = bytes.seldom() ? "cubic" : bytes.flag() ? "bilinear" : "pillow";
  const bool bgr = bytes.flag();
  std::optional<ScalarType> dtype;
  if (bytes.flag()) dtype = kDtypes[bytes.below(4)];
  const Outcome outcome =
      call("resize_normalize", 1, images, sizes, height, width, by.mean, by.std, by.divisor, filter, bgr, dtype);
  if (outcome.refused()) return;
  must_be("resize_normalize", outcome.results[0], {count, 3, height, width}, dtype.value_or(ScalarType::Float));
  const float most = by.most();
  if (most < 60000) must_be_within("resize_normalize", outcome.results[0], most * 1.01f);
}

}  // namespace fuzz

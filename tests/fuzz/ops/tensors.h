// Tensors made of bytes: of a shape that fits or does not, of any dtype, strides and values. Each holds no more memory
// than its last element needs, so that the sanitizer sees a read past it.
#pragma once
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <numeric>
#include <vector>

#include "bytes.h"

namespace fuzz {
using torch::headeronly::ScalarType;
using torch::stable::Tensor;
using Shape = std::vector<int64_t>;

constexpr int64_t kMostElements = 1 << 16;       // of a tensor that an op may read through in its time
constexpr int64_t kNoMemory = INT64_C(1) << 36;  // elements that no machine copies
constexpr int64_t kLongestAxis = 1 << 12;        // a longer one repeats one element: its stride is 0
constexpr ScalarType kDtypes[] = {ScalarType::Float, ScalarType::Half, ScalarType::BFloat16, ScalarType::Double,
                                  ScalarType::Long,  ScalarType::Byte, ScalarType::Bool,     ScalarType::Int};

inline int64_t width_of(ScalarType dtype) {
  switch (dtype) {
    case ScalarType::Double:
    case ScalarType::Long: return 8;
    case ScalarType::Float:
    case ScalarType::Int: return 4;
    case ScalarType::Half:
    case ScalarType::BFloat16: return 2;
    default: return 1;
  }
}

// The tensors of one call and the memory behind them.
class Tensors {
 public:
  explicit Tensors(Bytes& bytes) : bytes_(bytes) {}
  ~Tensors() {
    for (void* each : memory_) std::free(each);
  }
  Tensors(const Tensors&) = delete;

  // What an op wants, or seldom something else.
  Tensor like(Shape shape, ScalarType dtype) {
    if (bytes_.seldom()) spoil(shape);
    if (bytes_.seldom()) dtype = kDtypes[bytes_.below(8)];
    return make(bounded(shape), dtype);
  }

  ScalarType feature_dtype() { return kDtypes[bytes_.below(3)]; }

  // The largest magnitude that was put into a tensor of floats; infinite where one of them is not finite.
  float largest() const { return largest_; }

 private:
  void spoil(Shape& shape) {
    const uint8_t how = bytes_.byte();
    if (how % 4 == 0) shape.push_back(bytes_.size());
    else if (how % 4 == 1 && !shape.empty()) shape.pop_back();
    else if (!shape.empty()) shape[how / 4 % shape.size()] = bytes_.size();
  }

  // An op may take its time over a tensor that exists, or refuse one that cannot; what lies between would take minutes.
  static Shape bounded(Shape shape) {
    for (;;) {
      double count = 1;
      bool empty = false;
      for (const int64_t size : shape) {
        count *= static_cast<double>(std::max<int64_t>(size, 1));
        empty = empty || size == 0;
      }
      const bool too_long = count > kMostElements && count < static_cast<double>(kNoMemory);
      if (count < 9e18 && (empty || !too_long)) return shape;
      int64_t& longest = *std::max_element(shape.begin(), shape.end());
      longest = count >= 9e18 ? std::max<int64_t>(1, longest / 1024) : std::max<int64_t>(1, longest / 2);
    }
  }

  Tensor make(const Shape& shape, ScalarType dtype) {
    const Shape strides = layout(shape);
    int64_t elements = 1;
    for (size_t axis = 0; axis < shape.size(); ++axis) elements += (shape[axis] - 1) * strides[axis];
    for (const int64_t size : shape)
      if (size == 0) elements = 0;
    void* data = std::malloc(std::max<int64_t>(elements, 0) * width_of(dtype));
    memory_.push_back(data);
    fill(data, elements, dtype);
    AtenTensorHandle handle = nullptr;
    if (aoti_torch_create_tensor_from_blob(data, static_cast<int64_t>(shape.size()), shape.data(), strides.data(), 0,
                                           number_of(dtype), aoti_torch_device_type_cpu(), 0, &handle) != 0)
      std::abort();
    return Tensor(handle);
  }

  // Axes in any order, with gaps between the elements, repeated along an axis.
  Shape layout(const Shape& shape) {
    const uint8_t how = bytes_.byte();
    std::vector<size_t> order(shape.size());
    std::iota(order.begin(), order.end(), 0);
    if (how & 1) std::reverse(order.begin(), order.end());
    if (how & 2 && order.size() > 1) std::rotate(order.begin(), order.begin() + 1, order.end());
    if (how & 4 && order.size() == 4) order = {0, 2, 3, 1};  // channels-last
    Shape strides(shape.size());
    int64_t step = how & 8 ? 2 : 1;
    for (size_t i = order.size(); i-- > 0;) {
      const int64_t size = shape[order[i]];
      const bool repeats =
          size > kLongestAxis || step * size > 4 * kMostElements || (how >= 0xe0 && i == how % order.size());
      strides[order[i]] = repeats ? 0 : step;
      if (!repeats) step *= std::max<int64_t>(size, 1);
      if (how & 16 && i + 1 == order.size()) ++step;  // a slice of something wider
    }
    return strides;
  }

  void fill(void* data, int64_t count, ScalarType dtype) {
    const uint8_t how = bytes_.byte();
    uint32_t state = how * 2654435761u + 1;
    for (int64_t i = 0; i < count; ++i) write(data, i, dtype, value(how % 8, state));
  }

  float value(int how, uint32_t& state) {
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    constexpr float kSpecial[] = {
        0,        -0.0f,   1,        -1,   kInfinity, -kInfinity, std::numeric_limits<float>::quiet_NaN(),
        1e-45f,   3.4e38f, -3.4e38f, 1e9f, -1e9f,     0.5f,       65504,
        16777216, 1e-30f};
    state = state * 1664525u + 1013904223u;
    const float noise = static_cast<float>(state >> 8) / (1 << 24);  // [0, 1)
    if (how == 0) return static_cast<int8_t>(bytes_.byte()) / 4.0f;
    if (how == 1) return bytes_.raw<float>();
    if (how == 2) return kSpecial[bytes_.byte() % 16];
    if (how == 3) return static_cast<float>(state >> 24 & 15);  // few values: many are equal
    if (how == 4) return noise;
    if (how == 5) return noise * 64;
    if (how == 6) return noise * 2 - 1;
    return noise < 0.02f ? kSpecial[state >> 4 & 15] : noise * 32;
  }

  void write(void* data, int64_t i, ScalarType dtype, float value) {
    if (dtype == ScalarType::Float) static_cast<float*>(data)[i] = value;
    if (dtype == ScalarType::Double) static_cast<double*>(data)[i] = value;
    if (dtype == ScalarType::BFloat16) static_cast<uint16_t*>(data)[i] = bfloat16(value);
    if (dtype == ScalarType::Half) static_cast<uint16_t*>(data)[i] = half(value);
    if (dtype == ScalarType::Long) static_cast<int64_t*>(data)[i] = whole(value);
    if (dtype == ScalarType::Int) static_cast<int32_t*>(data)[i] = static_cast<int32_t>(whole(value));
    if (dtype == ScalarType::Byte) static_cast<uint8_t*>(data)[i] = static_cast<uint8_t>(whole(value * 4));
    if (dtype == ScalarType::Bool) static_cast<bool*>(data)[i] = value > 0;
    if (dtype != ScalarType::Long) largest_ = std::isfinite(value) ? std::max(largest_, std::fabs(value)) : INFINITY;
  }

  // Where a float is no integer, one of the ends of the type.
  static int64_t whole(float value) {
    if (std::isnan(value)) return INT64_MIN;
    if (value >= 9.2e18f) return INT64_MAX;
    return value <= -9.2e18f ? INT64_MIN : static_cast<int64_t>(value);
  }

  static uint16_t bfloat16(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, 4);
    return static_cast<uint16_t>(bits >> 16 | (std::isnan(value) ? 0x40 : 0));
  }

  // Cut off, not rounded: the fuzzer needs some value, not the nearest.
  static uint16_t half(float value) {
    const uint16_t sign = std::signbit(value) ? 0x8000 : 0;
    if (std::isnan(value)) return 0x7e00;
    const float magnitude = std::fabs(value);
    if (magnitude >= 65536) return sign | 0x7c00;
    if (magnitude < 0x1p-14f) return sign | static_cast<uint16_t>(magnitude * 0x1p24f);
    uint32_t bits;
    std::memcpy(&bits, &magnitude, 4);
    return sign | static_cast<uint16_t>((bits >> 13) - (112 << 10));
  }

  static int32_t number_of(ScalarType dtype) {
    switch (dtype) {
      case ScalarType::Float: return aoti_torch_dtype_float32();
      case ScalarType::Half: return aoti_torch_dtype_float16();
      case ScalarType::BFloat16: return aoti_torch_dtype_bfloat16();
      case ScalarType::Double: return aoti_torch_dtype_float64();
      case ScalarType::Long: return aoti_torch_dtype_int64();
      case ScalarType::Byte: return aoti_torch_dtype_uint8();
      case ScalarType::Bool: return aoti_torch_dtype_bool();
      default: return aoti_torch_dtype_int32();
    }
  }

  Bytes& bytes_;
  std::vector<void*> memory_;
  float largest_ = 0;
};

}  // namespace fuzz

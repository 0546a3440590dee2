// Features of any dtype, read and written by kernels: float32, float16, bfloat16.
#pragma once
#include <cstring>

#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#include "../feature_map.h"
#include "launch.h"

namespace maskrcnn {

// Calls visit with a null pointer to the type of the tensor's values, which converts to and from float.
template <class Visit>
void visit_feature_type(const Tensor& tensor, const Visit& visit) {
  if (tensor.scalar_type() == ScalarType::Half) return visit(static_cast<torch::headeronly::Half*>(nullptr));
  if (tensor.scalar_type() == ScalarType::BFloat16) return visit(static_cast<torch::headeronly::BFloat16*>(nullptr));
  visit(static_cast<float*>(nullptr));
}

// A matrix of any strides.
template <class Feature>
struct FeatureMatrix {
  const Feature* values;
  int64_t columns, row_stride, column_stride;

  explicit FeatureMatrix(const Tensor& tensor)
      : values(static_cast<const Feature*>(tensor.const_data_ptr())), columns(tensor.size(1)),
        row_stride(tensor.stride(0)), column_stride(tensor.stride(1)) {}

  __device__ float at(int64_t row, int64_t column) const {
    return static_cast<float>(values[row * row_stride + column * column_stride]);
  }
};

constexpr int64_t kVectorBytes = 16;  // the widest load of one thread

// Whether the map can be read a vector at a time; the offset along an axis of one is 0 whatever its stride.
inline bool has_vectors(const FeatureMap& map) {
  const Tensor& cells = map.tensor;
  const int64_t lanes = kVectorBytes / cells.element_size();
  const auto fits = [&](int64_t size, int64_t stride) { return size <= 1 || stride % lanes == 0; };
  return reinterpret_cast<uintptr_t>(cells.const_data_ptr()) % kVectorBytes == 0 && cells.size(1) % lanes == 0 &&
         fits(cells.size(0), map.image_stride) && fits(map.height, map.row_stride) && fits(map.width, map.cell_stride);
}

// What one thread reads and writes at once: kVectorBytes, or a single value where memory is not aligned for more.
template <class Feature, int kCount>
struct Features {
  Feature value[kCount];
};

// `from` must stay as it is while the kernel runs: this may read through the texture cache.
template <int kCount, class Feature>
__device__ inline Features<Feature, kCount> load_features(const Feature* from) {
  Features<Feature, kCount> features;
  if constexpr (sizeof(features) == kVectorBytes) {
    const uint4 words = __ldg(reinterpret_cast<const uint4*>(from));
    std::memcpy(&features, &words, kVectorBytes);
  } else {
    static_assert(kCount == 1);
    features.value[0] = *from;
  }
  return features;
}

template <class Feature, int kCount>
__device__ inline void add_features(const Features<Feature, kCount>& features, float weight, float (&sums)[kCount]) {
  for (int i = 0; i < kCount; ++i) sums[i] = fmaf(weight, static_cast<float>(features.value[i]), sums[i]);
}

template <int kCount, class Feature>
__device__ inline void store_features(Feature* to, const float (&values)[kCount]) {
  Features<Feature, kCount> features;
  for (int i = 0; i < kCount; ++i) features.value[i] = static_cast<Feature>(values[i]);
  if constexpr (sizeof(features) == kVectorBytes) {
    uint4 words;
    std::memcpy(&words, &features, kVectorBytes);
    *reinterpret_cast<uint4*>(to) = words;
  } else {
    *to = features.value[0];
  }
}

}  // namespace maskrcnn

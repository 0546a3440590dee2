// How every kernel is launched: on the device of its tensors, on PyTorch's current stream, with its errors read.
//
// No triple chevrons: cudaLaunchKernelEx is an ordinary function, so the tests can run these very files on a CPU
// (tests/ops/emulated_cuda). For the same reason shared memory is dynamic and comes from block_memory().
#pragma once
#include <algorithm>
#include <cstdint>
#include <utility>

#include <cuda_runtime.h>
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/macros.h>

#include "../check.h"

namespace maskrcnn {

constexpr int kWarp = 32;
constexpr unsigned kWholeWarp = 0xffffffffu;  // all lanes take part

inline void check_cuda(const char* op, cudaError_t error) {
  MASKRCNN_CHECK(error == cudaSuccess, op, ": CUDA error: ", cudaGetErrorString(error));
}

// Where the kernels of one call run. While it lives, its device is the current one.
class Launcher {
 public:
  Launcher(const char* op, const Tensor& tensor) : op_(op), guard_(tensor.get_device_index()) {
    void* stream = nullptr;
    TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(tensor.get_device_index(), &stream));
    stream_ = static_cast<cudaStream_t>(stream);
  }

  cudaStream_t stream() const { return stream_; }

  // shared_bytes: what block_memory() holds, at most 48 KB.
  template <class... Parameters, class... Arguments>
  void operator()(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes,
                  Arguments&&... arguments) const {
    if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;  // nothing to do; CUDA calls it an error
    cudaLaunchConfig_t config{};
    config.gridDim = grid;
    config.blockDim = block;
    config.dynamicSmemBytes = shared_bytes;
    config.stream = stream_;
    check_cuda(op_, cudaLaunchKernelEx(&config, kernel, std::forward<Arguments>(arguments)...));
  }

  void check(cudaError_t error) const { check_cuda(op_, error); }

 private:
  const char* op_;
  torch::stable::accelerator::DeviceGuard guard_;
  cudaStream_t stream_ = nullptr;
};

// Blocks for `items` at `per_block` each, in a kernel that strides over the grid.
inline unsigned blocks_for(int64_t items, int64_t per_block) {
  constexpr int64_t kMost = 1 << 20;
  return static_cast<unsigned>(std::min((items + per_block - 1) / per_block, kMost));
}

// This thread's number in a one-dimensional grid, and how many threads the grid has.
__device__ inline int64_t grid_thread() { return int64_t{blockIdx.x} * blockDim.x + threadIdx.x; }
__device__ inline int64_t grid_threads() { return int64_t{gridDim.x} * blockDim.x; }

// The dynamic shared memory of the block, aligned for 16-byte accesses.
template <class Item>
__device__ inline Item* block_memory() {
  extern __shared__ uint4 shared_words[];
  return reinterpret_cast<Item*>(shared_words);
}
}  // namespace maskrcnn

// Stands in for NVIDIA's header of this name, so that a C++ compiler builds ops/csrc/cuda/*.cu as they are and the
// kernels run on a CPU: grid, blocks, warps, barriers, shared memory and atomics as CUDA defines them, one thread
// after the other (emulator.cpp). What it cannot show: weak memory order, speed, and a compiler's own mistakes.
//
// It is stricter than a GPU: a barrier or a warp operation that some of its threads never reach is an error.
#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <type_traits>
#include <utility>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__
// At block scope a thread_local variable is static, and there is one operating-system thread: one copy a block.
#define __shared__ thread_local

using std::fma, std::isnan;

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};

using cudaStream_t = struct Stream*;
enum cudaError_t { cudaSuccess, cudaErrorInvalidConfiguration, cudaErrorInvalidValue };
enum cudaMemcpyKind { cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost, cudaMemcpyDeviceToDevice };

struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  size_t dynamicSmemBytes = 0;
  cudaStream_t stream = nullptr;
};

namespace emulated {
extern unsigned lane;  // of the thread that runs

cudaError_t run(const cudaLaunchConfig_t& config, const std::function<void()>& thread);
void block_barrier();
// Waits until every lane of `mask` brought its value and has seen the others' (32 of them, by lane).
void exchange(unsigned mask, uint64_t value, uint64_t (&values)[32]);

template <class Value>
uint64_t to_bits(Value value) {
  static_assert(sizeof(Value) <= 8 && std::is_trivially_copyable_v<Value>);
  uint64_t bits = 0;
  __builtin_memcpy(&bits, &value, sizeof(Value));
  return bits;
}

template <class Value>
Value from_lane(unsigned mask, Value value, unsigned lane) {
  uint64_t values[32];
  exchange(mask, to_bits(value), values);
  __builtin_memcpy(&value, &values[lane & 31], sizeof(Value));
  return value;
}
}  // namespace emulated

extern dim3 threadIdx, blockIdx, gridDim, blockDim;
inline constexpr int warpSize = 32;

inline void __syncthreads() { emulated::block_barrier(); }
inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __syncwarp(unsigned mask = 0xffffffffu) {
  uint64_t values[32];
  emulated::exchange(mask, 0, values);
}

template <class Value>
Value __shfl_sync(unsigned mask, Value value, int lane) {
  return emulated::from_lane(mask, value, static_cast<unsigned>(lane));
}
template <class Value>
Value __shfl_xor_sync(unsigned mask, Value value, int bits) {
  return emulated::from_lane(mask, value, emulated::lane ^ static_cast<unsigned>(bits));
}
template <class Value>
Value __shfl_up_sync(unsigned mask, Value value, unsigned distance) {
  const unsigned lane = emulated::lane;
  return emulated::from_lane(mask, value, lane >= distance ? lane - distance : lane);
}
template <class Value>
Value __shfl_down_sync(unsigned mask, Value value, unsigned distance) {
  const unsigned lane = emulated::lane;
  return emulated::from_lane(mask, value, lane + distance < 32 ? lane + distance : lane);
}

inline unsigned __ballot_sync(unsigned mask, int predicate) {
  uint64_t values[32];
  emulated::exchange(mask, predicate != 0, values);
  unsigned votes = 0;
  for (unsigned lane = 0; lane < 32; ++lane)
    if ((mask >> lane & 1) && values[lane]) votes |= 1u << lane;
  return votes;
}
inline int __any_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) != 0; }
inline int __all_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) == mask; }

template <class Value, class Other>
Value atomicAdd(Value* address, Other value) {
  const Value before = *address;
  *address = static_cast<Value>(before + static_cast<Value>(value));
  return before;
}
template <class Value, class Other>
Value atomicMax(Value* address, Other value) {
  const Value before = *address;
  if (before < static_cast<Value>(value)) *address = static_cast<Value>(value);
  return before;
}
template <class Value, class Other>
Value atomicMin(Value* address, Other value) {
  const Value before = *address;
  if (static_cast<Value>(value) < before) *address = static_cast<Value>(value);
  return before;
}
template <class Value, class Other>
Value atomicOr(Value* address, Other value) {
  const Value before = *address;
  *address = before | static_cast<Value>(value);
  return before;
}

template <class Value>
Value __ldg(const Value* address) {
  return *address;
}
inline int __popc(unsigned bits) { return __builtin_popcount(bits); }
inline int __popcll(unsigned long long bits) { return __builtin_popcountll(bits); }
inline int __ffs(int bits) { return __builtin_ffs(bits); }
inline int __ffsll(long long bits) { return __builtin_ffsll(bits); }
inline int __clz(int bits) { return bits == 0 ? 32 : __builtin_clz(static_cast<unsigned>(bits)); }
inline int __clzll(long long bits) { return bits == 0 ? 64 : __builtin_clzll(static_cast<unsigned long long>(bits)); }

inline const char* cudaGetErrorString(cudaError_t error) {
  return error == cudaErrorInvalidConfiguration ? "invalid configuration argument" : "invalid argument";
}
inline cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind, cudaStream_t) {
  if (bytes != 0) __builtin_memcpy(to, from, bytes);
  return cudaSuccess;
}
inline cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t) {
  if (bytes != 0) __builtin_memset(to, value, bytes);
  return cudaSuccess;
}
inline cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }

template <class... Parameters, class... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments&&... arguments) {
  static_assert((std::is_trivially_copyable_v<Parameters> && ...), "a kernel's arguments are copied as bytes");
  static_assert((sizeof(Parameters) + ... + 0) <= 4096 - 16 * sizeof...(Parameters), "arguments take at most 4 KB");
  return emulated::run(*config, [&] { kernel(static_cast<Parameters>(arguments)...); });
}

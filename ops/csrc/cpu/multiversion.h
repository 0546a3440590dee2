// One loop, compiled for three instruction sets, chosen when it runs: an archive travels, so the library
// may not be built for the machine that built it.
//
//   multiversion([&] { for (...) ... });
//
// The body and everything that it calls inline is compiled three times (GCC and Clang's `flatten`).
// Contraction is off for the whole library, so every version computes the same bits.
// MASKRCNN_CPU_LEVEL=baseline|avx2|avx512 lowers the choice; the tests use it to reach each version.
#pragma once
#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace maskrcnn {

enum class CpuLevel { kBaseline, kAvx2, kAvx512 };

inline CpuLevel detected_level() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512dq"))
    return CpuLevel::kAvx512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return CpuLevel::kAvx2;
#endif
  return CpuLevel::kBaseline;
}

inline CpuLevel allowed_level() {
  const char* wanted = std::getenv("MASKRCNN_CPU_LEVEL");
  if (wanted == nullptr) return CpuLevel::kAvx512;
  if (std::strcmp(wanted, "baseline") == 0) return CpuLevel::kBaseline;
  if (std::strcmp(wanted, "avx2") == 0) return CpuLevel::kAvx2;
  return CpuLevel::kAvx512;
}

inline CpuLevel cpu_level() {
  static const CpuLevel level = std::min(detected_level(), allowed_level());
  return level;
}

#if defined(__x86_64__)
// How each compiler is told to use the whole width; Clang drops all targets of a list with one that it does not know.
#if defined(__clang__)
#define MASKRCNN_AVX512 \
  __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma"), min_vector_width(512), flatten))
#else
#define MASKRCNN_AVX512 \
  __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,prefer-vector-width=512"), flatten))
#endif
template <class Body>
MASKRCNN_AVX512 void run_avx512(const Body& body) {
  body();
}
template <class Body>
__attribute__((target("avx2,fma"), flatten)) void run_avx2(const Body& body) {
  body();
}
#endif

template <class Body>
void multiversion(const Body& body) {
#if defined(__x86_64__)
  if (cpu_level() == CpuLevel::kAvx512) return run_avx512(body);
  if (cpu_level() == CpuLevel::kAvx2) return run_avx2(body);
#endif
  body();
}

}  // namespace maskrcnn

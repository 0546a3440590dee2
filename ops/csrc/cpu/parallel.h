// parallel_for for bodies that allocate: an exception must not cross the C functions of the stable ABI, nor end
// the process, so running out of memory is noted inside and thrown outside.
#pragma once
#include <atomic>
#include <new>

#include <torch/csrc/stable/ops.h>

namespace maskrcnn {

template <class Body>
void parallel(int64_t count, int64_t grain, const Body& body) {
  std::atomic<bool> out_of_memory{false};
  torch::stable::parallel_for(0, count, grain, [&](int64_t begin, int64_t end) {
    try {
      body(begin, end);
    } catch (const std::bad_alloc&) {
      out_of_memory = true;
    }
  });
  if (out_of_memory) throw std::bad_alloc();
}

}  // namespace maskrcnn

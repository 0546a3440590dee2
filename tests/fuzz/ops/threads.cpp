// Threads in the place of PyTorch's parallel_for, for ThreadSanitizer: PyTorch's are OpenMP's, which it cannot follow.
// Every loop is shared out among all threads, however small, one thread an item at most; a loop within one runs where
// it is, as in PyTorch. So what is looked at is what the bodies of the ops share, not how PyTorch starts and joins
// them.
#include <torch/csrc/stable/c/shim.h>

#include <algorithm>
#include <thread>
#include <vector>

namespace {

constexpr int64_t kThreads = 4;
thread_local bool in_loop = false;

}  // namespace

extern "C" [[gnu::visibility("default")]] AOTITorchError torch_parallel_for(int64_t begin, int64_t end, int64_t grain,
                                                                            ParallelFunc body, void* context) {
  if (end <= begin) return 0;
  const int64_t count = end - begin, most = in_loop ? 1 : std::min(kThreads, count);
  if (most == 1 || grain < 1) {
    body(begin, end, context);
    return 0;
  }
  std::vector<std::thread> threads;
  for (int64_t i = 0; i < most; ++i)
    threads.emplace_back([=] {
      in_loop = true;
      body(begin + count * i / most, begin + count * (i + 1) / most, context);
    });
  for (std::thread& each : threads) each.join();
  return 0;
}

extern "C" [[gnu::visibility("default")]] AOTITorchError torch_get_num_threads(uint32_t* threads) {
  *threads = kThreads;
  return 0;
}

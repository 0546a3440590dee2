#include "call.h"

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <new>

namespace {

[[maybe_unused]] constexpr size_t kMostAtOnce = size_t{64} << 20;

std::map<std::string, fuzz::Kernel>& kernels() {
  static std::map<std::string, fuzz::Kernel> registered;
  return registered;
}

}  // namespace

// In the place of PyTorch's own of these names: what ops/csrc registers comes here.
extern "C" AOTITorchError torch_library_impl(TorchLibraryHandle, const char* name, fuzz::Kernel kernel, uint64_t) {
  kernels()[name] = kernel;
  fuzz::accepted()[name] = 0;
  return 0;
}

#ifdef __has_feature
#if __has_feature(thread_sanitizer)
#define HAS_OWN_NEW  // which cannot be replaced
#endif
#endif

#ifndef HAS_OWN_NEW
// A machine on which no more than this may be had at once: more must be refused, not crash.
[[gnu::visibility("default")]] void* operator new(size_t size) {
  void* memory = size <= kMostAtOnce ? std::malloc(size) : nullptr;
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
[[gnu::visibility("default")]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::visibility("default")]] void operator delete(void* memory, size_t) noexcept { std::free(memory); }
#endif

namespace fuzz {

Kernel kernel_of(const char* op) {
  const auto found = kernels().find(op);
  must(found != kernels().end(), op, "no op of this name is registered");
  return found->second;
}

std::map<std::string, int64_t>& accepted() {
  static std::map<std::string, int64_t> calls;
  return calls;
}

void must(bool holds, const char* op, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "broken contract of %s: %s\n", op, what);
  std::abort();
}

Outcome call_boxed(const char* op, std::vector<StableIValue> stack, size_t results) {
  const size_t arguments = stack.size();
  stack.resize(std::max(arguments, results));
  Outcome outcome;
  const Kernel kernel = kernel_of(op);  // not within: an op that is missing has refused nothing
  try {
    kernel(stack.data(), arguments, results);
  } catch (const std::exception& error) {  // anything else ends the process
    outcome.refusal = error.what();
    must(outcome.refused() && outcome.refusal.size() < 4000, op, "an error must have a message, and a short one");
    return outcome;
  }
  ++accepted()[op];
  for (size_t i = 0; i < results; ++i) outcome.results.push_back(torch::stable::detail::to<Tensor>(stack[i]));
  return outcome;
}

}  // namespace fuzz

// Runs the threads of a block as coroutines of one thread, block after block. A coroutine runs until it waits (at a
// barrier, in a warp operation) or ends.
//
// EMULATED_ORDER=forward|backward|shuffled: which thread goes on first, since a GPU promises no order. The first two
// let a warp run ahead of the others as far as it can, the last keeps warps in step. Shared memory starts as garbage
// in every block.
#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include <torch/csrc/inductor/aoti_torch/c/shim.h>

#include "cuda_runtime.h"

dim3 threadIdx, blockIdx, gridDim, blockDim;

namespace emulated {
unsigned lane;

namespace {
constexpr size_t kStackBytes = 64 * 1024, kMostThreads = 1024, kMostShared = 48 * 1024;
enum class State { kReady, kAtBlockBarrier, kAtExchange, kDone };

struct Fiber {
  dim3 thread;
  State state;
  jmp_buf where;
  bool started;
  unsigned mask;  // of the exchange it is in
  uint64_t value;
};

struct Warp {
  uint64_t values[32];
};

Fiber fibers[kMostThreads];
Warp warps[kMostThreads / 32];
Fiber* running = nullptr;
jmp_buf scheduler;
const std::function<void()>* body = nullptr;
std::string failure;

char* stacks() {
  static char* memory = static_cast<char*>(mmap(nullptr, kStackBytes * kMostThreads, PROT_READ | PROT_WRITE,
                                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  return memory;
}

void finish(const char* error) {
  if (error != nullptr) failure = error;
  running->state = State::kDone;
  _longjmp(scheduler, 1);
}

void enter() {
  try {
    (*body)();
  } catch (const std::exception& error) {
    finish(error.what());
  }
  finish(nullptr);
}

// _setjmp and _longjmp save no signal mask, so a switch costs no system call; only the first entry makes a context.
void resume(Fiber& fiber) {
  running = &fiber;
  threadIdx = fiber.thread;
  lane = static_cast<unsigned>(&fiber - fibers) % 32;
  if (_setjmp(scheduler) != 0) return;
  if (fiber.started) _longjmp(fiber.where, 1);
  fiber.started = true;
  ucontext_t context;
  getcontext(&context);
  context.uc_stack = {stacks() + kStackBytes * (&fiber - fibers), 0, kStackBytes};
  context.uc_link = nullptr;
  makecontext(&context, enter, 0);
  setcontext(&context);
}

void wait(State state) {
  running->state = state;
  if (_setjmp(running->where) == 0) _longjmp(scheduler, 1);
}

[[noreturn]] void die(const std::string& why) { throw std::runtime_error("emulated CUDA: " + why); }

// Lets the lanes of one exchange go on once all of them are there.
bool release_exchange(unsigned warp, unsigned threads) {
  bool released = false;
  for (unsigned lane = 0; lane < 32 && warp * 32 + lane < threads; ++lane) {
    const Fiber& first = fibers[warp * 32 + lane];
    if (first.state != State::kAtExchange) continue;
    bool complete = true;
    for (unsigned other = 0; other < 32; ++other) {
      if (!(first.mask >> other & 1)) continue;
      const unsigned index = warp * 32 + other;
      complete = complete && index < threads && fibers[index].state == State::kAtExchange &&
                 fibers[index].mask == first.mask;
    }
    if (!complete) continue;
    const unsigned mask = first.mask;
    for (unsigned other = 0; other < 32; ++other)
      if (mask >> other & 1) {
        warps[warp].values[other] = fibers[warp * 32 + other].value;
        fibers[warp * 32 + other].state = State::kReady;
      }
    // The values are copied by each lane when it runs next; a second exchange cannot complete before all have.
    released = true;
  }
  return released;
}

bool release_block(unsigned threads) {
  for (unsigned i = 0; i < threads; ++i)
    if (fibers[i].state != State::kAtBlockBarrier) return false;
  for (unsigned i = 0; i < threads; ++i) fibers[i].state = State::kReady;
  return true;
}

bool is_order(const char* name) {
  static const char* const wanted = std::getenv("EMULATED_ORDER");
  return wanted != nullptr && std::strcmp(wanted, name) == 0;
}

std::vector<unsigned> order_of(unsigned threads) {
  static std::mt19937 generator(0);
  std::vector<unsigned> order(threads);
  std::iota(order.begin(), order.end(), 0u);
  if (is_order("backward")) std::reverse(order.begin(), order.end());
  if (is_order("shuffled")) std::shuffle(order.begin(), order.end(), generator);
  return order;
}

// Runs each thread of [from, to) in this order that can go on; whether one could.
bool run_some(const std::vector<unsigned>& order, size_t from, size_t to, unsigned& done) {
  bool moved = false;
  for (size_t i = from; i < to; ++i) {
    Fiber& fiber = fibers[order[i]];
    if (fiber.state != State::kReady) continue;
    resume(fiber);
    moved = true;
    if (!failure.empty()) die(failure);
    done += fiber.state == State::kDone;
  }
  return moved;
}

// Threads take turns, so that warps go in step.
bool run_in_step(const std::vector<unsigned>& order, unsigned& done) {
  bool moved = run_some(order, 0, order.size(), done);
  for (unsigned warp = 0; warp * 32 < order.size(); ++warp) moved = release_exchange(warp, order.size()) || moved;
  return moved;
}

// Each warp goes on until a barrier of the block stops it, so that a missing one shows: others have not begun.
bool run_warp_by_warp(const std::vector<unsigned>& order, unsigned& done) {
  bool moved = false;
  for (size_t from = 0; from < order.size();) {
    size_t to = from;
    while (to < order.size() && order[to] / 32 == order[from] / 32) ++to;
    while (run_some(order, from, to, done) | release_exchange(order[from] / 32, order.size())) moved = true;
    from = to;
  }
  return moved;
}

void run_block(unsigned threads) {
  const std::vector<unsigned> order = order_of(threads);
  for (unsigned done = 0; done < threads;) {
    const bool moved = is_order("shuffled") ? run_in_step(order, done) : run_warp_by_warp(order, done);
    if (moved || done == threads) continue;
    if (!release_block(threads)) die("threads wait for others that are elsewhere or have returned");
  }
}
}  // namespace
}  // namespace emulated

namespace maskrcnn {
extern thread_local uint4 shared_words[];
thread_local uint4 shared_words[emulated::kMostShared / sizeof(uint4)];
}  // namespace maskrcnn

namespace emulated {

void block_barrier() { wait(State::kAtBlockBarrier); }

void exchange(unsigned mask, uint64_t value, uint64_t (&values)[32]) {
  if (!(mask >> lane & 1)) die("a lane that is not in its own mask");
  running->mask = mask;
  running->value = value;
  wait(State::kAtExchange);
  std::memcpy(values, warps[(running - fibers) / 32].values, sizeof values);
}

cudaError_t run(const cudaLaunchConfig_t& config, const std::function<void()>& thread) {
  const dim3 grid = config.gridDim, block = config.blockDim;
  const unsigned threads = block.x * block.y * block.z;
  if (threads == 0 || threads > kMostThreads || grid.y > 65535 || grid.z > 65535 || grid.x == 0 || grid.y == 0 ||
      grid.z == 0 || grid.x > 0x7fffffffu)
    return cudaErrorInvalidConfiguration;
  if (config.dynamicSmemBytes > kMostShared) return cudaErrorInvalidValue;
  ::gridDim = grid, ::blockDim = block, body = &thread;
  for (unsigned z = 0; z < grid.z; ++z)
    for (unsigned y = 0; y < grid.y; ++y)
      for (unsigned x = 0; x < grid.x; ++x) {
        blockIdx = dim3(x, y, z);
        std::memset(maskrcnn::shared_words, 0xA5, sizeof maskrcnn::shared_words);
        for (unsigned i = 0; i < threads; ++i) {
          fibers[i].thread = dim3(i % block.x, i / block.x % block.y, i / (block.x * block.y));
          fibers[i].state = State::kReady;
          fibers[i].started = false;
        }
        failure.clear();
        run_block(threads);
      }
  return cudaSuccess;
}
}  // namespace emulated

// What the launcher asks PyTorch for, which a CPU build does not have or refuses. Linked with -Bsymbolic,
// they serve this library only.
extern "C" {
AOTITorchError aoti_torch_get_current_cuda_stream(int32_t, void** stream) {
  *stream = nullptr;
  return 0;
}
AOTITorchError aoti_torch_create_device_guard(int32_t, DeviceGuardHandle* guard) {
  *guard = nullptr;
  return 0;
}
AOTITorchError aoti_torch_delete_device_guard(DeviceGuardHandle) { return 0; }
}

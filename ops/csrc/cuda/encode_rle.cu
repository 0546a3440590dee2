// One block an instance. The first kernel encodes each string into a slot of scratch memory, or only measures the few
// that are longer; the host learns how many bytes there are; the last kernel gathers them.
#include "../encode_rle.h"

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include "launch.h"
#include "mask_columns.h"
#include "run_writer.h"

namespace maskrcnn {
namespace {

// A slot holds the string of a smooth mask a thousand columns wide; together they stay within the second bound.
constexpr int64_t kMostSlotBytes = 8192, kMostBytesOfSlots = 64 << 20;

struct Instances {
  const float *masks, *boxes;
  const int64_t* image_sizes;
  const float* thresholds;
  int64_t count;
  int32_t size;
  PasteRule rule;
  bool inclusive;
  Stretch* stretches;  // (count, size + 1)
  uint8_t* slots;      // (count, slot_bytes)
  int64_t slot_bytes;
};

struct BlockMemory {
  RunMemory runs;
  int32_t columns[2];
};

__device__ bool has_plane(const Instances& all, int64_t n) {
  return is_plane(all.image_sizes[2 * n], all.image_sizes[2 * n + 1]);
}

// Called by the whole block, as all below is.
__device__ MaskOnPlane lay_out(const Instances& all, int64_t n, int32_t (&columns)[2]) {
  const int32_t size = all.size, height = static_cast<int32_t>(all.image_sizes[2 * n]);
  const int32_t width = static_cast<int32_t>(all.image_sizes[2 * n + 1]);
  const MaskFrame frame = mask_frame(all.boxes + 4 * n, size, all.rule);
  Stretch* stretches = all.stretches + n * (size + 1);
  for (int32_t cell = threadIdx.x; cell <= size; cell += kRunThreads)
    stretches[cell] = stretch_of(frame.y, cell, size, height);
  if (threadIdx.x == kRunThreads - 1) columns[0] = first_pixel_of_cell(frame.x, 0, width);
  if (threadIdx.x == kRunThreads - 1 - kWarp) columns[1] = first_pixel_past_mask(frame.x, size, width);
  __syncthreads();
  const bool empty = stretches[0].first >= stretches[size].end;
  return {all.masks + n * size * size,
          stretches,
          frame,
          size,
          height,
          width,
          columns[0],
          empty ? columns[0] : columns[1],
          least_member(all.thresholds[n], all.inclusive)};
}

// -> the string's length, of which at most `room` bytes are written.
__device__ int64_t encode(const Instances& all, int64_t n, uint8_t* bytes, int64_t room) {
  BlockMemory& memory = *block_memory<BlockMemory>();
  __syncthreads();  // the block is done with the instance before
  const MaskOnPlane on = lay_out(all, n, memory.columns);
  RunWriter writer(memory.runs, bytes, room);
  for (int32_t first = on.begin; first < on.end; first += kRunThreads) {
    const int32_t column = first + static_cast<int32_t>(threadIdx.x);
    const KeptFlips kept = column < on.end ? kept_flips(on, column) : KeptFlips{};
    const Sums<int32_t> flips = block_sums(kept.count, memory.runs.of_warps);
    for (int32_t done = 0; done < flips.all; done += RunMemory::kRoom) {
      write_flips(on, column, kept, flips.before - done, writer.places(), RunMemory::kRoom);
      writer.put(std::min(flips.all - done, int32_t{RunMemory::kRoom}));
    }
  }
  return writer.finish(static_cast<uint32_t>(on.height) * static_cast<uint32_t>(on.width));
}

// lengths (count); 0 where there is no plane.
__global__ void __launch_bounds__(kRunThreads) measure_kernel(Instances all, int64_t* lengths) {
  for (int64_t n = blockIdx.x; n < all.count; n += gridDim.x) {
    const int64_t length = has_plane(all, n) ? encode(all, n, all.slots + n * all.slot_bytes, all.slot_bytes) : 0;
    if (threadIdx.x == 0) lengths[n] = length;
  }
}

// What the host must know, in one copy.
struct Report {
  int64_t bytes, bad_row, height, width;  // bad_row: the first without a plane, or -1
};

struct SumMemory {
  int64_t of_warps[32];
  unsigned long long first_bad;
};

// One block. Lengths in offsets[1], offsets[2], ... become the ends of the strings.
__global__ void __launch_bounds__(1024) sum_kernel(Instances all, int64_t* offsets, Report* report) {
  SumMemory& memory = *block_memory<SumMemory>();
  if (threadIdx.x == 0) memory.first_bad = static_cast<unsigned long long>(all.count);
  __syncthreads();
  int64_t total = 0;
  for (int64_t first = 0; first < all.count; first += blockDim.x) {
    const int64_t n = first + threadIdx.x;
    const int64_t length = n < all.count ? offsets[n + 1] : 0;
    const Sums<int64_t> sums = block_sums(length, memory.of_warps);
    if (n < all.count) offsets[n + 1] = total + sums.before + length;
    if (n < all.count && !has_plane(all, n)) atomicMin(&memory.first_bad, static_cast<unsigned long long>(n));
    total += sums.all;
  }
  __syncthreads();
  if (threadIdx.x != 0) return;
  offsets[0] = 0;
  const int64_t bad = static_cast<int64_t>(memory.first_bad);
  *report = {total, -1, 0, 0};
  if (bad < all.count) *report = {total, bad, all.image_sizes[2 * bad], all.image_sizes[2 * bad + 1]};
}

__global__ void __launch_bounds__(kRunThreads) gather_kernel(Instances all, const int64_t* offsets, uint8_t* counts) {
  for (int64_t n = blockIdx.x; n < all.count; n += gridDim.x) {
    uint8_t* to = counts + offsets[n];
    const uint8_t* slot = all.slots + n * all.slot_bytes;
    const int64_t length = offsets[n + 1] - offsets[n];
    if (length > all.slot_bytes)
      encode(all, n, to, length);
    else
      for (int64_t i = threadIdx.x; i < length; i += kRunThreads) to[i] = slot[i];
  }
}

// Waits for the device: a tensor's length must be known here. The only wait of the op, and its only copy.
int64_t read_bytes(const Launcher& launch, const Report* report) {
  Report here;
  launch.check(cudaMemcpyAsync(&here, report, sizeof here, cudaMemcpyDeviceToHost, launch.stream()));
  launch.check(cudaStreamSynchronize(launch.stream()));
  if (here.bad_row >= 0) check_plane(here.height, here.width, here.bad_row);
  return here.bytes;
}

std::tuple<Tensor, Tensor> encode_rle_cuda(const Tensor& probs, const Tensor& boxes, const Tensor& image_sizes,
                                           const Tensor& thresholds, std::string rule_name, bool inclusive) {
  check_encode_rle(probs, boxes, image_sizes, thresholds);
  const PasteRule rule = paste_rule("encode_rle", rule_name);
  const Launcher launch("encode_rle", probs);
  const Tensor masks = torch::stable::contiguous(probs), corners = torch::stable::contiguous(boxes);
  const Tensor sizes = torch::stable::contiguous(image_sizes), limits = torch::stable::contiguous(thresholds);
  const int64_t count = masks.size(0), size = masks.size(1);
  const int64_t slot_bytes = std::min(kMostSlotBytes, kMostBytesOfSlots / std::max<int64_t>(count, 1));
  const Tensor stretches = torch::stable::new_empty(probs, {count, size + 1, sizeof(Stretch) / 4}, ScalarType::Int);
  const Tensor slots = torch::stable::new_empty(probs, {count, slot_bytes}, ScalarType::Byte);
  const Tensor report = torch::stable::new_empty(probs, {sizeof(Report) / 8}, ScalarType::Long);
  const Tensor offsets = torch::stable::new_empty(probs, {count + 1}, ScalarType::Long);
  const Instances all{masks.const_data_ptr<float>(),
                      corners.const_data_ptr<float>(),
                      sizes.const_data_ptr<int64_t>(),
                      limits.const_data_ptr<float>(),
                      count,
                      static_cast<int32_t>(size),
                      rule,
                      inclusive,
                      static_cast<Stretch*>(stretches.mutable_data_ptr()),
                      slots.mutable_data_ptr<uint8_t>(),
                      slot_bytes};
  auto* offset = offsets.mutable_data_ptr<int64_t>();
  auto* told = static_cast<Report*>(report.mutable_data_ptr());
  const unsigned blocks = blocks_for(count, 1);
  launch(measure_kernel, blocks, kRunThreads, sizeof(BlockMemory), all, offset + 1);
  launch(sum_kernel, 1, 1024, sizeof(SumMemory), all, offset, told);
  Tensor counts = torch::stable::new_empty(probs, {read_bytes(launch, told)}, ScalarType::Byte);
  launch(gather_kernel, blocks, kRunThreads, sizeof(BlockMemory), all, offset, counts.mutable_data_ptr<uint8_t>());
  return {counts, offsets};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(maskrcnn, CUDA, ops) { ops.impl("encode_rle", TORCH_BOX(&encode_rle_cuda)); }

}  // namespace maskrcnn

#include "pool_rois.h"

#include "../roi_sampling.h"
#include "features.h"

// A warp pools one row of bins of a roi, one bin after the other, and a lane the channels of one 16-byte vector: 256
// channels of halves are one load of the warp. The warps of a block take the rows of bins of one roi, so that cells
// which neighbouring bins share come from L1.
//
// What limits it is moving cells from L2, so each cell of a bin is read once: the samples of a bin form a grid, and
// its rows and columns of cells come with their weights summed (bin_taps: 3 x 3 cells instead of the 16 that 2 x 2
// samples read). They are found once a block, one thread a bin, and kept in the block's memory. A roi with too many
// samples for that is rare, and left to a kernel of its own that takes them one by one.
namespace maskrcnn {
namespace {

constexpr int64_t kMostWarps = 8;
constexpr int kBlocksAtOnce = 4;   // on a multiprocessor: leaves a thread 64 registers, enough that none is spilled
constexpr int64_t kMostTaps = 16;  // of one bin along one axis
constexpr int64_t kMostTapBytes = 16 * 1024;
constexpr int64_t kExactCells = 1 << 20;

struct DeviceMap {
  const void* cells;
  int64_t height, width, image_stride, row_stride, cell_stride;
  float scale;
};

struct DeviceMaps {
  DeviceMap map[kMostMaps];
};

struct Pooling {
  RoiBins bins;
  int64_t jobs, channels;
  int64_t bands;     // blocks that share a roi
  int32_t capacity;  // taps that the table has room for, a bin
};

// Offsets in bytes.
struct Taps {
  const Tap* first;
  int32_t count;
};

// Taps of all columns of bins, then of the block's rows of bins, one row a warp.
class TapTable {
 public:
  __device__ TapTable(const Pooling& pooling, int32_t entries)
      : taps_(block_memory<Tap>()), counts_(reinterpret_cast<int32_t*>(taps_ + entries * pooling.capacity)),
        capacity_(pooling.capacity) {}

  static size_t bytes(int64_t entries, int32_t capacity) {
    return capacity == 0 ? 0 : entries * (capacity * sizeof(Tap) + sizeof(int32_t));
  }

  __device__ void set(int32_t entry, const RoiAxis& axis, int64_t bin, int64_t size, int64_t stride, float scale) {
    counts_[entry] = static_cast<int32_t>(bin_taps(axis, bin, size, stride, scale, taps_ + entry * capacity_));
  }
  __device__ Taps get(int64_t entry) const { return {taps_ + entry * capacity_, counts_[entry]}; }

 private:
  Tap* taps_;
  int32_t* counts_;
  int32_t capacity_;
};

// One roi on its map.
struct Roi {
  RoiAxis y, x;

  __device__ Roi(const RoiJob& job, const DeviceMap& map, const RoiBins& bins)
      : y(roi_axis(job.y1, job.y2, map.scale, bins.height, bins.sampling_ratio, bins.aligned)),
        x(roi_axis(job.x1, job.x2, map.scale, bins.width, bins.sampling_ratio, bins.aligned)) {}

  __device__ bool empty() const { return y.samples == 0 || x.samples == 0; }
  __device__ float scale() const { return 1.0f / (static_cast<float>(y.samples) * static_cast<float>(x.samples)); }
};

// Most taps of one bin. Adaptive samples lie at most a cell apart: s of them touch at most s + 2 cells, on maps
// small enough that a position's rounding is far below a cell.
__device__ int64_t most_taps(const RoiAxis& axis, int64_t size, const RoiBins& bins) {
  return bins.sampling_ratio <= 0 && size <= kExactCells ? axis.samples + 2 : 2 * axis.samples;
}

__device__ bool fits_table(const Roi& roi, const DeviceMap& map, const Pooling& pooling) {
  return most_taps(roi.y, map.height, pooling.bins) <= pooling.capacity &&
         most_taps(roi.x, map.width, pooling.bins) <= pooling.capacity;
}

template <class Feature>
__device__ const Feature* step(const Feature* from, int64_t bytes) {
  return reinterpret_cast<const Feature*>(reinterpret_cast<const char*>(from) + bytes);
}

// Sums kColumns cells of each of the rows. Their number is fixed so that all loads of a row are in flight at once.
template <int kColumns, class Feature, int kLanes>
__device__ void add_columns(const Feature* image, const Taps& rows, const Tap* columns, float (&sums)[kLanes]) {
  Tap right[kColumns];
  for (int i = 0; i < kColumns; ++i) right[i] = columns[i];
  for (int32_t row = 0; row < rows.count; ++row) {
    const Tap down = rows.first[row];
    const Feature* line = step(image, down.offset);
    Features<Feature, kLanes> cells[kColumns];
    for (int i = 0; i < kColumns; ++i) cells[i] = load_features<kLanes>(step(line, right[i].offset));
    for (int i = 0; i < kColumns; ++i) add_features(cells[i], down.weight * right[i].weight, sums);
  }
}

template <class Feature, int kLanes>
__device__ void add_cells(const Feature* image, const Taps& rows, Taps columns, float (&sums)[kLanes]) {
  for (; columns.count > 4; columns.first += 4, columns.count -= 4) add_columns<4>(image, rows, columns.first, sums);
  if (columns.count == 4) add_columns<4>(image, rows, columns.first, sums);
  if (columns.count == 3) add_columns<3>(image, rows, columns.first, sums);
  if (columns.count == 2) add_columns<2>(image, rows, columns.first, sums);
  if (columns.count == 1) add_columns<1>(image, rows, columns.first, sums);
}

// Writes a row of bins: add(column, channel, sums) gives the sums of the channels from `channel` on.
template <int kLanes, class Feature, class Add>
__device__ void write_bins(Feature* out, const Pooling& pooling, const Add& add) {
  const int64_t first = threadIdx.x % kWarp * kLanes;
  for (int64_t column = 0; column < pooling.bins.width; ++column, out += pooling.channels)
    for (int64_t channel = first; channel < pooling.channels; channel += kWarp * kLanes) {
      float sums[kLanes] = {};
      add(column, channel, sums);
      store_features(out + channel, sums);
    }
}

// Pools by table: rows of bins from first_row on, one a warp.
template <class Feature, int kLanes>
__device__ void pool_band(const RoiJob& job, const DeviceMap& map, int64_t first_row, Feature* out,
                          const Pooling& pooling) {
  const RoiBins& bins = pooling.bins;
  const int32_t width = static_cast<int32_t>(bins.width), warps = blockDim.x / kWarp, warp = threadIdx.x / kWarp;
  constexpr int64_t size = sizeof(Feature);
  const Roi roi(job, map, bins);
  const bool pooled = job.map >= 0 && !roi.empty();
  if (pooled && !fits_table(roi, map, pooling)) return;
  TapTable table(pooling, width + warps);
  for (int32_t entry = threadIdx.x; entry < width + warps && pooled; entry += blockDim.x)
    if (entry < width) table.set(entry, roi.x, entry, map.width, map.cell_stride * size, 1);
    else table.set(entry, roi.y, first_row + entry - width, map.height, map.row_stride * size, roi.scale());
  __syncthreads();
  if (first_row + warp >= bins.height) return;
  const auto* image = static_cast<const Feature*>(map.cells) + job.image * map.image_stride;
  const Taps rows = pooled ? table.get(width + warp) : Taps{};
  write_bins<kLanes>(out + warp * bins.width * pooling.channels, pooling,
                     [&](int64_t column, int64_t channel, float(&sums)[kLanes]) {
                       if (pooled) add_cells(image + channel, rows, table.get(column), sums);
                     });
}

template <class Feature, int kLanes>
__global__ void __launch_bounds__(kMostWarps* kWarp, kBlocksAtOnce)
    pool_kernel(const RoiJob* jobs, DeviceMaps maps, Feature* out, Pooling pooling) {
  const int64_t line_size = pooling.bins.width * pooling.channels;
  for (int64_t block = blockIdx.x; block < pooling.jobs * pooling.bands; block += gridDim.x) {
    const int64_t row = block / pooling.bands, first = (block - row * pooling.bands) * (blockDim.x / kWarp);
    const RoiJob job = jobs[row];
    pool_band<Feature, kLanes>(job, maps.map[job.map < 0 ? 0 : job.map], first,
                               out + (row * pooling.bins.height + first) * line_size, pooling);
    __syncthreads();  // the next roi's taps replace these
  }
}

// The two cells that one sample lies between along an axis; offset 1 is -1 where there is only one.
struct SampleTaps {
  Tap low, high;

  __device__ SampleTaps(const Neighbours& cell, int64_t stride, float scale)
      : low{cell.low * stride, (1 - cell.toward_high) * scale},
        high{cell.high == cell.low ? -1 : cell.high * stride, cell.toward_high * scale} {}
};

template <class Feature, int kLanes>
__device__ void add_line(const Feature* line, float weight, const SampleTaps& columns, float (&sums)[kLanes]) {
  add_features(load_features<kLanes>(line + columns.low.offset), weight * columns.low.weight, sums);
  if (columns.high.offset < 0) return;
  add_features(load_features<kLanes>(line + columns.high.offset), weight * columns.high.weight, sums);
}

template <class Feature, int kLanes>
__device__ void add_samples(const Feature* image, const DeviceMap& map, const Roi& roi, int64_t row, int64_t column,
                            float (&sums)[kLanes]) {
  const float top = bin_start(roi.y, row), left = bin_start(roi.x, column);
  const SampleRange down = samples_near_map(roi.y, top, map.height), right = samples_near_map(roi.x, left, map.width);
  Neighbours cell;
  for (int64_t i = down.begin; i < down.end; ++i) {
    if (!locate(sample_position(roi.y, top, i), map.height, cell)) continue;
    const SampleTaps rows(cell, map.row_stride, roi.scale());
    for (int64_t j = right.begin; j < right.end; ++j) {
      if (!locate(sample_position(roi.x, left, j), map.width, cell)) continue;
      const SampleTaps columns(cell, map.cell_stride, 1);
      add_line(image + rows.low.offset, rows.low.weight, columns, sums);
      if (rows.high.offset >= 0) add_line(image + rows.high.offset, rows.high.weight, columns, sums);
    }
  }
}

// The rois that pool_kernel left out: a warp a row of bins.
template <class Feature, int kLanes>
__global__ void __launch_bounds__(kMostWarps* kWarp)
    sample_kernel(const RoiJob* jobs, DeviceMaps maps, Feature* out, Pooling pooling) {
  const RoiBins& bins = pooling.bins;
  for (int64_t line = grid_thread() / kWarp; line < pooling.jobs * bins.height; line += grid_threads() / kWarp) {
    const RoiJob job = jobs[line / bins.height];
    if (job.map < 0) continue;
    const DeviceMap& map = maps.map[job.map];
    const Roi roi(job, map, bins);
    if (roi.empty() || fits_table(roi, map, pooling)) continue;
    const auto* image = static_cast<const Feature*>(map.cells) + job.image * map.image_stride;
    write_bins<kLanes>(out + line * bins.width * pooling.channels, pooling,
                       [&](int64_t column, int64_t channel, float(&sums)[kLanes]) {
                         add_samples(image + channel, map, roi, line % bins.height, column, sums);
                       });
  }
}

DeviceMaps device_maps(const std::vector<FeatureMap>& maps) {
  DeviceMaps result{};
  for (size_t i = 0; i < maps.size(); ++i)
    result.map[i] = {maps[i].tensor.const_data_ptr(), maps[i].height, maps[i].width, maps[i].image_stride,
                     maps[i].row_stride, maps[i].cell_stride, maps[i].scale};
  return result;
}

// Taps a bin that the table has room for; 0, which leaves all rois to sample_kernel, where it would be too large.
int32_t table_capacity(const RoiBins& bins, int64_t warps) {
  const int64_t taps = bins.sampling_ratio > 0 ? 2 * bins.sampling_ratio : kMostTaps;
  const bool fits = taps <= kMostTaps && bins.width + warps <= kMostTapBytes / int64_t{sizeof(Tap)} / taps;
  return fits ? static_cast<int32_t>(taps) : 0;
}

template <class Feature, int kLanes>
void pool(const Launcher& launch, const RoiJob* jobs, const DeviceMaps& maps, Feature* out, const Pooling& pooling) {
  const int64_t warps = (pooling.bins.height + pooling.bands - 1) / pooling.bands;
  const auto threads = static_cast<unsigned>(warps * kWarp);
  launch(pool_kernel<Feature, kLanes>, blocks_for(pooling.jobs * pooling.bands, 1), threads,
         TapTable::bytes(pooling.bins.width + warps, pooling.capacity), jobs, maps, out, pooling);
  if (pooling.bins.sampling_ratio > 0 && pooling.capacity > 0) return;  // all fit
  constexpr unsigned kMostBlocks = 1024;
  const unsigned blocks = std::min(kMostBlocks, blocks_for(pooling.jobs * pooling.bins.height, kMostWarps));
  launch(sample_kernel<Feature, kLanes>, blocks, kMostWarps * kWarp, 0, jobs, maps, out, pooling);
}

}  // namespace

Tensor pool_rois(const Launcher& launch, const std::vector<FeatureMap>& maps, const Tensor& jobs, const RoiBins& bins) {
  const Tensor& first = maps[0].tensor;
  Tensor out = empty_pooled(maps[0], jobs.size(0), bins);
  if (out.numel() == 0) return out;
  const int64_t bands = (bins.height + kMostWarps - 1) / kMostWarps, warps = (bins.height + bands - 1) / bands;
  const Pooling pooling{bins, jobs.size(0), first.size(1), bands, table_capacity(bins, warps)};
  const bool vectors = std::all_of(maps.begin(), maps.end(), has_vectors);
  visit_feature_type(first, [&](auto* type) {
    using Feature = std::remove_pointer_t<decltype(type)>;
    const auto kernels = vectors ? pool<Feature, kVectorBytes / sizeof(Feature)> : pool<Feature, 1>;
    kernels(launch, static_cast<const RoiJob*>(jobs.const_data_ptr()), device_maps(maps),
            static_cast<Feature*>(out.mutable_data_ptr()), pooling);
  });
  return out;
}

}  // namespace maskrcnn

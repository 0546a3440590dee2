// How both filters of resize_normalize write the canvas: a warp takes a tile of 32 columns by 8 rows, each thread goes
// down one column, where neighbouring rows share what they read, and the tile leaves through block memory in 16-byte
// pieces. What no picture covers is written as 0.
#pragma once
#include "../resize_filters.h"
#include "launch.h"

namespace maskrcnn {

// Pictures of one launch: their descriptions travel as arguments of the kernels, which hold 4 KB.
constexpr int kPicturesAtOnce = 16;
constexpr int kTileRows = 8, kTileColumns = kWarp, kCanvasThreads = 256;

struct CanvasTiles {
  int64_t pictures, height, width;

  C10_HOST_DEVICE int64_t down() const { return (height + kTileRows - 1) / kTileRows; }
  C10_HOST_DEVICE int64_t across() const { return (width + kTileColumns - 1) / kTileColumns; }
  C10_HOST_DEVICE int64_t count() const { return pictures * down() * across(); }
};

// What each of the 256 pixel values becomes in each channel.
struct ValueTable {
  float value[3][256];
};

template <class Out>
struct CanvasMemory {
  alignas(16) Out pixels[kCanvasThreads / kWarp][kTileRows][kTileColumns][3];
  ValueTable table;
};

__device__ inline void fill(ValueTable& table, const Normalisation& normalisation) {
  for (int i = threadIdx.x; i < 3 * 256; i += kCanvasThreads)
    table.value[i / 256][i % 256] = normalised(normalisation, i / 256, static_cast<uint8_t>(i % 256));
}

// This thread's column of the tile at (row, column) of its picture's canvas.
template <class Source, class Out>
__device__ void compute_column(const Source& source, int picture, int64_t row, int64_t column, const ValueTable& table,
                               Out (*pixels)[kTileColumns][3]) {
  const Picture& of = source.picture(picture);
  const int lane = threadIdx.x % kWarp;
  int r = 0;
  if (column + lane < of.width && row < of.height) {
    typename Source::Column down(source, picture, column + lane, table);
    for (; r < kTileRows && row + r < of.height; ++r) {
      float values[3];
      down.pixel(row + r, values);
      for (int channel = 0; channel < 3; ++channel) pixels[r][lane][channel] = static_cast<Out>(values[channel]);
    }
  }
  for (; r < kTileRows; ++r)
    for (int channel = 0; channel < 3; ++channel) pixels[r][lane][channel] = static_cast<Out>(0.0f);
}

// Unit: what a thread moves at once.
template <class Unit, class Out>
__device__ void copy_tile(const Out (*pixels)[kTileColumns][3], Out* to, int64_t pitch, int rows, int columns) {
  const int units = columns * static_cast<int>(3 * sizeof(Out)) / static_cast<int>(sizeof(Unit));
  for (int i = threadIdx.x % kWarp; i < rows * units; i += kWarp) {
    const int row = i / units, unit = i % units;
    reinterpret_cast<Unit*>(to + row * pitch)[unit] = reinterpret_cast<const Unit*>(pixels[row])[unit];
  }
}

// Source: has picture(i), and a Column whose pixel(row, values) is called from row to row.
// canvas (pictures, height, width, 3), 16-byte aligned.
template <class Source, class Out>
__global__ void __launch_bounds__(kCanvasThreads)
    canvas_kernel(const __grid_constant__ Source source, const __grid_constant__ Normalisation normalisation,
                  CanvasTiles tiles, Out* canvas) {
  auto& memory = *block_memory<CanvasMemory<Out>>();
  fill(memory.table, normalisation);
  __syncthreads();
  auto* pixels = memory.pixels[threadIdx.x / kWarp];
  const int64_t across = tiles.across(), down = tiles.down(), pitch = 3 * tiles.width;
  const bool aligned = pitch * sizeof(Out) % sizeof(uint4) == 0;  // then every tile's row begins and ends at a piece
  for (int64_t tile = grid_thread() / kWarp; tile < tiles.count(); tile += grid_threads() / kWarp) {
    const int64_t line = tile / across, picture = line / down;
    const int64_t row = line % down * kTileRows, column = tile % across * kTileColumns;
    compute_column(source, static_cast<int>(picture), row, column, memory.table, pixels);
    __syncwarp();
    Out* to = canvas + (picture * tiles.height + row) * pitch + 3 * column;
    const int rows = static_cast<int>(std::min<int64_t>(kTileRows, tiles.height - row));
    const int columns = static_cast<int>(std::min<int64_t>(kTileColumns, tiles.width - column));
    if (aligned) copy_tile<uint4>(pixels, to, pitch, rows, columns);
    else copy_tile<Out>(pixels, to, pitch, rows, columns);
    __syncwarp();  // before the next tile's pixels
  }
}

template <class Source, class Out>
void write_canvas(const Launcher& launch, const Source& source, const Normalisation& normalisation,
                  const CanvasTiles& tiles, Out* canvas) {
  constexpr int64_t kTilesAWarp = 2;  // so that few blocks compute the table
  const unsigned blocks = blocks_for(tiles.count(), kTilesAWarp * kCanvasThreads / kWarp);
  launch(canvas_kernel<Source, Out>, blocks, kCanvasThreads, sizeof(CanvasMemory<Out>), source, normalisation, tiles,
         canvas);
}

}  // namespace maskrcnn

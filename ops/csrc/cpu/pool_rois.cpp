#include "pool_rois.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <tuple>

#include "../roi_sampling.h"
#include "feature_types.h"
#include "huge_pages.h"
#include "multiversion.h"

namespace maskrcnn {
namespace {

// Channels summed at a time: as many as stay in registers over all taps of a bin.
constexpr int64_t kBlock = 64;

struct Taps {
  const Tap* first;
  int64_t count;
};

// One worker's taps: a row of bins along x, one bin along y. Allocated before the threads start.
struct Scratch {
  std::vector<Tap> columns, rows;
  std::vector<int64_t> column_counts;
};

template <class Feature>
void pool_block(const Feature* image, Taps rows, Taps columns, int64_t channels, Feature* out) {
  float sums[kBlock] = {};
  for (int64_t row = 0; row < rows.count; ++row)
    for (int64_t column = 0; column < columns.count; ++column) {
      const Feature* cell = image + rows.first[row].offset + columns.first[column].offset;
      const float weight = rows.first[row].weight * columns.first[column].weight;
      for (int64_t channel = 0; channel < channels; ++channel) sums[channel] += weight * to_float(cell[channel]);
    }
  for (int64_t channel = 0; channel < channels; ++channel) out[channel] = from_float<Feature>(sums[channel]);
}

template <class Feature>
void pool_bin(const Feature* image, Taps rows, Taps columns, int64_t channels, Feature* out) {
  int64_t done = 0;
  for (; done + kBlock <= channels; done += kBlock) pool_block(image + done, rows, columns, kBlock, out + done);
  if (done < channels) pool_block(image + done, rows, columns, channels - done, out + done);
}

// Most cells that one bin reads along an axis of `size` cells.
int64_t most_taps(int64_t sampling_ratio, int64_t size) {
  return sampling_ratio > 0 ? std::min(2 * sampling_ratio, size) : size;
}

// Map, image, band of 16 rows of cells, place in the band. A pyramid is larger than the caches: rois in this order
// read what their neighbours have just read, which takes a third off the whole op.
std::tuple<int64_t, int64_t, float, float> place_of(const RoiJob& job, const std::vector<FeatureMap>& maps) {
  if (job.map < 0) return {-1, 0, 0, 0};
  const float scale = maps[job.map].scale;
  const float band = std::floor((job.y1 + job.y2) / 2 * scale / 16), x = (job.x1 + job.x2) / 2 * scale;
  return {job.map, job.image, std::isfinite(band) ? band : 0, std::isfinite(x) ? x : 0};  // NaN has no order
}

void sort_by_place(std::vector<RoiJob>& jobs, const std::vector<FeatureMap>& maps) {
  std::sort(jobs.begin(), jobs.end(),
            [&](const RoiJob& a, const RoiJob& b) { return place_of(a, maps) < place_of(b, maps); });
}

template <class Feature>
class Pooling {
 public:
  Pooling(const std::vector<FeatureMap>& maps, const std::vector<RoiJob>& jobs, const RoiBins& bins, Tensor& out)
      : maps_(maps), jobs_(jobs), bins_(bins), channels_(out.size(1)),
        out_(static_cast<Feature*>(out.mutable_data_ptr())) {
    for (const FeatureMap& map : maps) {
      row_taps_ = std::max(row_taps_, most_taps(bins.sampling_ratio, map.height));
      column_taps_ = std::max(column_taps_, most_taps(bins.sampling_ratio, map.width));
      cells_.push_back(static_cast<const Feature*>(map.tensor.const_data_ptr()));
    }
  }

  // Workers draw rois, or single rows of bins where rois are few, until none is left.
  void run() {
    const int64_t jobs = static_cast<int64_t>(jobs_.size()), threads = torch::stable::get_num_threads();
    const int64_t parts = jobs < 8 * threads ? bins_.height : 1, tasks = jobs * parts;
    const int64_t workers = std::min(threads, tasks), rows = bins_.height / parts;
    std::vector<Scratch> scratch(workers, {std::vector<Tap>(bins_.width * column_taps_), std::vector<Tap>(row_taps_),
                                           std::vector<int64_t>(bins_.width)});
    std::atomic<int64_t> next{0};
    torch::stable::parallel_for(0, workers, 1, [&](int64_t begin, int64_t end) {
      multiversion([&] {
        for (int64_t worker = begin; worker < end; ++worker)
          for (int64_t task = next++; task < tasks; task = next++)
            pool_rows(jobs_[task / parts], task % parts * rows, rows, scratch[worker]);
      });
    });
  }

 private:
  void pool_rows(const RoiJob& job, int64_t first, int64_t count, Scratch& scratch) const {
    const int64_t row_size = bins_.width * channels_;
    Feature* out = out_ + (job.row * bins_.height + first) * row_size;
    const FeatureMap* map = job.map < 0 ? nullptr : &maps_[job.map];
    const RoiAxis y = map ? axis(job.y1, job.y2, map->scale, bins_.height) : RoiAxis{};
    const RoiAxis x = map ? axis(job.x1, job.x2, map->scale, bins_.width) : RoiAxis{};
    if (y.samples == 0 || x.samples == 0 || map->height * map->width == 0) {  // an empty map has no memory to point into
      std::fill(out, out + count * row_size, Feature{});
      return;
    }
    const Feature* image = cells_[job.map] + job.image * map->image_stride;
    const float scale = 1.0f / (static_cast<float>(y.samples) * static_cast<float>(x.samples));
    set_columns(x, *map, scratch);
    for (int64_t bin = first; bin < first + count; ++bin, out += row_size) {
      Tap* taps = scratch.rows.data();
      const Taps rows{taps, bin_taps(y, bin, map->height, map->row_stride, scale, taps)};
      for (int64_t column = 0; column < bins_.width; ++column)
        pool_bin(image, rows, {scratch.columns.data() + column * column_taps_, scratch.column_counts[column]}, channels_,
                 out + column * channels_);
    }
  }

  RoiAxis axis(float low, float high, float scale, int64_t count) const {
    return roi_axis(low, high, scale, count, bins_.sampling_ratio, bins_.aligned);
  }

  void set_columns(const RoiAxis& x, const FeatureMap& map, Scratch& scratch) const {
    for (int64_t column = 0; column < bins_.width; ++column)
      scratch.column_counts[column] =
          bin_taps(x, column, map.width, map.cell_stride, 1.0f, scratch.columns.data() + column * column_taps_);
  }

  const std::vector<FeatureMap>& maps_;
  const std::vector<RoiJob>& jobs_;
  const RoiBins& bins_;
  const int64_t channels_;
  Feature* const out_;
  std::vector<const Feature*> cells_;
  int64_t row_taps_ = 0, column_taps_ = 0;
};

}  // namespace

Tensor pool_rois(const std::vector<FeatureMap>& maps, std::vector<RoiJob> jobs, const RoiBins& bins) {
  sort_by_place(jobs, maps);
  const ScalarType dtype = maps[0].tensor.scalar_type();
  Tensor out = empty_pooled(maps[0], static_cast<int64_t>(jobs.size()), bins);
  if (out.numel() == 0) return out;
  prefer_huge_pages(out.mutable_data_ptr(), out.numel() * out.element_size());
  if (dtype == ScalarType::Half)
    Pooling<Float16>(maps, jobs, bins, out).run();
  else if (dtype == ScalarType::BFloat16)
    Pooling<BFloat16>(maps, jobs, bins, out).run();
  else
    Pooling<float>(maps, jobs, bins, out).run();
  return out;
}

}  // namespace maskrcnn

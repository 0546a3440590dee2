// Row by row: the source rows that an output row needs are stretched to its width and kept, then blended,
// normalised and written. The threads share the rows of all pictures.
#include "../resize_normalize.h"

#include <cstring>
#include <optional>

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include "feature_types.h"
#include "multiversion.h"
#include "resize_bilinear.h"
#include "resize_pillow.h"
#include "resize_rows.h"

namespace maskrcnn {
namespace {

constexpr int64_t kPixelsPerThread = 16384;  // fewer are not worth waking a thread for

template <class T>
Table<T> table_of(const Normalisation& normalisation) {
  Table<T> table;
  for (int channel = 0; channel < 3; ++channel)
    for (int pixel = 0; pixel < 256; ++pixel)
      table.value[channel][pixel] = from_float<T>(normalised(normalisation, channel, static_cast<uint8_t>(pixel)));
  return table;
}

// Where the pictures go: (B, height, width, 3) in memory.
template <class Out>
struct Canvas {
  Out* pixels;
  int64_t height, width;

  Out* row(int64_t picture, int64_t row) const { return pixels + 3 * width * (picture * height + row); }
};

template <class Filter>
Scratch<typename Filter::Value> scratch_for(const std::vector<Filter>& filters) {
  using Value = typename Filter::Value;
  int64_t rows = 1, row_width = 1, line_width = 1;
  for (const Filter& filter : filters) {
    rows = std::max(rows, filter.rows_held());
    row_width = std::max(row_width, filter.row_width());
    line_width = std::max(line_width, filter.line_width());
  }
  const std::vector<Value> line(3 * line_width + kSpareLane);
  return {StretchedRows<Value>(rows, row_width), line, line};
}

// Rows begin .. end - 1 of one picture, with the zeros to their right; after the last row those below it.
template <class Filter, class Value, class Out>
void write_rows(const Filter& filter, int64_t index, int64_t begin, int64_t end, const Table<Value>& table,
                Scratch<typename Filter::Value>& scratch, const Canvas<Out>& canvas) {
  const int64_t width = filter.picture().width, height = filter.picture().height;
  scratch.rows.forget();
  for (int64_t row = begin; row < end; ++row) {
    Out* out = canvas.row(index, row);
    filter.write_row(row, scratch, table, out);
    std::memset(static_cast<void*>(out + 3 * width), 0, 3 * (canvas.width - width) * sizeof(Out));
  }
  if (end == height)
    std::memset(static_cast<void*>(canvas.row(index, end)), 0, 3 * canvas.width * (canvas.height - end) * sizeof(Out));
}

template <class Filter, class Out>
void resize_all(const std::vector<Picture>& pictures, const Normalisation& normalisation, const Canvas<Out>& canvas) {
  const std::vector<Filter> filters(pictures.begin(), pictures.end());
  const auto table = table_of<typename Filter::template TableValue<Out>>(normalisation);
  std::vector<int64_t> starts{0};  // of each picture's rows among the rows of all
  int64_t pixels = 0;
  for (const Picture& picture : pictures) {
    starts.push_back(starts.back() + picture.height);
    pixels += picture.height * picture.width;
  }
  const int64_t total = starts.back(), wanted = 1 + pixels / kPixelsPerThread;
  const int64_t parts = std::min<int64_t>({total, wanted, torch::stable::get_num_threads()});
  // Made here: a thread that ran out of memory could not say so.
  std::vector<Scratch<typename Filter::Value>> scratch(parts, scratch_for(filters));
  torch::stable::parallel_for(0, parts, 1, [&](int64_t first_part, int64_t last_part) {
    multiversion([&] {
      for (int64_t part = first_part; part < last_part; ++part)
        for (size_t index = 0; index < filters.size(); ++index) {
          const int64_t begin = std::max(total * part / parts, starts[index]);
          const int64_t end = std::min(total * (part + 1) / parts, starts[index + 1]);
          if (begin < end)
            write_rows(filters[index], index, begin - starts[index], end - starts[index], table, scratch[part], canvas);
        }
    });
  });
}

template <class Out>
void resize_onto(const Tensor& out, const std::vector<Picture>& pictures, const Normalisation& normalisation,
                 const std::string& filter) {
  const Canvas<Out> canvas{static_cast<Out*>(out.mutable_data_ptr()), out.size(2), out.size(3)};
  if (filter == "pillow") return resize_all<Pillow>(pictures, normalisation, canvas);
  resize_all<Bilinear>(pictures, normalisation, canvas);
}

Tensor resize_normalize_cpu(const std::vector<Tensor>& images, const Tensor& sizes, int64_t height, int64_t width,
                            const std::vector<double>& mean, const std::vector<double>& std, double divisor,
                            const std::string& filter, bool bgr, std::optional<ScalarType> dtype) {
  const ScalarType wanted = dtype.value_or(ScalarType::Float);
  check_resize_normalize(images, sizes, height, width, mean, std, divisor, filter, wanted);
  std::vector<Picture> pictures;
  for (const Tensor& image : images) pictures.push_back(picture_of(image, sizes, pictures.size(), bgr));
  const Tensor out = torch::stable::empty({static_cast<int64_t>(images.size()), 3, height, width}, wanted, std::nullopt,
                                          std::nullopt, std::nullopt, torch::headeronly::MemoryFormat::ChannelsLast);
  const Normalisation normalisation = normalisation_of(mean, std, divisor);
  if (wanted == ScalarType::Half)
    resize_onto<Float16>(out, pictures, normalisation, filter);
  else if (wanted == ScalarType::BFloat16)
    resize_onto<BFloat16>(out, pictures, normalisation, filter);
  else
    resize_onto<float>(out, pictures, normalisation, filter);
  return out;
}
}  // namespace

STABLE_TORCH_LIBRARY_IMPL(maskrcnn, CPU, ops) { ops.impl("resize_normalize", TORCH_BOX(&resize_normalize_cpu)); }

}  // namespace maskrcnn

#include "picture.h"

#include <libexif/exif-data.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <memory>

#include "error.h"

namespace {

using torch::Tensor;

std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file || !std::filesystem::is_regular_file(path)) throw UserError(path.string() + " cannot be read");
  return {std::istreambuf_iterator<char>(file), {}};
}

Decoded decode(const std::string& bytes) {
  if (bytes.starts_with("\xff\xd8\xff")) return decode_jpeg(bytes);
  if (bytes.starts_with("\x89PNG\r\n\x1a\n")) return decode_png(bytes);
  throw std::runtime_error("it is neither a JPEG nor a PNG");
}

// 1 to 8, as EXIF numbers them; 1 where it says nothing that can be read.
int orientation(const std::string& exif) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(exif.data());
  const std::unique_ptr<ExifData, decltype(&exif_data_unref)> data(
      exif_data_new_from_data(bytes, static_cast<unsigned>(exif.size())), exif_data_unref);
  const ExifEntry* entry = data ? exif_content_get_entry(data->ifd[EXIF_IFD_0], EXIF_TAG_ORIENTATION) : nullptr;
  if (!entry || entry->format != EXIF_FORMAT_SHORT || entry->size < 2) return 1;
  return exif_get_short(entry->data, exif_data_get_byte_order(data.get()));
}

Tensor upright(const Tensor& stored, int orientation) {
  switch (orientation) {
    case 2: return stored.flip(1);
    case 3: return stored.flip({0, 1});
    case 4: return stored.flip(0);
    case 5: return stored.transpose(0, 1);
    case 6: return stored.transpose(0, 1).flip(1);
    case 7: return stored.transpose(0, 1).flip({0, 1});
    case 8: return stored.transpose(0, 1).flip(0);
    default: return stored;
  }
}

}  // namespace

torch::Tensor read_picture(const std::filesystem::path& path) {
  const std::string bytes = read_file(path);
  try {
    const Decoded decoded = decode(bytes);
    return upright(decoded.pixels, orientation(decoded.exif)).contiguous();
  } catch (const std::runtime_error& error) {
    throw UserError(path.string() + ": " + error.what());
  }
}

void check_size(int64_t height, int64_t width) {
  if (height < 1 || width < 1) throw std::runtime_error("the picture has no pixels");
  if (height * width > kMostPixels)
    throw std::runtime_error("the picture has more than " + std::to_string(kMostPixels) + " pixels");
  if (std::max(height, width) > kLongestSide)
    throw std::runtime_error("a side of the picture has more than " + std::to_string(kLongestSide) + " pixels");
}

Tensor divided_by_255(const Tensor& products) {
  const Tensor sum = products + 128;
  return (sum + sum.bitwise_right_shift(8)).bitwise_right_shift(8).to(torch::kByte);
}

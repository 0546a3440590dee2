#include <png.h>

#include <csetjmp>
#include <cstring>
#include <string>
#include <vector>

#include "error.h"
#include "picture.h"

namespace {

// libpng is C: an error comes back by a jump, over nothing that has a destructor.
struct Png {
  png_structp read = nullptr;
  png_infop info = nullptr;
  const std::string& bytes;
  size_t position = 0;
  std::string message;  // made long enough before, so that a jump crosses no allocation

  explicit Png(const std::string& bytes) : bytes(bytes), message(200, '\0') {
    read = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, &leave, &ignore);
    info = png_create_info_struct(read);
    png_set_read_fn(read, this, &take);
  }
  ~Png() { png_destroy_read_struct(&read, &info, nullptr); }

  [[noreturn]] static void leave(png_structp read, png_const_charp text) {
    auto* png = static_cast<Png*>(png_get_error_ptr(read));
    std::strncpy(png->message.data(), text, png->message.size() - 1);
    png_longjmp(read, 1);
  }
  static void ignore(png_structp, png_const_charp) {}
  static void take(png_structp read, png_bytep target, size_t count) {
    auto* png = static_cast<Png*>(png_get_io_ptr(read));
    if (count > png->bytes.size() - png->position) png_error(read, "the file ends early");
    std::memcpy(target, png->bytes.data() + png->position, count);
    png->position += count;
  }
};

[[noreturn]] void fail(const Png& png) { throw std::runtime_error(png.message.c_str()); }

void read_header(Png& png) {
  if (setjmp(png_jmpbuf(png.read))) fail(png);
  png_read_info(png.read, png.info);
}

// Every kind of PNG to 8 bits of red, green, blue and opacity, as the server's decoder does.
void ask_for_rgba(Png& png) {
  if (setjmp(png_jmpbuf(png.read))) fail(png);
  const bool deep_grey = png_get_color_type(png.read, png.info) == PNG_COLOR_TYPE_GRAY &&
                         png_get_bit_depth(png.read, png.info) == 16;
  if (deep_grey) {
    png_set_scale_16(png.read);  // rounded; its transparent value is not looked at
  } else {
    png_set_strip_16(png.read);
    png_set_expand(png.read);
  }
  png_set_gray_to_rgb(png.read);
  png_set_add_alpha(png.read, 255, PNG_FILLER_AFTER);
  png_set_interlace_handling(png.read);
  png_read_update_info(png.read, png.info);
}

void read_pixels(Png& png, std::vector<png_bytep>& rows) {
  if (setjmp(png_jmpbuf(png.read))) fail(png);
  png_read_image(png.read, rows.data());
  png_read_end(png.read, png.info);
}

std::string exif_of(Png& png) {
  png_uint_32 length = 0;
  png_bytep data = nullptr;
  if (!png_get_eXIf_1(png.read, png.info, &length, &data) || !data) return "";
  return std::string("Exif\0\0", 6) + std::string(reinterpret_cast<const char*>(data), length);
}

torch::Tensor over_white(const torch::Tensor& rgba) {
  const torch::Tensor colour = rgba.slice(2, 0, 3).to(torch::kInt), opacity = rgba.slice(2, 3).to(torch::kInt);
  return divided_by_255(colour * opacity + 255 * (255 - opacity));
}

std::vector<png_bytep> rows_of(const torch::Tensor& pixels) {
  std::vector<png_bytep> rows(static_cast<size_t>(pixels.size(0)));
  for (size_t row = 0; row < rows.size(); ++row)
    rows[row] = pixels.data_ptr<uint8_t>() + static_cast<size_t>(pixels.stride(0)) * row;
  return rows;
}

}  // namespace

Decoded decode_png(const std::string& bytes) {
  Png png(bytes);
  read_header(png);
  const int64_t height = png_get_image_height(png.read, png.info), width = png_get_image_width(png.read, png.info);
  check_size(height, width);
  ask_for_rgba(png);
  const torch::Tensor pixels = torch::empty({height, width, 4}, torch::kByte);
  std::vector<png_bytep> rows = rows_of(pixels);
  read_pixels(png, rows);
  const bool opaque = pixels.select(2, 3).eq(255).all().item<bool>();
  return {opaque ? pixels.slice(2, 0, 3) : over_white(pixels), exif_of(png)};
}

void write_png(const torch::Tensor& pixels, const std::filesystem::path& path) {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.height = static_cast<png_uint_32>(pixels.size(0));
  image.width = static_cast<png_uint_32>(pixels.size(1));
  image.format = PNG_FORMAT_RGB;
  const auto* begin = pixels.const_data_ptr<uint8_t>();
  if (!png_image_write_to_file(&image, path.c_str(), 0, begin, static_cast<png_int_32>(3 * pixels.size(1)), nullptr))
    throw UserError(path.string() + " cannot be written: " + image.message);
}

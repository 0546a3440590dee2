#include <csetjmp>
#include <cstdio>

#include "picture.h"
// After <cstdio>, whose FILE it uses without including it.
#include <jerror.h>
#include <jpeglib.h>

namespace {

// libjpeg is C: an error comes back by a jump, over nothing that has a destructor.
struct Errors {
  jpeg_error_mgr manager;
  std::jmp_buf jump;
  char message[JMSG_LENGTH_MAX];
};

[[noreturn]] void leave(j_common_ptr info) {
  auto* errors = reinterpret_cast<Errors*>(info->err);
  info->err->format_message(info, errors->message);
  std::longjmp(errors->jump, 1);
}

// A file that ends early is filled with grey and only warned of: refused here, as the server does.
void refuse_early_end(j_common_ptr info, int level) {
  if (level < 0 && info->err->msg_code == JWRN_JPEG_EOF) leave(info);
}

struct Jpeg {
  jpeg_decompress_struct info{};
  Errors errors{};
  Jpeg() {
    info.err = jpeg_std_error(&errors.manager);
    errors.manager.error_exit = leave;
    errors.manager.emit_message = refuse_early_end;
    jpeg_create_decompress(&info);
  }
  ~Jpeg() { jpeg_destroy_decompress(&info); }
};

void read_header(Jpeg& jpeg, const std::string& bytes) {
  if (setjmp(jpeg.errors.jump)) throw std::runtime_error(jpeg.errors.message);
  jpeg_mem_src(&jpeg.info, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
  jpeg_save_markers(&jpeg.info, JPEG_APP0 + 1, 0xffff);  // EXIF
  jpeg_read_header(&jpeg.info, TRUE);
}

void read_pixels(Jpeg& jpeg, const torch::Tensor& pixels) {
  if (setjmp(jpeg.errors.jump)) throw std::runtime_error(jpeg.errors.message);
  jpeg_start_decompress(&jpeg.info);
  auto* const begin = pixels.data_ptr<uint8_t>();
  const auto stride = static_cast<size_t>(pixels.stride(0));
  while (jpeg.info.output_scanline < jpeg.info.output_height) {
    JSAMPROW row = begin + stride * jpeg.info.output_scanline;
    jpeg_read_scanlines(&jpeg.info, &row, 1);
  }
  jpeg_finish_decompress(&jpeg.info);
}

std::string exif_of(const jpeg_decompress_struct& info) {
  for (const auto* marker = info.marker_list; marker; marker = marker->next) {
    std::string data(reinterpret_cast<const char*>(marker->data), marker->data_length);
    if (data.starts_with(std::string("Exif\0\0", 6))) return data;
  }
  return "";
}

// Four inks to light. They are stored inverted, as Adobe began it and every decoder assumes: what is stored is light.
torch::Tensor to_rgb(const torch::Tensor& inks) {
  const torch::Tensor light = inks.to(torch::kInt);
  return divided_by_255(light.slice(2, 0, 3) * light.slice(2, 3));
}

}  // namespace

Decoded decode_jpeg(const std::string& bytes) {
  Jpeg jpeg;
  read_header(jpeg, bytes);
  check_size(jpeg.info.image_height, jpeg.info.image_width);
  const std::string exif = exif_of(jpeg.info);  // now: the markers go as the last pixel is read
  const bool inks = jpeg.info.num_components == 4;
  jpeg.info.out_color_space = inks ? JCS_CMYK : JCS_RGB;
  const torch::Tensor pixels =
      torch::empty({jpeg.info.image_height, jpeg.info.image_width, inks ? 4 : 3}, torch::kByte);
  read_pixels(jpeg, pixels);
  return {inks ? to_rgb(pixels) : pixels, exif};
}

// A JPEG or PNG file as pixels, as the server reads it, and pixels as a PNG file.
#pragma once
#include <torch/types.h>

#include <filesystem>
#include <string>

inline constexpr int64_t kMostPixels = 50'000'000;  // the server's max_pixels
inline constexpr int64_t kLongestSide = 65'535;     // what run lengths are made for

struct Decoded {
  torch::Tensor pixels;  // (H, W, 3) uint8, RGB, as stored
  std::string exif;      // empty: there is none
};

// (H, W, 3) uint8, RGB, upright. UserError: no such file, no JPEG or PNG, damaged, or too large.
torch::Tensor read_picture(const std::filesystem::path& path);

// Writes (H, W, 3) uint8 pixels as a PNG. UserError: the file cannot be written.
void write_png(const torch::Tensor& pixels, const std::filesystem::path& path);

// Of the bytes of one file; std::runtime_error says what is wrong with them.
Decoded decode_jpeg(const std::string& bytes);
Decoded decode_png(const std::string& bytes);

// Refuses a picture by its header. std::runtime_error: it has no pixels, or too many.
void check_size(int64_t height, int64_t width);

// Products of two bytes to one, rounded: what is stored of ink or opacity, of 255, times a colour.
torch::Tensor divided_by_255(const torch::Tensor& products);

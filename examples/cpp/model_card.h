// What was fixed at export, of which this program reads the half that it obeys; see handler/model_card.py.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

struct Preprocessing {
  int64_t min_size, max_size;  // of the resized picture's sides, in pixels
  std::string size_rule;
  int64_t size_divisor;
  std::string resize_filter;
  bool bgr;
  double pixel_divisor;
  std::vector<double> mean, std;
};

struct Postprocessing {
  double score_threshold;
  int64_t max_detections;
  bool clip_boxes;
  std::string paste_rule;
  bool paste_inclusive;
  double mask_threshold;
  bool masks;
};

struct ModelCard {
  std::vector<std::string> class_names;  // a label is a position in it
  Preprocessing preprocessing;
  Postprocessing postprocessing;
};

// UserError: the file is not a card of this version.
ModelCard read_model_card(const std::filesystem::path& path);

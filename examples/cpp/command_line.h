// What the program is told.
#pragma once
#include <filesystem>
#include <optional>

struct CommandLine {
  std::filesystem::path model, image;
  std::optional<std::filesystem::path> out, ops;
  std::string device = "cpu";
  std::optional<int> threads;
  std::optional<double> score_threshold, mask_threshold;
  std::optional<int64_t> max_detections;
  int times = 1;
  bool help = false;
};

extern const char* const kUsage;

// UserError: an argument is wrong; the text says which.
CommandLine parse(int count, char** words);

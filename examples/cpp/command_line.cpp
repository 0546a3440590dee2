#include "command_line.h"

#include <charconv>
#include <functional>
#include <map>
#include <string_view>
#include <vector>

#include "error.h"

const char* const kUsage =
    "usage: detect MODEL.mar|model.pt IMAGE [options]\n"
    "Prints the detections of a JPEG or PNG as the server's JSON.\n"
    "  --out FILE.png          write the picture with its masks and boxes\n"
    "  --device cpu|cuda       where to compute (cpu)\n"
    "  --threads N             threads of the CPU (all cores)\n"
    "  --score-threshold T     only detections above it (that of the export)\n"
    "  --mask-threshold T      probability that makes a pixel part of an instance (that of the export)\n"
    "  --max-detections N      the best ones only (that of the export)\n"
    "  --ops LIBRARY           libmaskrcnn_ops.so, where a model.pt lies without it\n"
    "  --times N               compute N times and print the median on stderr, in milliseconds\n";

namespace {

template <typename Number>
Number number(std::string_view name, std::string_view text, Number least, Number most) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !(value >= least && value <= most))
    throw UserError(std::string(name) + " must be from " + std::to_string(least) + " to " + std::to_string(most) +
                    ", got " + std::string(text));
  return value;
}

std::string device(std::string_view text) {
  if (text != "cpu" && text != "cuda") throw UserError("--device must be cpu or cuda, got " + std::string(text));
  return std::string(text);
}

std::filesystem::path png_file(std::string_view text) {
  if (!text.ends_with(".png")) throw UserError("--out must end in .png, got " + std::string(text));
  return text;
}

using Take = std::function<void(CommandLine&, std::string_view)>;

const std::map<std::string_view, Take> kOptions{
    {"--out", [](auto& line, auto text) { line.out = png_file(text); }},
    {"--ops", [](auto& line, auto text) { line.ops = text; }},
    {"--device", [](auto& line, auto text) { line.device = device(text); }},
    {"--threads", [](auto& line, auto text) { line.threads = number("--threads", text, 1, 1024); }},
    {"--score-threshold", [](auto& line, auto text) { line.score_threshold = number("--score-threshold", text, 0., 1.); }},
    {"--mask-threshold", [](auto& line, auto text) { line.mask_threshold = number("--mask-threshold", text, 0., 1.); }},
    {"--max-detections",
     [](auto& line, auto text) { line.max_detections = number<int64_t>("--max-detections", text, 1, 1'000'000); }},
    {"--times", [](auto& line, auto text) { line.times = number("--times", text, 1, 1'000'000); }},
};

}  // namespace

CommandLine parse(int count, char** words) {
  CommandLine line;
  std::vector<std::string_view> files;
  for (int at = 1; at < count; ++at) {
    const std::string_view word = words[at];
    if (word == "--help" || word == "-h") {
      line.help = true;
      return line;
    }
    if (!word.starts_with("--")) {
      files.push_back(word);
      continue;
    }
    const auto option = kOptions.find(word);
    if (option == kOptions.end()) throw UserError("there is no option " + std::string(word) + "; see --help");
    if (++at == count) throw UserError(std::string(word) + " lacks its value; see --help");
    option->second(line, words[at]);
  }
  if (files.size() != 2) throw UserError("a model and a picture are needed: detect MODEL.mar IMAGE; see --help");
  line.model = files[0], line.image = files[1];
  return line;
}

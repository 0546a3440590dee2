// detect MODEL.mar|model.pt IMAGE: detections of one picture, without Python and without a server.
#include <ATen/Parallel.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <iostream>

#include "archive.h"
#include "command_line.h"
#include "detector.h"
#include "draw.h"
#include "error.h"
#include "picture.h"
#include "reply.h"

namespace {

Selection selection_of(const CommandLine& line, const Detector& detector) {
  Selection selection = detector.default_selection();
  selection.score_threshold = line.score_threshold.value_or(selection.score_threshold);
  selection.mask_threshold = line.mask_threshold.value_or(selection.mask_threshold);
  selection.max_detections = std::min(line.max_detections.value_or(selection.max_detections), selection.max_detections);
  return selection;
}

Detections detect(Detector& detector, const torch::Tensor& pixels, const Selection& selection, int times) {
  Detections found = detector.detect(pixels, selection);
  if (times == 1) return found;
  std::vector<double> milliseconds;
  for (int time = 0; time < times; ++time) {
    const auto begin = std::chrono::steady_clock::now();
    found = detector.detect(pixels, selection);
    milliseconds.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count());
  }
  std::nth_element(milliseconds.begin(), milliseconds.begin() + times / 2, milliseconds.end());
  std::cerr << milliseconds[static_cast<size_t>(times / 2)] << '\n';
  return found;
}

void run(const CommandLine& line) {
  const torch::Tensor pixels = read_picture(line.image);
  if (line.threads) at::set_num_threads(*line.threads);
  std::optional<Detector> detector;
  ModelFiles files;
  {
    const TemporaryFolder scratch;  // only until the model is loaded
    files = find_model(line.model, line.ops, scratch.path());
    detector.emplace(files, read_model_card(files.card), torch::Device(line.device));
  }
  const Detections found = detect(*detector, pixels, selection_of(line, *detector), line.times);
  if (line.out) write_png(draw(pixels, found), *line.out);
  std::cout << reply(found, detector->card(), files.name, files.version) << '\n';
}

}  // namespace

int main(int count, char** words) {
  setenv("THP_MEM_ALLOC_ENABLE", "1", 0);  // pages of 2 MB for large maps, a quarter of the time; see handler/memory.py
  try {
    const CommandLine line = parse(count, words);
    if (line.help)
      std::cout << kUsage;
    else
      run(line);
    return 0;
  } catch (const UserError& error) {
    std::cerr << "detect: " << error.what() << '\n';
    return 2;
  } catch (const c10::Error& error) {  // its what() is a page of stack
    std::cerr << "detect: " << error.what_without_backtrace() << '\n';
  } catch (const std::exception& error) {
    std::cerr << "detect: " << error.what() << '\n';
  }
  return 1;
}

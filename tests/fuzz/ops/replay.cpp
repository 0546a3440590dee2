// Gives each file that is named to the ops, as libFuzzer would: for machines without it, and under other sanitizers.
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

#include "call.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

void replay(const std::filesystem::path& path) {
  std::fprintf(stderr, "%s\n", path.c_str());  // before: the last name is the input that ended the process
  std::ifstream file(path, std::ios::binary);
  const std::vector<char> data{std::istreambuf_iterator<char>(file), {}};
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(data.data()), data.size());
}

}  // namespace

int main(int count, char** arguments) {
  int inputs = 0;
  for (int i = 1; i < count; ++i) {
    if (!std::filesystem::is_directory(arguments[i])) replay(arguments[i]), ++inputs;
    else
      for (const auto& each : std::filesystem::directory_iterator(arguments[i])) replay(each.path()), ++inputs;
  }
  std::printf("%d inputs\n", inputs);
  for (const auto& [op, calls] : fuzz::accepted()) std::printf("%s accepted %ld\n", op.c_str(), static_cast<long>(calls));
  return 0;
}

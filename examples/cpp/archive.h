// What a .mar holds, as files: the trace, its model card and the op libraries.
#pragma once
#include <filesystem>
#include <optional>
#include <string>

// A folder of its own in the temporary one, removed at the end.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

struct ModelFiles {
  std::filesystem::path trace, card, ops, cuda_ops;  // the last two are of the CPU and of a GPU
  std::string name, version;                         // as the archive names the model
};

// The files of a .mar, unpacked into `scratch`, or those beside a model.pt, where an unpacked .mar has them.
// `ops` takes the place of the op library that is found so. UserError: a file is missing or damaged.
ModelFiles find_model(const std::filesystem::path& model, const std::optional<std::filesystem::path>& ops,
                      const std::filesystem::path& scratch);

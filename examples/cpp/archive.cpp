#include "archive.h"

#include <zip.h>

#include <array>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>

#include "error.h"

namespace fs = std::filesystem;

namespace {

const std::string kManifest = "MAR-INF/MANIFEST.json", kTrace = "model.pt", kPackage = "model.pt2", kCard = "model_card.json";
const std::string kOps = "ops/lib/libmaskrcnn_ops.so", kCudaOps = "ops/lib/libmaskrcnn_ops_cuda.so";

using Zip = std::unique_ptr<zip_t, decltype(&zip_discard)>;
using Entry = std::unique_ptr<zip_file_t, decltype(&zip_fclose)>;

Zip open_zip(const fs::path& path) {
  int error = 0;
  Zip zip(zip_open(path.c_str(), ZIP_RDONLY, &error), zip_discard);
  if (!zip) throw UserError(path.string() + " is no .mar (a zip): export it again");
  return zip;
}

// Copies one entry to `folder`; false where the archive has none of that name.
bool unpack(zip_t* zip, const fs::path& archive, const std::string& name, const fs::path& folder) {
  const Entry entry(zip_fopen(zip, name.c_str(), 0), zip_fclose);
  if (!entry) return false;
  fs::create_directories((folder / name).parent_path());
  std::ofstream file(folder / name, std::ios::binary);
  std::array<char, 1 << 16> buffer;
  zip_int64_t count = 0;
  while ((count = zip_fread(entry.get(), buffer.data(), buffer.size())) > 0) file.write(buffer.data(), count);
  if (count < 0) throw UserError(archive.string() + ": " + name + " is damaged: copy the archive again");
  if (!file.flush()) throw UserError("no room for " + name + " in " + folder.string() + ": name another with TMPDIR");
  return true;
}

void refuse_package(const fs::path& model) {
  throw UserError(model.string() + " holds a " + kPackage + ", which only the server runs: export without --runtime aoti");
}

void unpack_model(const fs::path& archive, const fs::path& folder) {
  const Zip zip = open_zip(archive);
  if (zip_name_locate(zip.get(), kPackage.c_str(), 0) >= 0) refuse_package(archive);
  for (const auto& name : {kManifest, kTrace, kCard, kOps, kCudaOps}) unpack(zip.get(), archive, name, folder);
}

void require(const fs::path& file, const fs::path& model, const std::string& remedy) {
  if (!fs::is_regular_file(file))
    throw UserError(model.string() + " lacks " + file.filename().string() + ": " + remedy);
}

void read_manifest(const fs::path& path, ModelFiles& files) {
  const auto manifest = nlohmann::json::parse(std::ifstream(path), nullptr, false);
  if (manifest.is_discarded() || !manifest.contains("model")) return;
  files.name = manifest["model"].value("modelName", "");
  files.version = manifest["model"].value("modelVersion", "");
}

}  // namespace

TemporaryFolder::TemporaryFolder() {
  std::string pattern = (fs::temp_directory_path() / "detect-XXXXXX").string();
  if (!mkdtemp(pattern.data())) throw UserError("no folder can be made in " + fs::temp_directory_path().string());
  path_ = pattern;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;  // a destructor must not throw; what stays is only disk
  fs::remove_all(path_, ignored);
}

ModelFiles find_model(const fs::path& model, const std::optional<fs::path>& ops, const fs::path& scratch) {
  if (!fs::is_regular_file(model)) throw UserError(model.string() + " is not there: make it with `make mar`");
  const bool packed = model.extension() == ".mar";
  if (model.filename() == kPackage) refuse_package(model);
  const fs::path folder = packed ? scratch : fs::absolute(model).parent_path();
  if (packed) unpack_model(model, folder);
  ModelFiles files{packed ? folder / kTrace : model, folder / kCard, ops.value_or(folder / kOps), folder / kCudaOps,
                   model.stem().string(), ""};
  read_manifest(folder / kManifest, files);
  require(files.trace, model, "export it again");
  require(files.card, model, "give the .mar itself, or the model.pt of an unpacked one");
  require(files.ops, model, "give the .mar itself, or the library with --ops (`make ops` builds ops/lib)");
  return files;
}

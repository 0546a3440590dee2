#include "reply.h"

#include <nlohmann/json.hpp>

namespace {

using Json = nlohmann::ordered_json;

// Rounded half to even, as Python rounds.
std::vector<double> rounded(const torch::Tensor& values, int64_t decimals) {
  const torch::Tensor found = torch::round(values.to(torch::kDouble), decimals).contiguous();
  return {found.const_data_ptr<double>(), found.const_data_ptr<double>() + found.numel()};
}

}  // namespace

std::string reply(const Detections& found, const ModelCard& card, const std::string& model,
                  const std::string& version) {
  const auto scores = rounded(found.scores, 6), boxes = rounded(found.boxes, 3);
  const auto* labels = found.labels.const_data_ptr<int64_t>();
  Json detections = Json::array();
  for (size_t row = 0; row < scores.size(); ++row) {
    Json one{{"label", labels[row]}, {"class", card.class_names.at(static_cast<size_t>(labels[row]))}};
    one["score"] = scores[row];
    one["box"] = std::vector<double>(boxes.begin() + 4 * row, boxes.begin() + 4 * row + 4);
    if (!found.masks.empty())
      one["mask"] = Json{{"size", {found.picture.height, found.picture.width}}, {"counts", found.masks[row]}};
    detections.push_back(std::move(one));
  }
  const Json answer{{"model", model},
                    {"version", version},
                    {"image", {{"width", found.picture.width}, {"height", found.picture.height}}},
                    {"detections", std::move(detections)}};
  return answer.dump(-1, ' ', /*ensure_ascii=*/true);
}

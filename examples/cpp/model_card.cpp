#include "model_card.h"

#include <fstream>
#include <nlohmann/json.hpp>

#include "error.h"

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Preprocessing, min_size, max_size, size_rule, size_divisor, resize_filter, bgr,
                                   pixel_divisor, mean, std)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Postprocessing, score_threshold, max_detections, clip_boxes, paste_rule,
                                   paste_inclusive, mask_threshold, masks)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(ModelCard, class_names, preprocessing, postprocessing)

ModelCard read_model_card(const std::filesystem::path& path) {
  try {
    return nlohmann::json::parse(std::ifstream(path)).get<ModelCard>();
  } catch (const nlohmann::json::exception& error) {
    throw UserError(path.filename().string() + " is no model card of this version: export the model again");
  }
}

// Detections as the JSON that the server answers with.
#pragma once
#include <string>

#include "detector.h"

// Compact, as handler/replies/detections_json.py writes it; the schema is handler/replies/reply.schema.json.
std::string reply(const Detections& found, const ModelCard& card, const std::string& model, const std::string& version);

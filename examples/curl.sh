#!/usr/bin/env bash
# Every way to send a picture with curl; each answer is one line. Set TOKEN, and if need be URL, MODEL and IMAGE.
set -euo pipefail
URL=${URL:-http://127.0.0.1:8080} MODEL=${MODEL:-demo} IMAGE=${IMAGE:-demo/pictures/shapes_02.jpg}

ask() { curl --silent --show-error --fail-with-body -H "Authorization: Bearer ${TOKEN:-}" -w '\n' "$@"; }
base64_of() { base64 < "$1" | tr -d '\n'; }

# The file as it is. A header may hold an option: X-Detect- and the option's name.
ask "$URL/predictions/$MODEL" -T "$IMAGE"
ask "$URL/predictions/$MODEL" --data-binary "@$IMAGE" -H "Content-Type: image/jpeg" -H "X-Detect-Score-Threshold: 0.7"

# A form: the file is the field data, options are fields.
ask "$URL/predictions/$MODEL" -F "data=@$IMAGE" -F score_threshold=0.7 -F classes=circle,star

# JSON: the picture in base64, options beside it. From standard input, as a command line is too short for pictures.
printf '{"image": "%s", "score_threshold": 0.7, "masks": "none"}' "$(base64_of "$IMAGE")" |
  ask "$URL/predictions/$MODEL" -H "Content-Type: application/json" --data-binary @-

# KServe v1 and v2: several pictures, options of each or of all.
printf '{"instances": [{"b64": "%s", "max_detections": 1}], "parameters": {"masks": "none"}}' "$(base64_of "$IMAGE")" |
  ask "$URL/v1/models/$MODEL:predict" -H "Content-Type: application/json" --data-binary @-
printf '{"inputs": [{"name": "x", "datatype": "BYTES", "shape": [1], "data": ["%s"]}]}' "$(base64_of "$IMAGE")" |
  ask "$URL/v2/models/$MODEL/infer" -H "Content-Type: application/json" --data-binary @-

# With options in the address: /predictions ignores what stands there, /invocations does not.
ask "$URL/invocations?model_name=$MODEL&score_threshold=0.7" --data-binary "@$IMAGE" -H "Content-Type: image/jpeg"

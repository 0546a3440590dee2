"""Ask a served model for the detections of a picture, with requests: ``python examples/predict.py URL PICTURE``.

The inference key of TorchServe, where it wants one, is taken from the environment: TOKEN.
"""

import os
import sys
from pathlib import Path
from typing import Any

import requests
from pycocotools import mask as coco


def predict(url: str, picture: bytes, **options: str) -> Any:
    """The reply to one picture; options are headers: ``score_threshold="0.5"`` is ``X-Detect-Score-Threshold``."""
    headers = {"Content-Type": "application/octet-stream"}
    headers |= {f"X-Detect-{name.replace('_', '-').title()}": value for name, value in options.items()}
    if token := os.environ.get("TOKEN"):
        headers["Authorization"] = f"Bearer {token}"
    response = requests.post(url, data=picture, headers=headers, timeout=60)
    if not response.ok:
        sys.exit(f"HTTP {response.status_code}: {response.text}")
    return response.json()


if __name__ == "__main__":
    url, path = sys.argv[1:]
    answer = predict(url, Path(path).read_bytes(), score_threshold="0.5")
    for detection in answer["detections"]:
        line = f"{detection['class']:<12} {detection['score']:.3f} {detection['box']}"
        if "mask" in detection:  # not with masks=none, from a Faster R-CNN, or where the reply was too long for masks
            mask = coco.decode(detection["mask"])  # (height, width) uint8, 1 inside
            line += f" {int(mask.sum())} pixels"
        print(line)

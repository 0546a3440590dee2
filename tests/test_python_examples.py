"""The Python programs of examples/, run as a reader runs them, against a real TorchServe."""

import importlib.util
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from pycocotools import mask as coco

from server.tokens import headers
from server.torchserve import TorchServe
from tests.reply_schema import parsed
from tests.served import MODEL, PICTURES, ROOT, detections

SURE = {"X-Detect-Score-Threshold": "0.5"}


def run(server: TorchServe, program: str, *arguments: object) -> str:
    url = f"{server.addresses.inference_url}/predictions/{MODEL}"
    token = headers(server.home, "inference", server.addresses.management_url)["Authorization"].removeprefix("Bearer ")
    command = [sys.executable, f"examples/{program}", url, *map(str, arguments)]
    environment = os.environ | {"TOKEN": token, "NO_PROXY": "127.0.0.1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_predict(server: TorchServe) -> None:
    answer = detections(server, PICTURES[2].read_bytes(), SURE)
    printed = run(server, "predict.py", PICTURES[2]).splitlines()
    pixels = [int(coco.decode(each["mask"]).sum()) for each in answer["detections"]]
    assert [int(line.split()[-2]) for line in printed] == pixels
    assert [line.split()[0] for line in printed] == [each["class"] for each in answer["detections"]]


def test_an_error_is_shown(server: TorchServe) -> None:
    with pytest.raises(AssertionError, match="HTTP 415.*unsupported_media_type"):
        run(server, "predict.py", ROOT / "README.md")


def test_the_ap_is_that_of_the_demo(server: TorchServe) -> None:
    pictures = ROOT / "demo" / "pictures"
    printed = run(server, "evaluate_coco.py", pictures, pictures / "truth.json")
    precisions = re.findall(r"\(AP\) @\[ IoU=0.50:0.95 \| area=   all .* = ([\d.]+)", printed)
    assert [float(each) for each in precisions] == pytest.approx([0.659, 0.772], abs=0.002)  # demo/README.md


@pytest.mark.skipif(importlib.util.find_spec("supervision") is None, reason="supervision is not installed")
def test_supervision(server: TorchServe) -> None:
    assert run(server, "to_supervision.py", PICTURES[2])


def test_a_coco_list_has_what_supervision_reads(server: TorchServe) -> None:
    """Boxes as x, y, width, height; compressed run lengths, or polygons as x, y, x, y, ...; integer classes."""
    wanted = SURE | {"X-Detect-Format": "coco"}
    _, body = server.predict(MODEL, PICTURES[2].read_bytes(), wanted)
    status, outlined = server.predict(MODEL, PICTURES[2].read_bytes(), wanted | {"X-Detect-Masks": "polygon"})
    plain = detections(server, PICTURES[2].read_bytes(), SURE)
    assert status == 200
    height, width = plain["image"]["height"], plain["image"]["width"]
    for result, outline, each in zip(parsed(body), parsed(outlined), plain["detections"], strict=True):
        left, top, wide, high = result["bbox"]
        assert [left, top, left + wide, top + high] == pytest.approx(each["box"], abs=0.02)
        assert result["category_id"] == each["label"]
        assert result["segmentation"] == each["mask"]
        painted = coco.decode(coco.merge(coco.frPyObjects(outline["segmentation"], height, width)))
        assert np.array_equal(painted, coco.decode(each["mask"]))

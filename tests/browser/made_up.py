"""Answers and pictures made up for the page."""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco

WIDTH, HEIGHT = 120, 90


def picture(width: int = WIDTH, height: int = HEIGHT, colour: str = "black", kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(buffer, kind)
    return buffer.getvalue()


def rle(plane: NDArray[Any]) -> dict[str, Any]:
    encoded = coco.encode(np.asfortranarray(plane, dtype=np.uint8))
    return {"size": list(plane.shape), "counts": encoded["counts"].decode()}


def rectangle(left: int, top: int, right: int, bottom: int, width: int = WIDTH, height: int = HEIGHT) -> NDArray[Any]:
    plane = np.zeros((height, width), dtype=bool)
    plane[top:bottom, left:right] = True
    return plane


def detection(name: str, label: int, score: float, box: tuple[int, int, int, int]) -> dict[str, Any]:
    return {"label": label, "class": name, "score": score, "box": list(box), "mask": rle(rectangle(*box))}


def answer(*detections: dict[str, Any], width: int = WIDTH, height: int = HEIGHT) -> dict[str, Any]:
    return {
        "model": "shapes",
        "version": "1.0",
        "image": {"width": width, "height": height},
        "detections": list(detections),
    }


FOUR = answer(
    detection("circle", 1, 0.9, (10, 10, 40, 40)),
    detection("square", 2, 0.8, (60, 10, 100, 50)),
    detection("circle", 1, 0.6, (20, 50, 50, 80)),
    detection("square", 2, 0.2, (80, 60, 110, 85)),
)

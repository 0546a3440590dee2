"""What the fuzzers of Python start from: the cases of the tests, one file each."""

import base64
import io
import json
import pickle

import numpy as np
import torch
from PIL import Image

from tests.export.hostile import archives, pickles
from tests.fuzz.targets import MOST_BYTES
from tests.handler.picture_cases import CASES
from tests.handler.pictures import encoded, noise
from tests.handler.requests import test_reading

TEXT = base64.b64encode(b"\xff\xd8\xff\xe0 a picture").decode()
RAW, PARSED = b"\x00", b"\x40"


def pictures() -> dict[str, bytes]:
    bodies = {name: case.body() for name, case in CASES.items()}
    return {name: body for name, body in bodies.items() if len(body) <= MOST_BYTES}


def requests() -> dict[str, bytes]:
    headers = b"Accept: text/html,image/png;q=0.8\nX-Detect-Masks: polygon\nX-Detect-Classes: circle,1\n"
    form = b"=score_threshold: 0.3\n=max_detections: 3\n=format: coco\n=image_id: a\n=mask_threshold: .5\n"
    seeds = {"raw": b"\x00" + headers + b"\n\xff\xd8\xff\xe0", "form": b"\x04" + form + b"\n\xff\xd8\xff\xe0"}
    seeds |= {"explain": b"\x01\n\xff\xd8\xff", "describe": b"\x02\n", "page": b"\x00Accept: text/html\n\n"}
    bodies = {**_bodies(), **{f"v2_{name}": body for name, (body, *_) in test_reading.WRONG_V2.items()}}
    for name, body in bodies.items():
        text = json.dumps(body).encode()
        if len(text) < 5000:
            seeds |= {f"{name}_raw": RAW + b"\n\n" + text, f"{name}_parsed": PARSED + headers + b"\n" + text}
    return seeds


def _bodies() -> dict[str, object]:
    tensor = test_reading.tensor
    pixels = tensor(shape=[1, 2, 3, 3], datatype="UINT8", data=list(range(18)))
    named = tensor(name="classes", shape=[2], data=["Y2lyY2xl", "c3F1YXJl"])
    options = {"masks": "none", "score_threshold": 0.2, "format": "coco", "image_id": 7, "classes": ["circle", 2]}
    return {
        "one": {"image": TEXT, **options},
        "nested": {"image": {"b64": TEXT}, "parameters": options},
        "url": {"data": f"data:image/jpeg;base64,{TEXT}"},
        "v1": {"instances": [TEXT, {"b64": TEXT}, {"image": TEXT, "masks": "polygon"}, 5], "parameters": options},
        "v2": {"id": "x", "inputs": [tensor(parameters=options), named], "parameters": options},
        "v2_pixels": {"inputs": [pixels], "outputs": []},
    }


def checkpoints() -> dict[str, bytes]:
    seeds = {f"pickle_{name}": case for name, (case, _) in pickles.greedy().items()}
    seeds |= {f"torch_{name}": case for name, (case, _) in archives.greedy().items()}
    seeds |= {f"harmless_{name}": case for name, case in pickles.harmless().items()}
    seeds |= {f"runs_{name}": case for name, case in pickles.running("/dev/null/never").items()}
    seeds |= {f"numpy_{each}": pickle.dumps(_arrays(), each) for each in range(6)} | _saved()
    return {name: data for name, data in seeds.items() if len(data) <= 1 << 14}


def _arrays() -> dict[str, object]:
    columns = np.asfortranarray(noise(2, 3)[..., 0])
    weights = {"a": noise(2, 3), "b_momentum": np.zeros(2), "c": np.float64(2), "d": columns}
    return {"model": weights, "__author__": "x", "cfg": "MODEL: {}"}


def _saved() -> dict[str, bytes]:
    weights = {"module.a": torch.arange(6.0).reshape(2, 3).T, "module.b": torch.ones(2, dtype=torch.bfloat16)}
    seeds = {}
    for name, zipped in (("zip", True), ("legacy", False)):
        file = io.BytesIO()
        torch.save({"model": weights, "epoch": 3}, file, _use_new_zipfile_serialization=zipped)
        seeds[f"saved_{name}"] = file.getvalue()
    return seeds


def lengths() -> dict[str, bytes]:
    return {"none": b"", "one": b"52203", "long": b"oool0N1O2N3M4L", "negative": b"0`00000OO", "end": b"0P"}


def small_pictures() -> dict[str, bytes]:
    """Pictures of a few bytes, of which a mutation changes more than of a larger one."""
    tiny = Image.fromarray(noise(3, 5))
    formats = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "JPEG2000")
    return {f"tiny_{each}": encoded(tiny, each) for each in formats}


SEEDS = {
    "pictures": lambda: {**pictures(), **small_pictures()},
    "requests": requests,
    "checkpoints": checkpoints,
    "lengths": lengths,
}

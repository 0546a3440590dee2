"""Each case of the README's table of pictures: once through the decoder, once through a real TorchServe."""

import re
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from handler.canvas import Size, canvas_size, resized_size
from handler.images import BadImageError, decode_guarded, decode_image, pillow_guarded
from handler.model_card import SizeRule
from server.torchserve import TorchServe
from tests.handler.cards import sized
from tests.handler.picture_cases import CASES, Case, centres, cut_anywhere
from tests.reply_schema import error_of
from tests.served import MODEL, ROOT, detections

LIMIT = 50_000_000
READABLE = {name: case for name, case in CASES.items() if case.pixels is not None}


def readme_cases() -> list[str]:
    section = re.search(r"(?ms)^### Pictures\n(.*?)^##", Path(ROOT / "README.md").read_text())
    assert section
    rows = re.findall(r"(?m)^\| .* \| .* \| ([\w, ]+) \|$", section[1])
    return [name for row in rows[1:] for name in row.split(", ")]


def test_the_readme_names_every_case_once() -> None:
    assert sorted(readme_cases()) == sorted(CASES)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_pixels(case: Case) -> None:
    if case.pixels is None:
        with pytest.raises(BadImageError) as caught:
            decode_image(case.body(), LIMIT)
        status, code, text = case.refusal
        assert (caught.value.status, caught.value.code) == (status, code)
        assert text in caught.value.message
        return
    pixels = decode_image(case.body(), LIMIT).numpy()
    assert pixels.shape == case.pixels.shape
    if case.tolerance == 0:
        assert np.array_equal(pixels, case.pixels)
    assert np.abs(centres(pixels) - centres(case.pixels)).max() <= case.tolerance


@pytest.mark.parametrize("case", READABLE.values(), ids=READABLE.keys())
def test_a_picture_that_is_cut_off_is_whole_or_refused(case: Case) -> None:
    """Whole where only a later frame or the end mark is missing; never half."""
    data = case.body()
    whole = decode_image(data, LIMIT).numpy()
    for part in cut_anywhere(data):
        assert outcome(part, whole) in ("whole", "truncated_image"), len(part)


def outcome(data: bytes, whole: NDArray[np.uint8]) -> str:
    try:
        return "whole" if np.array_equal(decode_image(data, LIMIT).numpy(), whole) else "half"
    except BadImageError as error:
        return error.code


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_served(server: TorchServe, case: Case) -> None:
    if case.pixels is None:
        status, body = server.predict(MODEL, case.body(), dict(case.headers))
        error = error_of(body)
        assert (status, error["code"]) == case.refusal[:2]
        assert case.refusal[2] in error["message"]
        return
    height, width = case.pixels.shape[:2]
    assert detections(server, case.body(), dict(case.headers))["image"] == {"width": width, "height": height}


@pytest.mark.parametrize("rule", get_args(SizeRule))
@pytest.mark.parametrize("size", [(1, 65_500), (65_500, 1)])
def test_the_longest_pictures_have_a_canvas_in_every_framework(size: Size, rule: SizeRule) -> None:
    rules = sized(rule)
    canvas = canvas_size(*resized_size(*size, rules), rules)
    assert 32 <= min(canvas) <= max(canvas) <= 1344


JPEGS = {name: case for name, case in READABLE.items() if name.startswith(("jpeg", "exif", "mpo", "profile_jpeg"))}


@pytest.mark.parametrize("case", JPEGS.values(), ids=JPEGS.keys())
def test_fast_jpeg_keeps_the_size_and_the_way_up(case: Case) -> None:
    """Shrunk to a half as it is decoded, where the format can be."""
    assert case.pixels is not None
    with pillow_guarded(LIMIT):
        picture = decode_guarded(case.body(), LIMIT, wanted=lambda height, width: (height // 2, width // 2))
    assert (picture.height, picture.width) == case.pixels.shape[:2]
    step = picture.height // len(picture.pixels)
    shown = picture.pixels.repeat(step, axis=0).repeat(step, axis=1)
    assert np.abs(centres(shown) - centres(case.pixels)).max() <= max(case.tolerance, 12)

"""The bodies of a batch to pictures: order, threads, and what is wrong with one."""

import io
import threading
import warnings
from itertools import count

import numpy as np
import pytest
from PIL import Image

from handler import decoding
from handler.canvas import Size
from handler.decoding import Decoder
from handler.errors import RequestError
from handler.images import BadImageError, Picture, decode_image
from tests.handler.pictures import encoded, noise, png_header

LIMIT = 1_000_000


def picture_of(result: Picture | RequestError) -> Picture:
    assert isinstance(result, Picture), result
    return result


@pytest.mark.parametrize("threads", [1, 4])
def test_each_body_has_its_result_in_its_place(threads: int) -> None:
    bodies = [encoded(Image.fromarray(noise(20 + seed, 30, seed)), "PNG") for seed in range(12)]
    bodies[3] = bodies[3][:60]
    bodies[7] = png_header(5000, 5000)
    results = Decoder(LIMIT, threads).decode(bodies)
    for number, result in enumerate(results):
        if number in (3, 7):
            assert isinstance(result, RequestError)
            assert result.code == ("truncated_image" if number == 3 else "too_many_pixels")
        else:
            picture = picture_of(result)
            assert (picture.height, picture.width) == (20 + number, 30)
            assert np.array_equal(picture.pixels, noise(20 + number, 30, number))


def test_bodies_are_decoded_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    together = threading.Barrier(3, timeout=60)  # passes only if three threads are there at once
    decode = decoding.decode_guarded

    def waiting(*arguments: object) -> Picture:
        together.wait()
        return decode(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(decoding, "decode_guarded", waiting)
    body = encoded(Image.fromarray(noise()), "PNG")
    assert all(isinstance(result, Picture) for result in Decoder(LIMIT, 3).decode([body] * 3))


def test_the_process_is_left_as_it_was() -> None:
    before, filters = Image.MAX_IMAGE_PIXELS, list(warnings.filters)
    for _ in range(20):
        Decoder(1000, 4).decode([encoded(Image.fromarray(noise()), "PNG"), b"no picture", png_header(40, 40)] * 4)
    assert before == Image.MAX_IMAGE_PIXELS
    assert warnings.filters == filters


def test_no_bodies() -> None:
    assert Decoder(LIMIT, 2).decode([]) == []


@pytest.mark.parametrize("threads", [1, 2])
def test_a_picture_without_memory_is_refused_alone(monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    decode = decoding.decode_guarded

    def small(data: bytes, *others: object) -> Picture:
        if data == large:
            raise MemoryError
        return decode(data, *others)  # type: ignore[arg-type]

    body, large = (encoded(Image.fromarray(noise(seed=seed)), "PNG") for seed in (0, 1))
    monkeypatch.setattr(decoding, "decode_guarded", small)
    first, refused, last = Decoder(LIMIT, threads).decode([body, large, body])
    assert isinstance(first, Picture)
    assert isinstance(last, Picture)
    assert isinstance(refused, RequestError)
    assert (refused.code, refused.status) == ("out_of_memory", 503)


def half_tone(height: int, width: int) -> Image.Image:
    """Dark above, bright below: what is up stays visible however small it gets."""
    return Image.fromarray(np.repeat(np.linspace(0, 255, height, dtype=np.uint8)[:, None, None], width, 1).repeat(3, 2))


@pytest.mark.parametrize(("side", "shrunk"), [(800, 1), (401, 1), (400, 2), (300, 2), (100, 8), (10, 8)])
def test_fast_jpeg_shrinks_as_far_as_the_network_allows(side: int, shrunk: int) -> None:
    asked: list[Size] = []

    def wanted(height: int, width: int) -> Size:
        asked.append((height, width))
        return side, side * 5 // 4

    body = encoded(half_tone(800, 1000), "JPEG")
    picture = picture_of(Decoder(LIMIT, 1, wanted).decode([body])[0])
    assert asked == [(800, 1000)]
    assert (picture.height, picture.width) == (800, 1000)
    assert picture.pixels.shape == (800 // shrunk, 1000 // shrunk, 3)


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_fast_jpeg_follows_the_orientation(orientation: int) -> None:
    asked: list[Size] = []

    def wanted(height: int, width: int) -> Size:
        asked.append((height, width))
        return height // 2, width // 2

    exif = Image.Exif()
    exif[0x0112] = orientation
    body = encoded(half_tone(400, 640), "JPEG", exif=exif)
    picture = picture_of(Decoder(LIMIT, 1, wanted).decode([body])[0])
    whole = decode_image(body, LIMIT).numpy()
    assert asked == [whole.shape[:2]] == [(picture.height, picture.width)]
    assert picture.pixels.shape == (whole.shape[0] // 2, whole.shape[1] // 2, 3)
    assert np.abs(picture.pixels.astype(int) - whole[::2, ::2]).max() <= 4


def test_odd_sides_are_answered_in_full() -> None:
    body = encoded(half_tone(801, 1003), "JPEG")
    picture = picture_of(Decoder(LIMIT, 1, lambda *_: (200, 200)).decode([body])[0])
    assert (picture.height, picture.width) == (801, 1003)
    assert picture.pixels.shape == (201, 251, 3)


@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "TIFF", "BMP"])
def test_only_jpegs_are_shrunk(file_format: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    stream = io.BytesIO()
    half_tone(80, 120).save(stream, file_format, **({} if file_format == "BMP" else {"exif": exif}))
    picture = picture_of(Decoder(LIMIT, 1, lambda *_: (8, 8)).decode([stream.getvalue()])[0])
    assert picture.pixels.shape[:2] == (picture.height, picture.width)
    assert max(picture.pixels.shape) == 120


@pytest.mark.parametrize(
    ("shape", "code"),
    [((0, 5, 3), "empty_picture"), ((101, 100, 3), "too_many_pixels"), ((1, 65_536, 3), "too_many_pixels")],
)
def test_pixels_that_came_as_they_are_keep_the_limits_too(shape: tuple[int, int, int], code: str) -> None:
    limit = 10_000 if shape[0] > 1 else 100_000
    (refused,) = Decoder(limit, 1).decode([np.zeros(shape, dtype=np.uint8)])
    assert isinstance(refused, RequestError)
    assert refused.code == code


@pytest.mark.parametrize("threads", [1, 2])
def test_a_request_that_takes_too_long_gets_no_more_pictures(monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    clock = count(step=decoding.MOST_SECONDS + 1)
    monkeypatch.setattr(decoding, "perf_counter", lambda: next(clock))
    bodies = [encoded(Image.fromarray(noise()), "PNG")] * 8
    slow, quick = [7] * 6, [8, 9]
    results = Decoder(LIMIT, threads).decode(bodies, slow + quick)
    assert isinstance(results[0], Picture)
    refused = results[threads:6]
    assert {each.code for each in refused if isinstance(each, BadImageError)} == {"too_many_pixels"}
    assert all(isinstance(each, Picture) for each in results[6:])

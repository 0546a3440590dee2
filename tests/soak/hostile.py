"""What no client should send: damaged pictures of every format, wrong options, broken HTTP, clients that leave."""

import random
from collections.abc import Callable, Iterator

from tests.handler.picture_cases import CASES
from tests.served import MODEL
from tests.soak.cases import BOUNDARY, Case, pictures

PATH = f"/predictions/{MODEL}"
PICTURE_TYPE = {"Content-Type": "image/jpeg"}
JSON_TYPE = {"Content-Type": "application/json"}
# TorchServe answers these with 500 itself, before any worker sees them; nothing of ours could tell better.
KNOWN_EXCEPTIONS = ("claims to be a form", "claims to be a form of parts")
# Costly on purpose (65,500 pixels a side, 200 MB of text): a soak on two cores has better things to compute.
_LEFT_OUT = ("tall", "wide", "wide_jpeg", "huge_profile", "huge_text")
_BASES = tuple(name for name, case in CASES.items() if case.pixels is not None and name not in _LEFT_OUT)


def hostile(count: int, seed: int) -> list[Case]:
    """All fixed cases, and as many damaged pictures as make ``count``.

    Args:
        count: How many, the fixed ones at least.
        seed: Of the damage.
    """
    fixed = [*_refused(), *_options(), *_json(), *_http(), *_clients()]
    return [*fixed, *_damaged(max(0, count - len(fixed)), random.Random(seed))]


def _damaged(count: int, chance: random.Random) -> Iterator[Case]:
    """Each is answered as the same bytes are in process: refused, or as the picture that is still in them."""
    for number in range(count):
        base = _BASES[number % len(_BASES)]
        damage = chance.choice(_DAMAGES)
        body = damage(CASES[base].body(), chance)
        yield _picture(f"damaged {number}: {base} {damage.__name__.strip('_')}", body)


def _flipped(data: bytes, chance: random.Random) -> bytes:
    damaged = bytearray(data)
    for _ in range(chance.randint(1, 8)):
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
    return bytes(damaged)


def _cut(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(1, len(data))]


def _overwritten(data: bytes, chance: random.Random) -> bytes:
    start, length = chance.randrange(len(data)), chance.randint(1, 32)
    return data[:start] + chance.randbytes(length) + data[start + length :]


def _repeated(data: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(data))
    return data[:start] + data[start : start + chance.randint(1, 64)] * 3 + data[start:]


def _random(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randint(0, 12)] + chance.randbytes(chance.randint(1, 4000))


_DAMAGES: tuple[Callable[[bytes, random.Random], bytes], ...] = (_flipped, _cut, _overwritten, _repeated, _random)


def _picture(name: str, body: bytes, headers: dict[str, str] | None = None) -> Case:
    return Case(name, PATH, PICTURE_TYPE | (headers or {}), body, {"body": body}, hostile=True)


def _refused() -> Iterator[Case]:
    for name, case in CASES.items():
        if case.pixels is None and name not in _LEFT_OUT:
            yield _picture(f"refused: {name}", case.body())


def _options() -> Iterator[Case]:
    wrong = {
        "X-Detect-Score-Threshold": ("2", "nan", "-1", "", "0,5"),
        "X-Detect-Max-Detections": ("0", "1e9", "-3", "many"),
        "X-Detect-Classes": ("cube", "x," * 3_000, "background"),
        "X-Detect-Masks": ("all", "\xff\xfe"),
        "X-Detect-Format": ("xml",),
        "X-Detect-Image-Id": ("x" * 300,),
        "X-Detect-Anything": ("1",),
    }
    for header, values in wrong.items():
        for value in values:
            yield _picture(f"option: {header}: {value[:12]!r}", pictures()[0], {header: value})


def _json() -> Iterator[Case]:
    bodies = {
        "deep": b'{"image":' * 50_000,
        "cut": b'{"image": "',
        "not a number": b'{"image": "AAAA", "score_threshold": NaN}',
        "surrogates": b'{"inputs": [{"name": "\\ud800"}], "id": "\\ud800"}',
        "no pictures": b'{"instances": []}',
        "not base64": b'{"image": "***"}',
        "an address": b'{"image": "http://127.0.0.1:1/x.jpg"}',
        "a list": b"[1, 2, 3]",
    }
    for name, body in bodies.items():
        yield Case(f"JSON: {name}", PATH, JSON_TYPE, body, None, hostile=True, permitted=(400, 415))


def _raw(name: str, permitted: tuple[int, ...], body: bytes = b"", **changes: object) -> Case:
    given: dict[str, object] = {"path": PATH, "headers": PICTURE_TYPE} | changes
    return Case(name, body=body, fields=None, kind="error", hostile=True, permitted=permitted, **given)  # type: ignore[arg-type]


def _http() -> Iterator[Case]:
    picture = pictures()[1]
    yield _raw("HTTP: a header of 20 kB", (400, 413, 431, 0), picture, headers=PICTURE_TYPE | {"X-Long": "x" * 20_000})
    yield _raw("HTTP: 2,000 headers", (400, 413, 431, 0), picture, headers={f"X-{n}": "y" * 20 for n in range(2_000)})
    yield _raw("HTTP: an address of 20 kB", (400, 404, 414, 0), picture, path="/" + "a" * 20_000)
    yield _raw("HTTP: 40 MB are announced", (413,), picture, said_length=40_000_000)
    yield _raw("HTTP: no token", (400,), picture, token=False)
    yield _raw("HTTP: no such model", (404,), picture, path="/predictions/nothing")
    yield _raw("HTTP: no such path", (404,), picture, path="/../../etc/passwd")
    # TorchServe looks at no method, and tells the handler none: it is answered like any other.
    yield Case("HTTP: no such method", PATH, PICTURE_TYPE, picture, {"body": picture}, hostile=True, method="BREW")
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    yield _raw("claims to be a form", (400, 500), picture, headers=form)
    parts = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    yield _raw("claims to be a form of parts", (400, 500), picture, headers=parts)


def _clients() -> Iterator[Case]:
    for number in range(2, 6):
        body = pictures()[number]
        yield Case(f"client: slow {number}", PATH, PICTURE_TYPE, body, {"body": body}, manner="slowly", hostile=True)
    for number in range(6, 12):
        body = pictures()[number]
        yield _raw(f"client: leaves {number}", (), body, manner="leaves")
    for number in range(12, 14):
        yield _raw(f"client: stalls {number}", (), pictures()[number], manner="stalls")

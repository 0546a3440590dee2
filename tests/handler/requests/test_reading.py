"""Requests in every form to what they ask for; and whatever is sent, an answer can be given."""

import base64
import json
import random
from http import HTTPStatus
from typing import Any

import numpy as np
import pytest

from handler.errors import RequestError
from handler.replies.errors import error_reply
from handler.replies.reply import Reply
from handler.requests.asked import Ask, Asked
from handler.requests.incoming import Incoming, Verb
from tests.handler.requests.reading import ABOUT, PAGE, asked, reader

FILE = b"\xff\xd8\xff\xe0 a picture"
TEXT = base64.b64encode(FILE).decode()


def only(request: Asked) -> Ask:
    (ask,) = request.asks
    assert isinstance(ask, Ask), ask
    return ask


def refused(request: Asked) -> RequestError:
    (error,) = request.asks
    assert isinstance(error, RequestError)
    return error


ONE_PICTURE: dict[str, Any] = {
    "raw": {"body": FILE},
    "a form": {"data": bytearray(FILE)},
    "a form, image": {"image": FILE},
    "an empty field besides": {"data": FILE, "image": b""},
    "/invocations": {"body": FILE, "model_name": b"demo"},
    "JSON": {"body": {"image": TEXT}},
    "JSON, data": {"body": {"data": TEXT}},
    "JSON, b64": {"body": {"b64": TEXT}},
    "JSON, nested": {"body": {"image": {"b64": TEXT}}},
    "JSON as bytes": {"body": json.dumps({"image": TEXT}).encode()},
    "JSON as bytes with a mark": {"data": b"\xef\xbb\xbf\r\n " + json.dumps({"image": TEXT}).encode()},
    "a data: URL": {"body": {"image": f"data:image/jpeg;base64,{TEXT}"}},
    "a data: URL with parameters": {"body": {"image": f" DATA:image/jpeg;name=a;Base64,{TEXT}"}},
    "lines of base64": {"body": {"image": base64.encodebytes(FILE * 10).decode().replace("\n", "\r\n")}},
    "no padding": {"body": {"image": TEXT.rstrip("=")}},
    "the other alphabet": {"body": {"image": TEXT.replace("/", "_").replace("+", "-")}},
}


@pytest.mark.parametrize("fields", ONE_PICTURE.values(), ids=ONE_PICTURE.keys())
def test_one_picture(fields: dict[str, Any]) -> None:
    picture = only(asked(**fields)).picture
    assert bytes(picture) in (FILE, FILE * 10)


WRONG: dict[str, tuple[dict[str, Any], int, str, str]] = {
    "nothing": ({}, 400, "empty_body", "neither a body"),
    "empty": ({"body": b""}, 400, "empty_body", "neither a body"),
    "null": ({"body": None}, 400, "empty_body", "neither a body"),
    "text": ({"body": "hello"}, 415, "unsupported_media_type", "text"),
    "a number": ({"body": 5}, 415, "unsupported_media_type", "JSON"),
    "a list": ({"body": [1]}, 400, "bad_json", "must be an object"),
    "an empty list": ({"body": []}, 400, "bad_json", "must be an object"),
    "an empty object": ({"body": {}}, 400, "bad_json", "must have one picture"),
    "no picture": ({"body": {"masks": "none"}}, 400, "bad_json", "must have one picture"),
    "two in JSON": ({"body": {"image": TEXT, "data": TEXT}}, 400, "bad_json", "both image and data"),
    "two in a form": ({"data": FILE, "image": FILE}, 400, "several_pictures", "data and image"),
    "broken JSON": ({"body": b'{"image": "'}, 400, "bad_json", "but is none"),
    "deep JSON": ({"body": b"[" * 200_000}, 400, "bad_json", "nested too deeply"),
    "deep objects": ({"body": b'{"a":' * 100_000}, 400, "bad_json", "nested too deeply"),
    "a number of 5000 digits": ({"body": b'{"image":%b}' % (b"1" * 5000)}, 400, "bad_json", "but is none"),
    "UTF-16": ({"body": '{"image": "é"}'.encode("latin-1")}, 400, "bad_json", "UTF-8"),
    "another field": ({"photo": FILE}, 400, "bad_option", "field photo: there is no option photo"),
    "a field of bytes": ({"data": FILE, "\ud800\n": FILE}, 400, "bad_option", "there is no option"),
    "no base64": ({"body": {"image": "***"}}, 400, "bad_base64", "JSON.image is no base64"),
    "a digit too many": ({"body": {"image": "AAAAA"}}, 400, "bad_base64", "JSON.image is no base64"),
    "not ASCII": ({"body": {"image": "Ünïcode"}}, 400, "bad_base64", "JSON.image is no base64"),
    "a surrogate": ({"body": {"image": "\ud800"}}, 400, "bad_base64", "JSON.image is no base64"),
    "an empty text": ({"body": {"image": " "}}, 400, "empty_body", "empty text"),
    "an address": ({"body": {"image": "http://10.0.0.1/a.jpg"}}, 400, "bad_base64", "fetches none"),
    "a file": ({"body": {"image": "FILE:///etc/passwd"}}, 400, "bad_base64", "fetches none"),
    "a data: URL of text": ({"body": {"image": "data:,hello"}}, 400, "bad_base64", "data:...;base64"),
    "a data: URL without data": ({"body": {"image": "data:image/png;base64"}}, 400, "bad_base64", "data:...;base64"),
    "a picture of numbers": ({"body": {"image": [1, 2]}}, 400, "bad_json", "must be base64, got list"),
    "a picture of more": ({"body": {"image": {"b64": TEXT, "a": 1}}}, 400, "bad_json", "JSON.image must be base64"),
    "b64 in b64": ({"body": {"b64": {"b64": TEXT}}}, 400, "bad_json", "JSON.b64 must be base64"),
    "101 keys": (
        {"body": {"image": TEXT} | {f"a{each}": 1 for each in range(100)}},
        400,
        "bad_json",
        "at most 100 keys",
    ),
    "parameters": ({"body": {"image": TEXT, "parameters": 5}}, 400, "bad_json", "parameters must be an object"),
    "unknown in JSON": ({"body": {"image": TEXT, "mask": 5}}, 400, "bad_option", "JSON.mask: there is no option mask"),
    "instances": ({"body": {"instances": {}}}, 400, "bad_json", "instances must be a list"),
    "no instances": ({"body": {"instances": []}}, 400, "bad_count", "1 to 32 pictures, got 0"),
    "33 instances": ({"body": {"instances": [TEXT] * 33}}, 400, "bad_count", "1 to 32 pictures, got 33"),
    "an option of all": ({"body": {"instances": [TEXT], "masks": 5}}, 400, "bad_option", "JSON.masks"),
    "the page for several": ({"body": {"instances": [TEXT], "format": "html"}}, 400, "bad_option", "got html"),
    "a wrong header": ({"body": FILE, "headers": {"X-DETECT-masks": "x"}}, 400, "bad_option", "header X-Detect-Masks"),
}


@pytest.mark.parametrize(("fields", "status", "code", "said"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_said(fields: dict[str, Any], status: int, code: str, said: str) -> None:
    error = refused(asked(**fields))
    assert (error.status, error.code) == (status, code), str(error)
    assert said in str(error)
    assert error.hint
    assert len(str(error)) < 500


def test_options_come_from_everywhere_and_the_nearest_wins() -> None:
    headers = {"X-Detect-Score-Threshold": "0.2", "x-detect-max-detections": "2", "X-DETECT-CLASSES": "circle"}
    body = {"image": TEXT, "score_threshold": 0.4, "parameters": {"score_threshold": 0.3, "mask_threshold": 0.1}}
    options = only(asked(body, headers, max_detections=b" 3 ", mask_threshold=b"0.9")).options
    assert options.selection.score_threshold == 0.4
    assert options.selection.mask_threshold == 0.1
    assert options.selection.max_detections == 3
    assert options.selection.labels == {1}


def test_headers_are_utf_8_as_clients_send_them() -> None:
    error = refused(asked(FILE, {"X-Detect-Classes": "café".encode().decode("latin-1")}))
    assert "got café" in str(error)
    assert "got caf\u00e9" in str(refused(asked(FILE, {"X-Detect-Classes": "café"})))


def test_a_field_named_like_a_header_is_none() -> None:
    """TorchServe hands on the content type of each field among the headers, under the field's name."""
    headers = {"data": {"content-type": "image/jpeg"}, "Accept": "image/png", "accept": {"content-type": ""}}
    assert only(asked(None, headers, data=FILE)).options.format == "image"


def test_the_page_is_for_who_sends_no_picture() -> None:
    page = asked(b"", {"Accept": "text/html,*/*;q=0.8"})
    assert page.envelope([]) is PAGE
    assert refused(asked(b"", {"Accept": "*/*"})).code == "empty_body"
    assert only(asked(FILE, {"Accept": "text/html"})).options.format == "html"


def test_a_description_needs_no_picture() -> None:
    assert asked(verb="describe").envelope([]) is ABOUT


def test_an_explanation_is_json() -> None:
    ask = only(asked(FILE, {"accept": "image/png"}, "explain"))
    assert (ask.explain, ask.options.format) == (True, "json")
    assert refused(asked(FILE, {"x-detect-format": "image"}, "explain")).code == "bad_option"


def test_instances_of_every_kind() -> None:
    kinds = [
        TEXT,
        {"b64": TEXT},
        {"image": TEXT},
        {"image": {"b64": TEXT}},
        {"data": TEXT},
        {"image": TEXT, "masks": "none"},
    ]
    request = asked({"instances": kinds, "parameters": {"max_detections": 4}, "score_threshold": 0.5})
    asks = [each for each in request.asks if isinstance(each, Ask)]
    assert [bytes(each.picture) for each in asks] == [FILE] * 6
    assert {each.options.selection.max_detections for each in asks} == {4}
    assert [each.options.selection.masks for each in asks] == [True] * 5 + [False]
    assert [each.options.image_id for each in asks] == [0, 1, 2, 3, 4, 5]


def test_the_header_accept_does_not_reach_into_several() -> None:
    request = asked({"instances": [TEXT, {"image": TEXT, "format": "image"}]}, {"Accept": "text/html"})
    assert [each.options.format for each in request.asks if isinstance(each, Ask)] == ["json", "image"]


def test_what_is_wrong_with_one_instance_is_its_own() -> None:
    bad: list[Any] = ["***", 5, None, {}, {"image": TEXT, "mask": 1}, {"image": TEXT, "format": "html"}, [TEXT]]
    request = asked({"instances": [TEXT, *bad], "image_id": "x"})
    assert only(Asked(request.asks[:1], request.envelope)).options.image_id == "x"
    codes = [each.code for each in request.asks[1:] if isinstance(each, RequestError)]
    assert codes == ["bad_base64", "bad_json", "bad_json", "bad_json", "bad_option", "bad_option", "bad_json"]
    assert "instances[5].mask" in str(request.asks[5])


def tensor(**changes: Any) -> dict[str, Any]:
    return {"name": "x", "shape": [1], "datatype": "BYTES", "data": [TEXT]} | changes


def pixels(*shape: int) -> Any:
    return np.arange(np.prod(shape)).reshape(shape).astype(np.uint8)


def test_bytes_tensors() -> None:
    two, column = tensor(shape=[2], data=[TEXT, TEXT]), tensor(shape=[1, 1], data=[[TEXT]])
    parameters = {"masks": "none", "score_threshold": 0.2}
    request = asked({"inputs": [two, column | {"parameters": {"score_threshold": 0.6}}], "parameters": parameters})
    asks = [each for each in request.asks if isinstance(each, Ask)]
    assert [each.options.selection.score_threshold for each in asks] == [0.2, 0.2, 0.6]
    assert [each.options.image_id for each in asks] == [0, 1, 2]
    assert not any(each.options.selection.masks for each in asks)


@pytest.mark.parametrize("shape", [(4, 5, 3), (1, 4, 5, 3), (2, 4, 5, 3), (3, 3, 3, 3)])
@pytest.mark.parametrize("flat", [True, False])
def test_tensors_of_pixels(shape: tuple[int, ...], flat: bool) -> None:
    values = pixels(*shape)
    data = values.ravel().tolist() if flat else values.tolist()
    request = asked({"inputs": [tensor(shape=list(shape), datatype="UINT8", data=data)]})
    found = [each.picture for each in request.asks if isinstance(each, Ask)]
    assert np.array_equal(found, values.reshape(-1, *shape[-3:]))
    assert all(isinstance(each, np.ndarray) and each.flags.writeable for each in found)


def test_options_as_inputs_of_their_names() -> None:
    named = [
        {"name": "score_threshold", "shape": [1], "datatype": "FP32", "data": [0.5]},
        {"name": "classes", "shape": [2], "datatype": "BYTES", "data": ["Y2lyY2xl", "c3F1YXJl"]},
        {"name": "masks", "shape": [1], "datatype": "BYTES", "data": [base64.b64encode(b"none").decode()]},
    ]
    options = only(asked({"inputs": [*named, tensor()], "model_name": "demo", "id": ""})).options
    assert options.selection.score_threshold == 0.5
    assert options.selection.labels == {1, 2}
    assert options.masks == "none"


WRONG_V2: dict[str, tuple[Any, int, str]] = {
    "no list": ({"inputs": 5}, 400, "inputs must be a list"),
    "nothing": ({"inputs": []}, 400, "inputs must be a list"),
    "no tensor": ({"inputs": [5]}, 400, "inputs[0] must be an object"),
    "options only": ({"inputs": [tensor(name="masks", data=["bm9uZQ=="])]}, 400, "1 to 32 pictures"),
    "no shape": ({"inputs": [tensor(shape=None)]}, 400, "shape must be"),
    "a negative shape": ({"inputs": [tensor(shape=[-1])]}, 400, "shape must be"),
    "a shape of truth": ({"inputs": [tensor(shape=[True])]}, 400, "shape must be"),
    "a shape of fractions": ({"inputs": [tensor(shape=[1.0])]}, 400, "shape must be"),
    "no data": ({"inputs": [tensor(data=None)]}, 400, "data must be a list"),
    "no values, as of raw_input_contents": ({"inputs": [tensor(data=[])]}, 400, "must have 1 values"),
    "too many": ({"inputs": [tensor(shape=[33], data=[TEXT] * 33)]}, 400, "1 to 32 pictures, got 33"),
    "too many in rows": ({"inputs": [tensor(shape=[1, 33], data=[TEXT] * 33)]}, 400, "1 to 32 pictures, got 33"),
    "rows of none": ({"inputs": [tensor(shape=[3, 0], data=[])]}, 400, "1 to 32 pictures, got 0"),
    "an option of 10,001": ({"inputs": [tensor(name="classes", shape=[10_001], data=["YQ=="] * 10_001), tensor()]}, 400,
                            "at most 10,000 values"),
    "101 parameters": ({"inputs": [tensor()], "parameters": {f"a{each}": 1 for each in range(101)}}, 400, "100 keys"),
    "a claim": ({"inputs": [tensor(shape=[2**30, 2**30, 9, 3], datatype="UINT8")]}, 400, "1 to 32 pictures"),
    "large": ({"inputs": [tensor(shape=[2**30, 2**30, 3], datatype="UINT8")]}, 413, "the limit is 10,000"),
    "a little too large": ({"inputs": [tensor(shape=[1, 101, 100, 3], datatype="UINT8")]}, 413, "10,100 pixels"),
    "four channels": ({"inputs": [tensor(shape=[4, 4, 4], datatype="UINT8")]}, 400, "must be [h, w, 3]"),
    "two sides": ({"inputs": [tensor(shape=[4, 3], datatype="UINT8")]}, 400, "must be [h, w, 3]"),
    "an empty side": ({"inputs": [tensor(shape=[0, 4, 3], datatype="UINT8", data=[])]}, 400, "must be [h, w, 3]"),
    "none of n": ({"inputs": [tensor(shape=[0, 4, 4, 3], datatype="UINT8", data=[])]}, 400, "1 to 32 pictures"),
    "floats": ({"inputs": [tensor(shape=[1, 1, 3], datatype="FP32", data=[0.1] * 3)]}, 400, "BYTES or UINT8"),
    "fractions": ({"inputs": [tensor(shape=[1, 1, 3], datatype="UINT8", data=[0.5] * 3)]}, 400, "from 0 to 255"),
    "a value of 256": ({"inputs": [tensor(shape=[1, 1, 3], datatype="UINT8", data=[0, 1, 256])]}, 400, "0 to 255"),
    "a value of 10**99": ({"inputs": [tensor(shape=[1, 1, 3], datatype="UINT8", data=[0, 1, 10**99])]}, 400, "0 to"),
    "texts": ({"inputs": [tensor(shape=[1, 1, 3], datatype="UINT8", data=["1"] * 3)]}, 400, "from 0 to 255"),
    "badly nested": ({"inputs": [tensor(shape=[2, 1, 3], datatype="UINT8", data=[[[1, 2, 3]], [1]])]}, 400, "nested"),
    "an option of two": ({"inputs": [tensor(name="masks", shape=[2], data=["bm9uZQ==", "bm9uZQ=="]), tensor()]}, 400,
                         "masks must be one of"),
    "an unknown parameter": ({"inputs": [tensor()], "parameters": {"binary": 1}}, 400, "no option binary"),
    "a wrong id": ({"inputs": [tensor()], "id": 5}, 400, "id must be"),
    "a long id": ({"inputs": [tensor()], "id": "x" * 257}, 400, "id must be"),
    "the page": ({"inputs": [tensor()], "parameters": {"format": "html"}}, 400, "got html"),
}  # fmt: skip


@pytest.mark.parametrize(("body", "status", "said"), WRONG_V2.values(), ids=WRONG_V2.keys())
def test_what_is_wrong_with_v2_is_said_in_its_own_form(body: Any, status: int, said: str) -> None:
    request = asked(body)
    error = refused(request)
    assert error.status == status
    assert said in str(error)
    reply = request.envelope([error_reply(error)])
    answer = json.loads(reply.body)
    assert (reply.status, answer["error"]["code"]) == (status, error.code)
    assert answer["id"]
    assert answer["model_version"] == "1.0"
    assert json.loads(answer["outputs"][0]["data"][0])["error"] == answer["error"]


HOSTILE: list[Any] = [
    None, True, 0, -1, 10**300, 0.5, float("nan"), float("inf"), "", " ", "none", "html", "\ud800", "\x00", "x" * 5000,
    "nan", "1e999", "١", b"", b"\xff\xfe", b"{", b"[]", b"{}", b'{"instances":[]}', b'{"inputs":[{}]}', FILE,
    bytearray(b"none"), b"[" * 5000, [], [[]], {}, {"b64": 1}, {"image": {}}, {"image": TEXT}, TEXT, [TEXT] * 40,
    f"data:;base64,{TEXT}", {"parameters": []}, {"name": "x", "shape": [1], "datatype": "BYTES", "data": [TEXT]},
    {"name": "masks", "shape": [0], "datatype": "INT8", "data": []}, [1, 2, 3], 2**31,
]  # fmt: skip
NAMES = [
    "body", "data", "image", "b64", "instances", "inputs", "parameters", "id", "name", "shape", "datatype", "outputs",
    "score_threshold", "max_detections", "classes", "masks", "mask_threshold", "format", "image_id", "model_name",
    "accept", "Accept", "describe", "explain", "X-Detect-Masks", "x-detect-", "X-Detect-Format", "x-detect-\ud800", "",
]  # fmt: skip


def hostile(chance: random.Random, depth: int = 3) -> Any:
    if depth and chance.random() < 0.4:
        count = chance.randrange(4)
        if chance.random() < 0.5:
            return [hostile(chance, depth - 1) for _ in range(count)]
        return {chance.choice(NAMES): hostile(chance, depth - 1) for _ in range(count)}
    return chance.choice(HOSTILE)


@pytest.mark.parametrize("seed", range(6))
def test_whatever_is_sent_is_read_and_can_be_answered(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(1_500):
        fields = {chance.choice(NAMES): hostile(chance) for _ in range(chance.randrange(4))}
        headers = {chance.choice(NAMES): hostile(chance, 1) for _ in range(chance.randrange(4))}
        verb: Verb = chance.choice(["predict", "explain"])
        request = reader().read(Incoming.of(fields, headers, verb))
        assert all(isinstance(each, Ask | RequestError) for each in request.asks)
        fine = Reply(HTTPStatus.OK, b"{}")
        reply = request.envelope(
            [error_reply(each) if isinstance(each, RequestError) else fine for each in request.asks]
        )
        assert reply.body
        if reply.status != HTTPStatus.OK:
            assert json.loads(reply.body)

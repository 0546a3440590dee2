"""Each row of the README's tables of requests, against a real TorchServe."""

import base64
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from PIL import Image

from server import tokens
from server.torchserve import TorchServe
from tests.grpc_calls import called, predictions, protos
from tests.reply_schema import parsed
from tests.served import MODEL, PICTURES, ROOT

PICTURE = PICTURES[2].read_bytes()
SECTION = re.split(r"(?m)^## ", (ROOT / "README.md").read_text().split("\n## Requests\n")[1])[0]
Options = dict[str, str]


def token(server: TorchServe) -> dict[str, str]:
    return tokens.headers(server.home, "inference", server.addresses.management_url)


def post(server: TorchServe, path: str, **arguments: Any) -> requests.Response:
    headers = token(server) | arguments.pop("headers", {})
    with requests.Session() as session:
        session.trust_env = False  # no proxy for 127.0.0.1
        return session.post(server.addresses.inference_url + path, headers=headers, timeout=60, **arguments)


def answered(response: requests.Response) -> dict[str, Any]:
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = parsed(response.content)
    return answer


def text(picture: bytes) -> str:
    return base64.b64encode(picture).decode()


def in_headers(options: Options) -> Options:
    return {f"x-DETECT-{name.replace('_', '-')}": value for name, value in options.items()}


def send_file(server: TorchServe, picture: bytes, options: Options) -> dict[str, Any]:
    with requests.Session() as session:
        session.trust_env = False
        url, headers = f"{server.addresses.inference_url}/predictions/{MODEL}", token(server) | in_headers(options)
        return answered(session.put(url, picture, headers=headers, timeout=60))


def send_body(server: TorchServe, picture: bytes, options: Options) -> dict[str, Any]:
    headers = {"Content-Type": "image/jpeg"} | in_headers(options)
    return answered(post(server, f"/predictions/{MODEL}", data=picture, headers=headers))


def send_form(server: TorchServe, picture: bytes, options: Options) -> dict[str, Any]:
    return answered(post(server, f"/predictions/{MODEL}", files={"data": ("a.jpg", picture)}, data=options))


def send_json(server: TorchServe, picture: bytes, options: Options) -> dict[str, Any]:
    return answered(post(server, f"/predictions/{MODEL}", json={"image": text(picture)} | options))


def send_v1(server: TorchServe, picture: bytes, options: Options) -> dict[str, Any]:
    body = {"instances": [{"image": text(picture)}], "parameters": options}
    (answer,) = answered(post(server, f"/v1/models/{MODEL}:predict", json=body))["predictions"]
    return dict(answer)


def of_v2(server: TorchServe, tensor: dict[str, Any], options: Options) -> dict[str, Any]:
    body = {"id": "a-7", "inputs": [tensor], "parameters": options}
    answer = answered(post(server, f"/v2/models/{MODEL}/infer", json=body))
    assert (answer["id"], answer["model_name"], answer["model_version"]) == ("a-7", MODEL, "1.0")
    (output,) = answer["outputs"]
    assert (output["name"], output["datatype"], output["shape"]) == ("detections", "BYTES", [1])
    return dict(parsed(output["data"][0].encode()))


def send_v2(server: TorchServe, picture: bytes, options: Options) -> dict[str, Any]:
    return of_v2(server, {"name": "x", "datatype": "BYTES", "shape": [1], "data": [text(picture)]}, options)


def send_pixels(server: TorchServe, picture: bytes, options: Options) -> dict[str, Any]:
    with Image.open(io.BytesIO(picture)) as image:
        pixels = np.array(image.convert("RGB"))
    tensor = {"name": "x", "datatype": "UINT8", "shape": list(pixels.shape), "data": pixels.ravel().tolist()}
    return of_v2(server, tensor, options)


def send_invocations(server: TorchServe, picture: bytes, options: Options) -> dict[str, Any]:
    query, headers = {"model_name": MODEL} | options, {"Content-Type": "image/jpeg"}
    return answered(post(server, "/invocations", params=query, data=picture, headers=headers))


def model_infer(server: TorchServe, inputs: list[dict[str, Any]], request_id: str = "") -> tuple[str, list[Any]]:
    """The reply's id, and its answers."""
    request = protos("open_inference.proto")[0].ModelInferRequest(model_name=MODEL, id=request_id)
    for each in inputs:
        request.inputs.add(**each)
    reply = called(server, "open_inference.proto", "GRPCInferenceServiceStub", "ModelInfer", request)
    return reply.id, [parsed(json.loads(each).encode()) for each in reply.outputs[0].contents.bytes_contents]


def as_bytes(name: str, *values: bytes) -> dict[str, Any]:
    return {"name": name, "datatype": "BYTES", "shape": [len(values)], "contents": {"bytes_contents": values}}


def send_grpc(server: TorchServe, picture: bytes, options: Options) -> dict[str, Any]:
    return predictions(server, data=picture, **{name: value.encode() for name, value in options.items()})


def send_oip(server: TorchServe, picture: bytes, options: Options) -> dict[str, Any]:
    named = [as_bytes(name, value.encode()) for name, value in options.items()]
    request_id, (answer,) = model_infer(server, [*named, as_bytes("picture", picture)])
    assert request_id
    return dict(answer)


WAYS: dict[str, Callable[[TorchServe, bytes, Options], dict[str, Any]]] = {
    "file": send_file,
    "body": send_body,
    "form": send_form,
    "JSON": send_json,
    "KServe v1": send_v1,
    "KServe v2": send_v2,
    "KServe v2 pixels": send_pixels,
    "invocations": send_invocations,
    "gRPC": send_grpc,
    "Open Inference Protocol": send_oip,
}


def rows(header: str) -> list[list[str]]:
    table = SECTION.split(f"| {header} |")[1].split("\n\n")[0]
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in table.splitlines()[2:]]


def test_each_row_of_the_ways_has_a_test() -> None:
    assert [row[0] for row in rows("way")] == list(WAYS)


@pytest.fixture(scope="module")
def every(server: TorchServe) -> dict[str, Any]:
    """The answer where nothing is asked for."""
    return send_body(server, PICTURE, {})


@pytest.mark.parametrize("send", WAYS.values(), ids=WAYS.keys())
def test_every_way_gives_the_same_answer_to_the_same_options(server: TorchServe, every: Any, send: Any) -> None:
    options = {"score_threshold": "0.4", "classes": "circle,4", "max_detections": "3", "masks": "none"}
    found = [each for each in every["detections"] if each["score"] > 0.4 and each["class"] in ("circle", "star")][:3]
    assert len(found) == 3
    without_masks = [{name: value for name, value in each.items() if name != "mask"} for each in found]
    assert send(server, PICTURE, options) == every | {"detections": without_masks}


@pytest.mark.parametrize("send", [send_pixels, send_oip])
def test_without_options_too(server: TorchServe, every: Any, send: Any) -> None:
    assert send(server, PICTURE, {}) == every


def asked(server: TorchServe, header: str, value: str) -> requests.Response:
    response = post(server, f"/predictions/{MODEL}", data=PICTURE, headers={"Content-Type": "image/*", header: value})
    assert response.status_code == 200, response.text
    return response


def listed(server: TorchServe, header: str, value: str) -> list[dict[str, Any]]:
    return list(parsed(asked(server, header, value).content)["detections"])


def scores(server: TorchServe, header: str) -> None:
    assert {each["score"] > 0.9 for each in listed(server, header, "0.9")} == {True}


def counts(server: TorchServe, header: str) -> None:
    assert len(listed(server, header, "2")) == 2


def classes(server: TorchServe, header: str) -> None:
    assert {each["class"] for each in listed(server, header, "Circle")} == {"circle"}


def masks(server: TorchServe, header: str) -> None:
    assert all("counts" in each["mask"] for each in listed(server, header, "rle"))
    assert all("polygons" in each["mask"] for each in listed(server, header, "polygon"))
    assert not any("mask" in each for each in listed(server, header, "none"))
    png = parsed(asked(server, header, "png").content)["masks"]["png"]
    assert base64.b64decode(png).startswith(b"\x89PNG")


def mask_thresholds(server: TorchServe, header: str) -> None:
    from pycocotools import mask as coco

    def area(value: str) -> int:
        return int(sum(coco.area(each["mask"]) for each in listed(server, header, value)))

    assert area("0.1") > area("0.5") > area("0.9")


def formats(server: TorchServe, header: str) -> None:
    assert "bbox" in parsed(asked(server, header, "coco").content)[0]
    assert asked(server, header, "image").content.startswith(b"\x89PNG")
    assert "detections" in parsed(asked(server, header, "json").content)


def image_ids(server: TorchServe, header: str) -> None:
    headers = {"Content-Type": "image/*", header: "b-7", "X-Detect-Format": "coco"}
    found = parsed(post(server, f"/predictions/{MODEL}", data=PICTURE, headers=headers).content)
    assert {each["image_id"] for each in found} == {"b-7"}


OPTIONS = {
    "score_threshold": scores,
    "max_detections": counts,
    "classes": classes,
    "masks": masks,
    "mask_threshold": mask_thresholds,
    "format": formats,
    "image_id": image_ids,
}


@pytest.mark.parametrize("row", rows("option"), ids=lambda row: row[0])
def test_each_option_works_under_its_header(server: TorchServe, row: list[str]) -> None:
    name, header = row[0].strip("`"), row[3].strip("`")
    assert header == "X-Detect-" + name.replace("_", "-").title()
    OPTIONS[name](server, header)


def test_each_option_has_a_row() -> None:
    assert [row[0].strip("`") for row in rows("option")] == list(OPTIONS)


@pytest.mark.parametrize(("accept", "start"), [("image/png", b"\x89PNG"), ("image/jpeg", b"\xff\xd8"), ("a/b", b"{")])
def test_accept(server: TorchServe, accept: str, start: bytes) -> None:
    headers = {"Content-Type": "image/*", "accept": accept}
    assert post(server, f"/predictions/{MODEL}", data=PICTURE, headers=headers).content.startswith(start)


def test_several_pictures_each_get_their_own(server: TorchServe) -> None:
    options = [{"max_detections": 1}, {"format": "coco"}, {"format": "image"}, {"masks": "bad"}]
    instances = [{"image": text(path.read_bytes())} | each for path, each in zip(PICTURES, options, strict=False)]
    body = {"instances": [*instances, "AAAA", text(PICTURE)]}
    answers = answered(post(server, f"/v1/models/{MODEL}:predict", json=body))["predictions"]
    assert len(answers[0]["detections"]) == 1
    assert {each["image_id"] for each in answers[1]} == {1}
    assert base64.b64decode(answers[2]["b64"]).startswith(b"\x89PNG")
    assert answers[3]["error"]["code"] == "bad_option"
    assert answers[4]["error"]["code"] == "not_an_image"
    assert summary(answers[5]["detections"][:5]) == summary(send_body(server, PICTURE, {})["detections"][:5])


def test_none_answered_is_the_first_error(server: TorchServe) -> None:
    response = post(server, f"/v1/models/{MODEL}:predict", json={"instances": ["***", "AAAA"]})
    assert response.status_code == 400
    assert len(parsed(response.content)["predictions"]) == 2
    response = post(server, f"/v2/models/{MODEL}/infer", json={"inputs": []})
    assert response.status_code == 400
    reply = parsed(response.content)
    assert reply["error"]["code"] == "bad_tensor"
    assert reply["id"]


def test_errors_over_grpc_end_no_worker(server: TorchServe) -> None:
    workers = [each["pid"] for each in server.workers(MODEL)]
    assert predictions(server, data=PICTURE[:500])["error"]["code"] == "truncated_image"
    assert predictions(server, photo=PICTURE)["error"]["code"] == "bad_option"
    assert predictions(server)["error"]["code"] == "empty_body"
    assert "detections" in predictions(server, body=json.dumps({"image": text(PICTURE)}).encode())
    empty = {"name": "picture", "datatype": "BYTES", "shape": [1]}
    for inputs in ([], [empty], [as_bytes("picture", b"x")], [as_bytes("masks", b"x"), as_bytes("p", PICTURE)]):
        request_id, (answer,) = model_infer(server, inputs, "q-1")
        assert request_id == "q-1"
        assert set(answer["error"]) == {"code", "message", "hint"}
    _, (bad, good) = model_infer(server, [as_bytes("picture", b"x", PICTURE)])
    assert "error" in bad
    assert good["detections"]
    assert [each["pid"] for each in server.workers(MODEL)] == workers


HOSTILE: dict[str, tuple[dict[str, str], bytes]] = {
    "deep JSON": ({"Content-Type": "application/json"}, b'{"image":' * 100_000),
    "no JSON": ({"Content-Type": "application/json"}, b'{"image": "'),
    "surrogates": ({"Content-Type": "application/json"}, b'{"inputs": [{"name": "\\ud800"}], "id": "\\ud800"}'),
    "not a number": ({"Content-Type": "application/json"}, b'{"image": "AAAA", "score_threshold": NaN}'),
    "JSON without a type": ({"Content-Type": "image/jpeg"}, b'{"instances": 1e999}'),
    "a long header": ({"Content-Type": "image/jpeg", "X-Detect-Classes": "x," * 3_000}, PICTURE),
    "a header of other bytes": ({"Content-Type": "image/jpeg", "X-Detect-Masks": "\xff\xfe"}, PICTURE),
    "an unknown header": ({"Content-Type": "image/jpeg", "X-Detect-": ""}, PICTURE),
}


def test_hostile_requests_get_errors_of_their_own(server: TorchServe) -> None:
    def send(case: tuple[dict[str, str], bytes]) -> requests.Response:
        return post(server, f"/predictions/{MODEL}", headers=case[0], data=case[1])

    fine = ({"Content-Type": "image/jpeg"}, PICTURE)
    with ThreadPoolExecutor(9) as pool:
        *answers, last = pool.map(send, [*HOSTILE.values(), fine])
    assert [(answer.status_code, "error" in parsed(answer.content)) for answer in answers] == [(400, True)] * len(
        HOSTILE
    )
    assert last.status_code == 200


def test_a_description_is_asked_for_with_the_exact_header_only(server: TorchServe) -> None:
    headers = {"Content-Type": "image/*", "Describe": "True", "EXPLAIN": "True"}
    assert "detections" in answered(post(server, f"/predictions/{MODEL}", data=PICTURE, headers=headers))
    assert "class_names" in post(server, f"/predictions/{MODEL}", headers={"describe": "True"}).text


def summary(detections: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """What noise of batching does not change."""
    return [(each["label"], pytest.approx(each["score"], abs=1e-3), "mask" in each) for each in detections]


def outcome(server: TorchServe, send: Any, options: Options) -> Any:
    try:
        return summary(send(server, PICTURE, {"score_threshold": "0.3"} | options)["detections"])
    except (AssertionError, KeyError) as error:
        return type(error)


def test_options_of_one_request_touch_no_other(server: TorchServe) -> None:
    """Sent at once, so that they share batches, by several ways; each is answered as it is alone."""
    chosen: list[Options] = [{}, {"score_threshold": "0.9"}, {"max_detections": "1"}, {"classes": "nothing"}]
    alone = [outcome(server, send_json, options) for options in chosen]
    assert alone[-1] is AssertionError
    asked = [(send, options) for options in chosen for send in (send_form, send_v1, send_grpc)]
    with ThreadPoolExecutor(len(asked)) as pool:
        answers = list(pool.map(lambda each: outcome(server, *each), asked))
    for index, expected in enumerate(alone):
        if expected is AssertionError:
            assert all(isinstance(each, type) for each in answers[3 * index : 3 * index + 3])
        else:
            assert answers[3 * index : 3 * index + 3] == [expected] * 3


def environment(server: TorchServe) -> dict[str, str]:
    target = f"127.0.0.1:{server.addresses.grpc_inference}"
    bearer = token(server)["Authorization"].removeprefix("Bearer ")
    return os.environ | {"TARGET": target, "TOKEN": bearer, "URL": server.addresses.inference_url, "no_proxy": "*"}


def run(server: TorchServe, *command: str | Path) -> list[str]:
    done = subprocess.run(command, cwd=ROOT, env=environment(server), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl here")
def test_the_curl_commands(server: TorchServe) -> None:
    lines = [parsed(line.encode()) for line in run(server, ROOT / "examples" / "curl.sh")]
    file, body, form, of_json, v1, v2, invocations = lines
    assert file == parsed(v2["outputs"][0]["data"][0].encode())
    above = [each for each in file["detections"] if each["score"] > 0.7]
    assert body["detections"] == invocations["detections"] == above
    assert form["detections"] == [each for each in above if each["class"] in ("circle", "star")]
    assert of_json["detections"] == [{name: each[name] for name in each if name != "mask"} for each in above]
    assert len(v1["predictions"][0]["detections"]) == 1


def test_the_grpc_example(server: TorchServe) -> None:
    command = [sys.executable, ROOT / "examples" / "predict_grpc.py", PICTURES[2]]
    lines = run(server, *command, "score_threshold=0.7", "classes=circle")
    assert lines
    assert all(line.startswith("circle") and float(line.split()[1]) >= 0.7 for line in lines)
    failed = subprocess.run(
        [*command, "classes=cube"], cwd=ROOT, env=environment(server), capture_output=True, text=True
    )
    assert "there is no class cube" in failed.stderr


def test_the_open_inference_protocol_example(server: TorchServe) -> None:
    lines = run(server, sys.executable, ROOT / "examples" / "predict_oip.py", PICTURES[0], PICTURES[1])
    assert len(lines) == 2
    for line in lines:
        answer = json.loads(line.split(" ", 1)[1])
        assert all(each["score"] > 0.5 and "mask" not in each for each in answer["detections"])

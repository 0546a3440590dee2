"""The envelopes of KServe around the replies to pictures."""

import base64
import json
from http import HTTPStatus

from handler.errors import BadOptionError, RequestError
from handler.replies.errors import error_reply
from handler.replies.json_text import to_json
from handler.replies.kserve import Envelopes
from handler.replies.reply import Reply
from tests.reply_schema import parsed

DETECTION = {"label": 1, "class": 'é"', "score": 0.5, "box": [0, 0, 1, 1]}
ANSWER = {"model": "shapes", "version": "1.0", "image": {"width": 2, "height": 1}, "detections": [DETECTION]}
FOUND = Reply(HTTPStatus.OK, to_json(ANSWER))
PICTURE = Reply(HTTPStatus.OK, b"\x89PNG", "image/png")
BAD = error_reply(BadOptionError("wrong", "right"))
LARGE = error_reply(RequestError("too_many_pixels", "large", "small", 413))
ENVELOPES = Envelopes("shapes", "1.0", 10_000)


def test_v1_keeps_the_order() -> None:
    reply = ENVELOPES.v1([FOUND, BAD, PICTURE])
    assert (reply.status, reply.media_type) == (200, "application/json")
    found, bad, picture = parsed(reply.body)["predictions"]
    assert found == ANSWER
    assert bad == {"error": {"code": "bad_option", "message": "wrong", "hint": "right"}}
    assert picture == {"b64": base64.b64encode(b"\x89PNG").decode(), "media_type": "image/png"}


def test_the_status_is_the_first_errors_where_nothing_was_answered() -> None:
    assert ENVELOPES.v1([LARGE, BAD]).status == 413
    assert ENVELOPES.v2("a")([BAD, LARGE]).status == 400
    assert ENVELOPES.v2("a")([BAD, FOUND]).status == 200


def test_v2_holds_texts() -> None:
    answer = parsed(ENVELOPES.v2('é"7')([FOUND, BAD, PICTURE]).body)
    (output,) = answer.pop("outputs")
    assert answer == {"model_name": "shapes", "model_version": "1.0", "id": 'é"7'}
    assert (output["name"], output["datatype"], output["shape"]) == ("detections", "BYTES", [3])
    assert parsed(output["data"][0].encode()) == ANSWER
    assert parsed(output["data"][1].encode())["error"]["code"] == "bad_option"
    assert base64.b64decode(output["data"][2]) == b"\x89PNG"


def test_what_does_not_fit_is_an_error_in_its_place() -> None:
    """One reply of 30 pictures may not be 30 times as long as one of one: TorchServe would end the worker."""
    long, short = Reply(HTTPStatus.OK, b'"' + b"x" * 6_000 + b'"'), Reply(HTTPStatus.OK, b"7")
    predictions = json.loads(ENVELOPES.v1([long, long, short]).body)["predictions"]
    assert [predictions[0][:2], predictions[1]["error"]["code"], predictions[2]] == ["xx", "reply_too_long", 7]
    quotes = Reply(HTTPStatus.OK, b"[" + b'"",' * 2_500 + b"1]")  # as long again once it is a text
    reply = ENVELOPES.v2("a")([quotes])
    assert (reply.status, json.loads(reply.body)["error"]["code"]) == (413, "reply_too_long")

"""Calls of TorchServe's gRPC, by the ``.proto`` files of the examples."""

import sys
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

from server import tokens
from tests.reply_schema import parsed
from tests.served import MODEL, ROOT

if TYPE_CHECKING:
    from server.torchserve import TorchServe


@cache
def protos(name: str) -> tuple[Any, Any]:
    """The messages and the services of one file."""
    grpc = pytest.importorskip("grpc")
    sys.path.insert(0, str(ROOT / "examples"))
    try:
        return tuple(grpc.protos_and_services(name))  # type: ignore[return-value]
    finally:
        sys.path.remove(str(ROOT / "examples"))


def called(server: "TorchServe", name: str, service: str, method: str, request: Any) -> Any:
    """The reply of a method that goes well."""
    import grpc

    token = tokens.headers(server.home, "inference", server.addresses.management_url)
    metadata = [("protocol", "gRPC"), *((key.lower(), value) for key, value in token.items())]
    options = [("grpc.max_receive_message_length", -1), ("grpc.enable_http_proxy", 0)]
    with grpc.insecure_channel(f"127.0.0.1:{server.addresses.grpc_inference}", options) as channel:
        stub = getattr(protos(name)[1], service)(channel)
        return getattr(stub, method)(request, metadata=metadata, timeout=60)


def predictions(server: "TorchServe", **fields: bytes) -> dict[str, Any]:
    """The parsed answer of ``Predictions`` to the fields of one request."""
    request = protos("inference.proto")[0].PredictionsRequest(model_name=MODEL, input=fields)
    reply = called(server, "inference.proto", "InferenceAPIsServiceStub", "Predictions", request)
    return dict(parsed(reply.prediction))

"""Servers that do not hand out the file, and the ways to one that does."""

import socket

import pytest

from export.download import named, transfer
from export.download.transfer import Patience
from export.errors import ExportError
from tests.export.download.file_server import Shelf
from tests.export.download.pets import CONTENT, Publish, fetch


@pytest.mark.parametrize(
    ("status", "message", "requests"),
    [
        (404, r"404 Not Found \(it is no longer there\)", 1),
        (403, r"403 Forbidden \(it may no longer be public", 1),
        (500, "500 Internal Server Error", 3),
    ],
)
def test_says_what_the_server_answered(
    shelf: Shelf, publish: Publish, status: int, message: str, requests: int
) -> None:
    shelf.statuses = [status] * 3
    target = publish(shelf.url)
    with pytest.raises(ExportError, match=f"cannot download {shelf.url}: the server answered {message}") as caught:
        fetch()
    assert f"put it at {target}: it is checked once (sha256 beginning with" in str(caught.value)
    assert len(shelf.requests) == requests


def test_a_server_in_trouble_is_asked_again(shelf: Shelf, publish: Publish) -> None:
    shelf.statuses = [503, 503]
    publish(shelf.url)
    assert fetch().read_bytes() == CONTENT


def test_offline_says_so_at_once_and_where_to_put_the_file(publish: Publish, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(transfer.time, "sleep")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound, but nobody listens
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/model.pth"
        target = publish(url)
        with pytest.raises(ExportError) as caught:
            named.resolve("family/pets", Patience())
    assert f"cannot download {url}: 127.0.0.1 refuses connections; is this machine offline" in str(caught.value)
    assert f"fetch that file elsewhere and put it at {target}" in str(caught.value)


def test_says_that_a_name_cannot_be_looked_up(publish: Publish, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    publish("https://models.test/model.pth")
    with pytest.raises(ExportError, match=r"the name models.test cannot be looked up \(Temporary failure.* offline\?"):
        fetch()


def test_says_that_a_connection_cannot_be_trusted(shelf: Shelf, publish: Publish) -> None:
    publish(shelf.url.replace("http", "https"))
    with pytest.raises(ExportError, match="no trusted connection to 127.0.0.1: .*SSL_CERT_FILE"):
        fetch()


def test_a_silent_server_is_not_waited_for(shelf: Shelf, publish: Publish) -> None:
    shelf.held_up.clear()
    publish(shelf.url)
    with pytest.raises(ExportError, match="127.0.0.1 has not answered in time"):
        named.resolve("family/pets", Patience(timeout=0.1, waits=(0.0,)))
    shelf.held_up.set()
    assert len(shelf.requests) == 2


@pytest.mark.parametrize(
    ("content", "headers"),
    [(b"Log in first", {"Content-Type": "text/html; charset=utf-8"}), (b"\n<!DOCTYPE HTML><title>Log in", {})],
)
def test_takes_no_web_page_for_the_file(
    shelf: Shelf, publish: Publish, content: bytes, headers: dict[str, str]
) -> None:
    shelf.content, shelf.headers = content, headers
    publish(shelf.url, None)
    with pytest.raises(ExportError, match="a web page came instead of the file"):
        fetch()


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({"Content-Length": ""}, "does not say how long the file is"),
        ({"Content-Length": "long"}, "Content-Length is 'long'"),
        ({"Content-Encoding": "gzip"}, "encoded as gzip"),
    ],
)
def test_takes_no_answer_whose_end_or_form_is_unknown(
    shelf: Shelf, publish: Publish, headers: dict[str, str], message: str
) -> None:
    shelf.headers = headers
    publish(shelf.url)
    with pytest.raises(ExportError, match=message):
        fetch()


def test_follows_a_redirect(shelf: Shelf, publish: Publish) -> None:
    shelf.redirect = "/file"
    publish(shelf.url)
    assert fetch().read_bytes() == CONTENT


@pytest.mark.parametrize("address", ["ftp://127.0.0.1/file", "file:///etc/passwd", "data:,x"])
def test_follows_none_out_of_the_web(shelf: Shelf, publish: Publish, address: str) -> None:
    shelf.redirect = address
    publish(shelf.url, None)
    with pytest.raises(ExportError, match="edirect"):
        fetch()


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/file"])
def test_fetches_from_the_web_only(publish: Publish, url: str) -> None:
    publish(url, None)
    with pytest.raises(ExportError, match="is neither http nor https"):
        fetch()


def test_goes_through_the_proxy_of_the_environment(
    shelf: Shelf, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", shelf.url.partition("/models")[0])
    publish("http://models.test/model.pth")
    assert fetch().read_bytes() == CONTENT
    assert shelf.requests[0][0] == "http://models.test/model.pth"

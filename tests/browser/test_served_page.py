"""The page of a real TorchServe: through the proxy where tokens are wanted, straight where they are not."""

import io
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from server.addresses import Addresses
from server.proxy import PageProxy
from server.torchserve import TorchServe, start
from tests.browser.conftest import Tab
from tests.served import MODEL, PICTURES, ROOT, detections

OpenTab = Callable[..., Tab]


@pytest.fixture
def proxy(server: TorchServe) -> Iterator[PageProxy]:
    proxy = PageProxy(server)
    thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield proxy
    proxy.shutdown()
    thread.join()
    proxy.server_close()


@pytest.fixture
def proxied(proxy: PageProxy) -> str:
    """The page's address."""
    return f"http://127.0.0.1:{proxy.server_port}/predictions/{MODEL}"


def test_from_a_picture_to_masks(open_tab: OpenTab, proxied: str, server: TorchServe, tmp_path: Path) -> None:
    tab = open_tab(proxied)
    picture = PICTURES[2].read_bytes()
    found = detections(server, picture)["detections"]
    assert "circle, square, triangle, star" in tab.text("#known")
    tab.send("shapes.jpg", picture, "image/jpeg")
    assert tab.shown() == sum(each["score"] >= 0.5 for each in found)
    tab.set_threshold(0)
    assert tab.shown() == len(found)
    tab.set_threshold(0.9)
    assert tab.shown() == sum(each["score"] >= 0.9 for each in found)
    assert len(tab.posts) == 1
    tab.send("broken.jpg", picture[: len(picture) // 2], "image/jpeg")
    assert "The picture is damaged" in tab.text("#error")
    assert "truncated_image · HTTP 400" in tab.text("#error")


def test_what_is_copied_as_curl_gives_what_is_shown(open_tab: OpenTab, proxied: str, tmp_path: Path) -> None:
    tab = open_tab(proxied)
    name = "it's a picture.jpg"
    (tmp_path / name).write_bytes(PICTURES[2].read_bytes())
    tab.send(name, PICTURES[2].read_bytes(), "image/jpeg")
    tab.set_threshold(0.6)
    tab.page.get_by_role("checkbox", name="circle").uncheck()
    tab.page.get_by_role("button", name="Copy as curl").click()
    tab.page.get_by_role("button", name="Copied").wait_for()
    command = tab.page.evaluate("navigator.clipboard.readText()")
    run = subprocess.run(["sh", "-c", command + " -s"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert run.stdout.count('"class":') == tab.shown() > 0
    assert '"class":"circle"' not in run.stdout


def test_a_turned_photo_is_upright_and_so_are_its_boxes(open_tab: OpenTab, proxied: str) -> None:
    with Image.open(PICTURES[2]) as image:
        turned, exif, upright = image.transpose(Image.Transpose.ROTATE_90), Image.Exif(), image.size
    exif[0x0112] = 6  # shown after a quarter turn to the right
    buffer = io.BytesIO()
    turned.save(buffer, "JPEG", quality=95, exif=exif)
    tab = open_tab(proxied)
    tab.send("photo.jpg", buffer.getvalue(), "image/jpeg")
    assert tab.page.evaluate("[state.picture.width, state.picture.height]") == list(upright)
    assert tab.page.evaluate("[state.answer.image.width, state.answer.image.height]") == list(upright)
    assert tab.shown() > 3


def test_a_file_that_the_server_does_not_take(open_tab: OpenTab, proxy: PageProxy, proxied: str) -> None:
    assert proxy.max_bytes == 33_554_432  # as config.properties says; less, so that the test is quick
    proxy.max_bytes = 100_000
    tab = open_tab(proxied)
    tab.send("large.png", bytes(1_500_000))
    assert "The file is too large" in tab.text("#error")
    assert "the server takes 100,000" in tab.text("#error")


def test_a_picture_sent_as_a_form_for_html_is_shown(open_tab: OpenTab, proxied: str, server: TorchServe) -> None:
    headers = {"Accept": "text/html", "Content-Type": "image/jpeg"}
    status, page = server.predict(MODEL, PICTURES[2].read_bytes(), headers)
    assert status == 200
    answer = lambda route: route.fulfill(body=page, content_type="text/html; charset=utf-8")  # noqa: E731
    tab = open_tab(proxied, lambda each: each.route("**/predictions/**", answer))
    tab.wait()
    assert tab.shown() > 3


@pytest.mark.slow
def test_with_tokens_off_the_page_comes_straight_from_the_server(
    open_tab: OpenTab, archive: Path, tmp_path: Path
) -> None:
    config = tmp_path / "config.properties"
    text = (ROOT / "config.properties").read_text()
    text = text.replace("disable_token_authorization=false", "disable_token_authorization=true")
    config.write_text(text.replace("max_request_size=33554432", "max_request_size=100000"))
    running = start(tmp_path / "home", {MODEL: archive}, config, Addresses.free())
    try:
        running.wait_until_ready(MODEL)
        tab = open_tab(f"{running.addresses.inference_url}/predictions/{MODEL}")
        tab.send("shapes.jpg", PICTURES[2].read_bytes(), "image/jpeg")
        assert tab.shown() > 3
        tab.page.goto(f"{running.addresses.inference_url}/predictions/{MODEL}")
        tab.send("large.png", bytes(1_500_000))
        assert "too large" in tab.text("#error") or "larger than it takes" in tab.text("#error")
    finally:
        running.stop()

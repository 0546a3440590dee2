"""The page in a browser, before answers made up here: what it shows, does not send again, and can be worked with."""

import json
from contextlib import suppress
from http import HTTPStatus
from typing import Any

import numpy as np
import pytest

from handler.file_kinds import file_kind
from handler.images import Picture
from handler.replies.page import page_with_answer
from tests.browser.conftest import ADDRESS, FACTS, OpenWith, Tab
from tests.browser.made_up import FOUR, HEIGHT, WIDTH, answer, detection, picture

HOSTILE = "</script><img src=x onerror=alert(1)>"

PIXEL = """([x, y]) => {
  const canvas = document.querySelector("#canvas"), scale = canvas.width / state.answer.image.width;
  const at = [x, y].map((each) => Math.floor((each + 0.5) * scale));
  return [...canvas.getContext("2d").getImageData(...at, 1, 1).data];
}"""


@pytest.fixture
def tab(open_with: OpenWith) -> Tab:
    opened = open_with(FOUR)
    opened.send("four.png", picture())
    return opened


def pixel(tab: Tab, x: float, y: float) -> list[int]:
    tab.until("waiting === 0")
    return list(tab.page.evaluate(PIXEL, [x, y]))


def is_tinted(tab: Tab, x: float, y: float) -> bool:
    return pixel(tab, x, y)[:3] != [0, 0, 0]


def test_a_chosen_picture_is_sent_once_and_its_masks_are_drawn(tab: Tab) -> None:
    (post,) = tab.posts
    assert post.url == ADDRESS
    assert post.post_data_buffer == picture()
    assert post.headers["content-type"] == "image/png"
    assert post.headers["accept"] == "application/json"
    assert float(post.headers["x-detect-score-threshold"]) == FACTS.score_threshold
    assert tab.shown() == 3
    assert tab.text("#shown") == "3 detections"
    assert tab.text("#of") == "of 4 with a score above 0.05"
    assert [is_tinted(tab, *centre) for centre in ((25, 25), (80, 30), (35, 65), (95, 72), (5, 85))] == [
        True, True, True, False, False,
    ]  # fmt: skip


def test_slider_and_classes_change_what_is_shown_without_another_request(tab: Tab) -> None:
    counts = []
    for threshold in (0.05, 0.7, 0.85, 0.95):
        tab.set_threshold(threshold)
        counts.append((tab.shown(), tab.page.locator(".chip b").all_inner_texts()))
    assert counts == [(4, ["2", "2"]), (2, ["1", "1"]), (1, ["1", "0"]), (0, ["0", "0"])]
    assert "the best has 0.90" in tab.text("#nothing")
    tab.set_threshold(0.05)
    assert is_tinted(tab, 95, 72)
    tab.page.get_by_role("checkbox", name="square").uncheck()
    assert tab.shown() == 2
    assert not is_tinted(tab, 80, 30)
    tab.page.get_by_role("button", name="None").click()
    assert tab.shown() == 0
    assert "switched off" in tab.text("#nothing")
    tab.page.get_by_role("button", name="All").click()
    assert tab.shown() == 4
    assert len(tab.posts) == 1


def test_pointing_at_a_mask_or_a_row_marks_both(tab: Tab) -> None:
    before = pixel(tab, 80, 30)
    area = tab.page.locator("#canvas").bounding_box()
    tab.page.mouse.move(area["x"] + area["width"] * 80 / WIDTH, area["y"] + area["height"] * 30 / HEIGHT)
    tab.page.wait_for_selector("#list li.active")
    assert tab.text("#list li.active").startswith("square")
    assert "mask 1,600 px" in tab.text("#list li.active .detail")
    assert pixel(tab, 80, 30) != before
    tab.page.mouse.move(0, 0)
    tab.page.wait_for_selector("#list li.active", state="detached")
    assert pixel(tab, 80, 30) == before
    tab.page.locator("#list li").nth(1).click()
    tab.page.mouse.move(0, 0)
    assert tab.page.locator("#list li.active").count() == 1  # chosen: it stays
    tab.page.keyboard.press("Escape")
    assert tab.page.locator("#list li.active").count() == 0


def test_everything_works_by_keyboard_alone(open_with: OpenWith) -> None:
    tab = open_with(FOUR)
    keys = tab.page.keyboard
    with tab.page.expect_file_chooser() as chooser:
        keys.press("Tab")
        # The wish for the chooser goes another way to the page than keys, and this one the same way.
        assert tab.page.evaluate("document.activeElement.id") == "choose"
        keys.press("Space")  # the protocol's own Enter does not count as a user's
    chooser.value.set_files({"name": "four.png", "mimeType": "image/png", "buffer": picture()})
    tab.wait()
    order = []
    for _ in range(12):
        keys.press("Tab")
        focused = "document.activeElement.id || document.activeElement.dataset.label || document.activeElement.tagName"
        order.append(tab.page.evaluate(focused))
        outlined = "getComputedStyle(document.activeElement).outlineStyle"
        assert tab.page.evaluate(outlined) != "none"
        if order[-1] == "threshold":
            keys.press("End")
            keys.press("ArrowLeft")
            assert tab.shown() == 0
            keys.press("Home")
            assert tab.shown() == 4
    assert order[:4] == ["use-camera", "copy-json", "copy-curl", "download"]
    assert order[4:11] == ["colouring", "threshold", "all", "none", "1", "2", "list"]
    tab.page.locator("#list").focus()
    keys.press("ArrowDown")
    keys.press("ArrowDown")
    active = tab.page.locator("#list").get_attribute("aria-activedescendant")
    assert tab.text(f"#{active}").startswith("square")
    assert tab.page.locator(f"#{active}").get_attribute("aria-selected") == "true"
    keys.press("End")
    assert tab.text("#list li.active").startswith("square\n0.2")


def test_a_screen_reader_is_told(tab: Tab) -> None:
    tab.until("document.querySelector('#status').textContent.includes('3 detections shown')")
    assert tab.page.locator("#status").get_attribute("aria-live") == "polite"
    assert tab.page.get_by_role("img", name="The picture with 3 detections: 2 circle, 1 square").count() == 1
    assert tab.page.get_by_role("slider", name="Score from").count() == 1
    assert tab.page.get_by_role("listbox", name="Detections").get_by_role("option").count() == 3
    assert tab.page.get_by_role("group", name="Classes").get_by_role("checkbox").count() == 2


@pytest.mark.parametrize("how", ["paste", "drop"])
def test_a_picture_is_pasted_or_dropped(open_with: OpenWith, how: str) -> None:
    tab = open_with(FOUR)
    tab.page.evaluate(
        """([how, bytes]) => {
          const dataTransfer = new DataTransfer();
          dataTransfer.items.add(new File([Uint8Array.from(bytes)], "given.png", {type: "image/png"}));
          const options = {bubbles: true, cancelable: true};
          document.body.dispatchEvent(how === "paste"
            ? new ClipboardEvent("paste", {...options, clipboardData: dataTransfer})
            : new DragEvent("drop", {...options, dataTransfer}));
        }""",
        [how, list(picture())],
    )
    tab.wait()
    assert tab.shown() == 3
    assert tab.posts[0].post_data_buffer == picture()


def test_text_that_is_dropped_is_no_picture(open_with: OpenWith) -> None:
    tab = open_with(FOUR)
    tab.page.evaluate("dispatchEvent(new DragEvent('drop', {cancelable: true, dataTransfer: new DataTransfer()}))")
    assert "There is no picture in that" in tab.text("#error")
    assert tab.posts == []


def error(code: str, message: str, hint: str) -> bytes:
    return json.dumps({"error": {"code": code, "message": message, "hint": hint}}).encode()


def by_torchserve(code: int, message: str) -> bytes:
    return json.dumps({"code": code, "type": "SomeException", "message": message}).encode()


TEXT = file_kind(b"hello")
assert TEXT
AS_TEXT = f"{TEXT.hint}; read are PNG"  # as the handler says it to who writes a client
IN_FULL = "That is not a picture\nIt is <b>no</b> picture\nSend one\nnot_an_image · HTTP 400"
FAILURES = {
    "handler": (400, error("not_an_image", "it is <b>no</b> picture", "send one"), IN_FULL, False),
    "format": (415, error("heic", "HEIC is not read", "save it"), "Pictures of this format are not read", False),
    "text": (415, error("text", "the body is text", AS_TEXT), "The file is text\nChoose a picture; read", False),
    "not loaded": (503, error("model_not_loaded", "no file", "read the log"), "The model could not be loaded", True),
    "queue": (503, by_torchserve(503, 'Model "demo" has no worker'), "The server is busy", True),
    "memory": (507, by_torchserve(507, "CUDA out of memory"), "The server has no memory left", True),
    "died": (500, by_torchserve(500, "Worker died."), "The worker ended", True),
    "large": (413, b"", "The file is too large\nThe server does not take 1 kB", False),
    "model": (404, by_torchserve(404, "Model not found: x"), "No such model here\nModel not found: x", False),
    "token": (400, by_torchserve(400, "Token Authorization failed."), "The server wants a token", False),
    "gateway": (502, b"<html><h1>Bad Gateway</h1></html>", "The server answered with an error\nBad Gateway", True),
    "not ours": (200, b"<p>hello</p>", "The answer is none that this page can show", False),
    "list": (200, b"[]", "The answer is none that this page can show", False),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("case", FAILURES)
def test_an_error_is_told_in_words(open_with: OpenWith, case: str) -> None:
    status, body, said, again = FAILURES[case]
    tab = open_with(body, status)
    tab.send("a.png", picture())
    assert said in tab.text("#error").replace("\n\n", "\n")
    assert tab.page.locator("#error").get_attribute("role") == "alert"
    assert tab.page.get_by_role("button", name="Try again").count() == again


def test_a_server_that_is_gone_can_be_tried_again(open_with: OpenWith) -> None:
    tab = open_with(None)
    tab.send("a.png", picture())
    assert "The server does not answer" in tab.text("#error")
    tab.page.unroute("**/predictions/**")
    tab.page.route("**/predictions/**", lambda route: route.fulfill(json=FOUR))
    tab.page.get_by_role("button", name="Try again").click()
    tab.wait()
    assert tab.shown() == 3
    assert not tab.page.locator("#error").is_visible()


def test_an_empty_file_is_not_sent(open_with: OpenWith) -> None:
    tab = open_with(FOUR)
    tab.send("a.png", b"")
    assert "The file is empty" in tab.text("#error")
    assert tab.posts == []


def test_what_is_no_image_by_its_type_is_sent_as_bytes(open_with: OpenWith) -> None:
    """TorchServe would parse JSON and text; the handler is to say what is wrong."""
    tab = open_with(error("not_an_image", "no", "no"), 400)
    tab.send("a.json", b"{}", "application/json")
    assert tab.posts[0].headers["content-type"] == "application/octet-stream"


@pytest.mark.slow
def test_a_later_picture_replaces_the_one_under_way(open_with: OpenWith) -> None:
    tab = open_with(FOUR)
    held: list[Any] = []
    tab.page.route("**/predictions/**", lambda route: held.append(route), times=1)
    tab.page.set_input_files("#file", {"name": "slow.png", "mimeType": "image/png", "buffer": picture()})
    tab.until("state.request !== null")
    tab.send("second.png", picture())
    assert "second.png" in tab.text("#status")
    assert len(tab.posts) == 2
    with suppress(Exception):  # the page has let go of it; the route must be done with all the same
        held[0].abort()


def test_nothing_found_is_said(open_with: OpenWith) -> None:
    tab = open_with(answer())
    tab.send("blank.png", picture(colour="white"))
    assert tab.text("#shown") == "0 detections"
    assert tab.text("#nothing") == "Nothing was found in this picture with a score above 0.05."


def test_a_model_without_masks(open_with: OpenWith) -> None:
    boxes = [{name: value for name, value in each.items() if name != "mask"} for each in FOUR["detections"]]
    tab = open_with(answer(*boxes))
    tab.send("a.png", picture())
    assert tab.shown() == 3
    assert is_tinted(tab, 9.5, 25)  # the edge of a box
    assert not is_tinted(tab, 25, 25)
    area = tab.page.locator("#canvas").bounding_box()
    tab.page.mouse.move(area["x"] + area["width"] * 25 / WIDTH, area["y"] + area["height"] * 25 / HEIGHT)
    tab.page.wait_for_selector("#list li.active")
    assert "mask" not in tab.text("#list li.active")


def test_a_format_that_the_browser_cannot_show_has_its_answer_all_the_same(open_with: OpenWith) -> None:
    tab = open_with(FOUR)
    tab.send("a.tiff", picture(kind="TIFF"), "image/tiff")
    assert tab.shown() == 3
    assert "cannot show a picture of this format" in tab.text("#note")


def test_what_the_server_left_out_is_said(open_with: OpenWith) -> None:
    tab = open_with(FOUR | {"truncated": {"left_out": "masks", "reason": "the reply had 5,000,000 bytes"}})
    tab.send("a.png", picture())
    assert "The server left out the masks: the reply had 5,000,000 bytes." in tab.text("#note")


def test_names_are_text_and_never_html(open_with: OpenWith) -> None:
    found = answer(detection(HOSTILE, 1, 0.9, (10, 10, 40, 40)))
    tab = open_with(found)
    tab.page.on("dialog", lambda dialog: tab.errors.append(f"dialog: {dialog.message}"))
    tab.send(HOSTILE.replace("/", "") + ".png", picture())
    assert HOSTILE in tab.text("#list li")
    assert tab.page.locator("main img, main script").count() == 0


def test_a_picture_that_came_with_the_request_is_shown_at_once(open_with: OpenWith) -> None:
    pixels = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
    found = answer(detection(HOSTILE, 1, 0.9, (10, 10, 40, 40)), detection("<!--<script>", 2, 0.3, (60, 10, 100, 50)))
    page = page_with_answer(FACTS, json.dumps(found).encode(), Picture(pixels, HEIGHT, WIDTH), 0.25, 1_000_000)
    assert page.status == HTTPStatus.OK
    tab = open_with(FOUR, page=page.body)
    tab.wait()
    assert HOSTILE in tab.text("#list li")
    assert tab.page.locator("main img").count() == 0
    assert tab.posts == []
    assert tab.text("#of") == "of 2 with a score above 0.25"
    assert is_tinted(tab, 25, 25)
    tab.send("four.png", picture())
    assert tab.text("#of") == "of 4 with a score above 0.05"


def test_the_answer_is_copied_as_json(tab: Tab) -> None:
    tab.set_threshold(0.7)
    tab.page.get_by_role("button", name="Copy as JSON").click()
    tab.page.get_by_role("button", name="Copied").wait_for()
    copied = json.loads(tab.page.evaluate("navigator.clipboard.readText()"))
    assert copied == FOUR | {"detections": FOUR["detections"][:2]}


def test_the_drawn_picture_is_downloaded(tab: Tab) -> None:
    with tab.page.expect_download() as download:
        tab.page.get_by_role("button", name="Download picture").click()
    from PIL import Image

    assert download.value.suggested_filename == "four-detections.png"
    with Image.open(download.value.path()) as drawn:
        assert drawn.size == (7 * WIDTH, 7 * HEIGHT)  # enlarged by a whole factor to at most 900
        assert drawn.convert("RGB").getpixel((25 * 7, 25 * 7)) != (0, 0, 0)
        assert drawn.convert("RGB").getpixel((5 * 7, 85 * 7)) == (0, 0, 0)


def test_the_camera_takes_a_picture(open_with: OpenWith) -> None:
    tab = open_with(FOUR)
    tab.page.get_by_role("button", name="Use the camera").click()
    tab.page.locator("#shoot:not([disabled])").wait_for()
    assert tab.page.evaluate("document.activeElement.id") == "shoot"
    tab.page.keyboard.press("Enter")
    tab.wait()
    assert tab.shown() == 3
    assert tab.posts[0].post_data_buffer.startswith(b"\xff\xd8")
    assert tab.page.evaluate("camera.stream") is None  # the lamp goes out
    tab.page.get_by_role("button", name="Use the camera").click()
    tab.page.locator("#shoot:not([disabled])").wait_for()
    tab.page.keyboard.press("Escape")
    tab.until("camera.stream === null")
    assert len(tab.posts) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "said"),
    [("NotAllowedError", "The camera is not allowed"), ("NotFoundError", "There is no camera here")],
)
def test_a_camera_that_cannot_be_had_is_explained(open_with: OpenWith, name: str, said: str) -> None:
    tab = open_with(FOUR)
    raising = f"async () => {{ throw new DOMException('', '{name}'); }}"
    tab.page.evaluate(f"void (navigator.mediaDevices.getUserMedia = {raising})")
    tab.page.get_by_role("button", name="Use the camera").click()
    tab.page.locator("#camera-error").wait_for()
    assert said in tab.text("#camera-error")


@pytest.mark.slow
def test_over_plain_http_from_elsewhere_the_camera_is_explained(open_with: OpenWith) -> None:
    tab = open_with(FOUR, address="http://page.test/predictions/shapes")
    tab.page.get_by_role("button", name="Use the camera").click()
    tab.page.locator("#camera-error").wait_for()
    assert "safe addresses only" in tab.text("#camera-error")
    tab.page.keyboard.press("Escape")
    tab.send("four.png", picture())
    tab.page.get_by_role("button", name="Copy as JSON").click()  # without the clipboard's interface
    tab.page.get_by_role("button", name="Copied").wait_for()


def test_nothing_else_is_loaded_and_no_foreign_script_runs(tab: Tab) -> None:
    assert {url for url in tab.requested if not url.startswith(("data:", "blob:"))} == {ADDRESS}
    tab.page.evaluate("""() => {
      document.body.append(Object.assign(document.createElement("script"), {textContent: "window.foreign = 1"}));
      const styled = "<i id=styled style='position: fixed' onclick='window.foreign = 1'></i>";
      document.body.insertAdjacentHTML("beforeend", styled);
      document.querySelector("#styled").click();
    }""")
    assert tab.page.evaluate("window.foreign") is None
    assert tab.page.evaluate("getComputedStyle(document.querySelector('#styled')).position") == "static"
    assert tab.page.evaluate("fetch('http://example.org/').catch((error) => error.name)") == "TypeError"


@pytest.mark.parametrize("refused", [True, False])
def test_where_all_is_too_long_the_likely_ones_are_asked_for(open_with: OpenWith, refused: bool) -> None:
    tab = open_with(FOUR)
    asked: list[str] = []

    def reply(route: Any) -> None:
        asked.append(route.request.headers["x-detect-score-threshold"])
        if asked[-1] == "0.5":
            route.fulfill(json=answer(*FOUR["detections"][:3]))
        elif not refused:
            route.fulfill(json=answer() | {"truncated": {"left_out": "masks", "reason": "too long"}})
        else:
            route.fulfill(body=error("reply_too_long", "too long", "ask for less"), status=413)

    tab.page.route("**/predictions/**", reply)
    tab.send("four.png", picture())
    assert asked == ["0.05", "0.5"]
    assert tab.text("#of") == "of 3 with a score above 0.5"
    assert tab.page.locator("#threshold").get_attribute("min") == "0.5"

"""A real Chromium, and the page in it: before a server, or before answers made up by the test."""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from handler.replies.page import PageFacts, page_reply
from tests.handler.cards import CARD

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
    "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
]  # fmt: skip
ADDRESS = "http://127.0.0.1:9/predictions/shapes"  # answered by the test itself; a browser trusts this machine
PATIENCE = 30  # seconds; a busy machine is no failure
FACTS = PageFacts.of(CARD, "shapes", "1.0")

Browser = Any  # Playwright's types: the package may be missing where the tests are only collected
Page = Any


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium a file: Playwright's event loop in this thread must not stay open while others want one."""
    if CHROMIUM is None:
        if os.environ.get("REQUIRE_BROWSER") == "1":
            pytest.fail("no Chromium here; REQUIRE_BROWSER=1 wants one")
        pytest.skip("no Chromium here")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield launched
        launched.close()


@dataclass
class Tab:
    """One tab and what happened in it.

    Attributes:
        page: Playwright's.
        posts: The requests that carried a picture.
        requested: Addresses of all requests.
        errors: Exceptions of the page's script.
    """

    page: Page
    posts: list[Any] = field(default_factory=list)
    requested: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def _seen(self, request: Any) -> None:
        self.requested.append(request.url)
        if request.method == "POST":
            self.posts.append(request)

    def send(self, name: str, content: bytes, media_type: str = "image/png") -> None:
        """Choose a file, and wait for its answer or its error."""
        self.page.set_input_files("#file", {"name": name, "mimeType": media_type, "buffer": content})
        self.wait()

    def until(self, expression: str) -> None:
        """Wait for a condition; Playwright's own wait would need eval, which the page forbids."""
        end = time.monotonic() + PATIENCE
        while not self.page.evaluate(expression):
            assert time.monotonic() < end, f"never true: {expression}"
            self.page.wait_for_timeout(10)

    def wait(self) -> None:
        """Until nothing is under way and something is shown."""
        self.until("state.request === null && (state.answer !== null || !$('error').hidden)")

    def shown(self) -> int:
        """Detections in the list."""
        return int(self.page.locator("#list li").count())

    def set_threshold(self, value: float) -> None:
        self.page.locator("#threshold").fill(str(value))

    def text(self, selector: str) -> str:
        return str(self.page.locator(selector).inner_text())


@pytest.fixture
def open_tab(browser: Browser) -> Iterator[Callable[..., Tab]]:
    """Opens an address in a fresh profile; a script that raises fails the test."""
    contexts, tabs = [], []

    def open_(url: str, prepare: Callable[[Page], None] | None = None, **options: Any) -> Tab:
        contexts.append(browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options}))
        if url.startswith("http://127.0.0.1:"):  # other sites of plain http can be given nothing
            contexts[-1].grant_permissions(["camera", "clipboard-read", "clipboard-write"])
        tab = Tab(contexts[-1].new_page())
        tabs.append(tab)
        tab.page.set_default_timeout(PATIENCE * 1000)
        tab.page.on("request", tab._seen)
        tab.page.on("pageerror", lambda error: tab.errors.append(str(error)))
        if prepare:
            prepare(tab.page)
        tab.page.goto(url)
        return tab

    yield open_
    errors = [error for tab in tabs for error in tab.errors]
    for context in contexts:
        context.close()
    assert errors == []


Answer = dict[str, Any]
OpenWith = Callable[..., Tab]


@pytest.fixture
def open_with(open_tab: Callable[..., Tab]) -> OpenWith:
    """Opens the page where each picture gets the answer that the test made up, or the error, or nothing at all."""

    def open_(
        answer: Answer | bytes | None = None, status: int = 200, page: bytes | None = None, **options: Any
    ) -> Tab:
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        shown = page or page_reply(FACTS).body

        def reply(route: Any) -> None:
            if route.request.method == "GET":
                route.fulfill(body=shown, content_type="text/html; charset=utf-8")
            elif answer is None:
                route.abort()
            else:
                route.fulfill(body=body, status=status, content_type="application/json")

        address = options.pop("address", ADDRESS)
        return open_tab(address, lambda tab: tab.route("**/predictions/**", reply), **options)

    return open_

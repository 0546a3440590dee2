"""Colours, widths and motion of the page."""

import pytest

from tests.browser.conftest import OpenWith
from tests.browser.made_up import FOUR, answer, detection, picture

pytestmark = pytest.mark.slow

LUMINANCE = """(colour) => {
  const context = Object.assign(document.createElement("canvas"), {width: 1, height: 1}).getContext("2d");
  context.fillStyle = colour;
  context.fillRect(0, 0, 1, 1);
  const [r, g, b] = [...context.getImageData(0, 0, 1, 1).data].map((value) => value / 255)
    .map((value) => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}"""
# Of each element with text of its own: its colour on the first background behind it.
TEXTS = f"""() => {{
  const luminance = {LUMINANCE}, found = [];
  for (const element of document.querySelectorAll("body *")) {{
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || !element.checkVisibility() || ["SCRIPT", "STYLE", "OPTION"].includes(element.tagName)) continue;
    let behind = element;
    while (behind && getComputedStyle(behind).backgroundColor === "rgba(0, 0, 0, 0)") behind = behind.parentElement;
    const colours = [getComputedStyle(element).color, getComputedStyle(behind || document.body).backgroundColor];
    const [a, b] = colours.map(luminance);
    found.push([element.textContent.trim().slice(0, 40), (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)]);
  }}
  return found;
}}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_can_be_read(open_with: OpenWith, scheme: str) -> None:
    tab = open_with(b"", 500, color_scheme=scheme)
    tab.send("four.png", picture())  # the error
    texts = tab.page.evaluate(TEXTS)
    tab = open_with(FOUR | {"truncated": {"left_out": "masks", "reason": "too long"}}, color_scheme=scheme)
    tab.send("four.png", picture())
    tab.page.locator("#list li").first.click()
    texts += tab.page.evaluate(TEXTS)
    assert len(texts) > 30
    assert [text for text, contrast in texts if contrast < 4.5] == []
    dark = tab.page.evaluate(f"({LUMINANCE})(getComputedStyle(document.body).backgroundColor)") < 0.2
    assert dark == (scheme == "dark")


def test_names_on_colours_can_be_read_and_colours_told_apart(open_with: OpenWith) -> None:
    tab = open_with(FOUR)
    contrasts = tab.page.evaluate(f"""() => Array.from({{length: 300}}, (_, index) => {{
      const colour = paletteColour(index), [a, b] = [colour, textOn(colour)].map({LUMINANCE});
      return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    }})""")
    assert min(contrasts) >= 4.5
    colours = tab.page.evaluate("Array.from({length: 90}, (_, index) => paletteColour(index))")
    assert len(set(colours)) == 90


def test_colours_are_one_a_class_or_one_a_detection(open_with: OpenWith) -> None:
    tab = open_with(FOUR)
    tab.send("four.png", picture())

    def colours() -> set[str]:
        swatches = "[...document.querySelectorAll('#list .swatch')].map((each) => each.style.background)"
        return set(tab.page.evaluate(swatches))

    assert len(colours()) == 2
    tab.page.locator("#colouring").select_option("instance")
    assert len(colours()) == 3


def test_a_phone_needs_no_sideways_scrolling(open_with: OpenWith) -> None:
    long = detection("a_class_name_without_any_space_in_it_" * 3, 1, 0.9, (10, 10, 40, 40))
    wide = answer(long, *FOUR["detections"], width=1200, height=90)
    tab = open_with(wide, viewport={"width": 360, "height": 740}, is_mobile=True, has_touch=True)
    width = "document.documentElement.scrollWidth"
    assert tab.page.evaluate(width) == 360
    tab.send("a_file_name_that_has_no_space_in_it_either_" * 3 + ".png", picture(1200, 90))
    assert tab.page.evaluate(width) == 360
    tab.page.locator("#list li").first.tap()
    assert tab.page.locator("#list li.active").count() == 1
    assert tab.page.evaluate(width) == 360
    smallest = """Math.min(...[...document.querySelectorAll("button, .chip, select")]
      .filter((each) => each.checkVisibility()).map((each) => each.getBoundingClientRect().height))"""
    assert tab.page.evaluate(smallest) >= 24  # WCAG 2.2, target size


@pytest.mark.parametrize("motion", ["reduce", "no-preference"])
def test_motion_can_be_switched_off(open_with: OpenWith, motion: str) -> None:
    tab = open_with(FOUR, reduced_motion=motion)
    tab.page.evaluate("say('Sending', true)")
    moves = tab.page.evaluate("getComputedStyle(document.querySelector('#status'), '::before').animationName")
    assert (moves == "none") == (motion == "reduce")

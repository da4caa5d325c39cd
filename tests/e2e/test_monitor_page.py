"""The page of `ratchet monitor --html`, in headless Chromium: nothing overflows, each curve has its labels, and nobody
is asked for anything. A screenshot is kept where RATCHET_SCREENSHOTS says."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.unit.monitoring.drifted_page import drifted_page

pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Debian's chromium (apt-get install chromium)"),
]
# Words that end outside of their drawing, and cards and tables that are wider than their room.
OVERFLOWS = """() => {
  const out = (inner, outer) => inner.left < outer.left - 1 || inner.right > outer.right + 1;
  const words = [...document.querySelectorAll('svg text')].filter(
    one => out(one.getBoundingClientRect(), one.closest('svg').getBoundingClientRect()));
  const wide = [...document.querySelectorAll('.card')].filter(one => one.scrollWidth > one.clientWidth + 1);
  return [...words, ...wide].map(one => one.textContent.slice(0, 80));
}"""


@pytest.fixture(scope="module")
def page(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """Of four windows, of which the last two drifted and were answered worse."""
    file = tmp_path_factory.mktemp("page") / "monitoring.html"
    file.write_text(drifted_page("shop"))
    context = browser.new_context(viewport={"width": 1280, "height": 900}, offline=True)
    opened = context.new_page()
    asked_for: list[str] = []
    opened.on("request", lambda request: asked_for.append(request.url))
    opened.goto(file.as_uri())
    yield opened
    if folder := os.environ.get("RATCHET_SCREENSHOTS"):
        opened.screenshot(path=Path(folder) / "monitoring.png", full_page=True)
    context.close()
    assert asked_for == [file.as_uri()]


def test_everything_stands_within_1280_pixels(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280
    assert page.evaluate(OVERFLOWS) == []


def test_each_curve_has_a_line_and_labels_on_both_axes(page: Page) -> None:
    curves = page.locator("svg:has(polyline):has(text:text-is('08:04:00 UTC'))")
    assert curves.count() >= 12
    for curve in curves.all():
        assert curve.locator("text[text-anchor=end]").count() >= 2, curve.locator("title").first.text_content()
    assert page.get_by_text("not measured").count() == 0


def test_what_is_open_stands_first_and_each_finding_has_its_command(page: Page) -> None:
    expect(page.locator("h2").first).to_have_text("Open now")
    expect(page.locator("h2", has_text="Open now").locator("+ .card tr").nth(1)).to_contain_text("alarm")
    findings = page.locator("h2", has_text="Findings").locator("+ .card")
    expect(findings.locator("th").last).to_have_text("ratchet finding")
    assert findings.locator("tr .letters").count() == findings.locator("tr").count() - 1 > 3

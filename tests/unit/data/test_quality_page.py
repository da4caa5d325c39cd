"""The page of a delivery: everything that was found is on it, nothing of it is executed, and it asks nobody."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from mlratchet.models.data.quality.measures import MEASURES, ON_DEMAND
from mlratchet.models.data.quality.page import quality_page
from mlratchet.models.data.rules import AS_USUAL

from tests.unit.data.test_quality_of_fields import measured, shop

EVIL = "<script>alert(1)</script>"


class Closed(HTMLParser):
    """Raises for a tag that is closed by another."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.add(tag)
        if tag not in ("meta", "rect"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag != "rect":
            assert self.open.pop() == tag


def page() -> str:
    reference = measured(shop(1)).profile
    records = shop(2, land=lambda n, y, v: EVIL if n % 9 == 0 else v, twin=lambda n, y, v: f"code {y}")
    report = measured(records, *ON_DEMAND, reference=reference)
    return quality_page(EVIL, f"1,200 read {EVIL}", report, AS_USUAL, snapshot_id="s" * 64)


def test_everything_is_told_and_nothing_is_executed() -> None:
    text = page()
    assert "<script" not in text
    assert not re.search(r"(?:src|href)=|url\(|https?://", text)
    assert all(name in text for name in MEASURES)
    assert "feature_is_label</td><td class='error'>error" in text
    assert "new: &lt;script&gt;" in text
    assert text.count("<svg") == 6  # the names of users are too many to draw
    parser = Closed()
    parser.feed(text)
    assert parser.open == []
    assert {"svg", "rect", "table"} <= parser.seen


def test_a_delivery_that_is_the_first_has_a_page() -> None:
    text = quality_page("shop", "3 read", measured(shop(1, n=3)), AS_USUAL, snapshot_id="s")
    assert "the champion's dataset</p>" not in text
    assert "taken where a check asks for it" in text

"""What `ratchet compare` prints fits a terminal of 80 columns, whole numbers included."""

from __future__ import annotations

import io

import pytest
from mlratchet.flows.cli.compare import print_differences
from mlratchet.models.comparison.compare import Difference
from rich.console import Console


def difference(metric: str, *, reason: str = "") -> Difference:
    return Difference(
        metric=metric,
        direction="higher",
        unit="",
        n=600,
        a=0.9123,
        b=0.9456,
        a_interval=None,
        b_interval=None,
        difference=0.0333,
        difference_interval=None if reason else (-0.0123, 0.1234),
        method="",
        better="neither",
        reason=reason,
    )


@pytest.mark.parametrize("width", [80, 120])
def test_numbers_are_never_cut(width: int) -> None:
    out = io.StringIO()
    console = Console(file=out, width=width, soft_wrap=True)
    why = "no interval: the spread rests on too few rows of the rarer outcome (3.9 degrees of freedom, needs 12)"
    found = [
        ("average_precision_weighted", difference("average_precision_weighted")),
        ("origin = [red]somewhere with a very long name[/] (n=600)", difference("accuracy", reason=why)),
    ]
    print_differences(console, "metric", found)
    table, reasons = out.getvalue().split("  origin = [red]somewhere with a very long name[/] (n=600): ")
    for line in table.splitlines():
        assert len(line) <= width
    for text in ("0.9123", "0.9456", "+0.0333", "-0.0123 to +0.1234", "no interval"):
        assert text in table
    assert "…" not in table
    assert reasons.strip() == why

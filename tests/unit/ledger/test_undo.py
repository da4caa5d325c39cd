"""A rollback goes to the version under the one that serves, and a second one further back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlratchet.models.ledger.entry import LedgerEntry
from mlratchet.models.ledger.undo import standing, version_before


def ledger(words: str) -> list[LedgerEntry]:
    """`1 2 <1` : version 1, then 2 promoted, then a rollback to 1."""
    return [
        LedgerEntry(
            name="n", generation=at, action="rollback" if word.startswith("<") else "promote",
            version=int(word.lstrip("<")), work_key="", decision="", manifest="", actor="", reason="", at_s=float(at),
            previous="", token="", key_id="", signature="",
        )
        for at, word in enumerate(words.split(), 1)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "before"),
    [
        ("", None),
        ("1", None),
        ("1 2", 1),
        ("1 2 3 <2", 1),  # not 3, which was left
        ("1 2 3 <2 <1", None),
        ("1 2 3 <1", None),
        ("1 2 3 <2 4", 2),
        ("1 2 <1 3", 1),  # 2 was rolled back
        ("1 2 <1 <2", 1),  # brought back by --to
        ("1 2 3 <2 <1 <3", 1),  # what served when 3 was brought back
        ("1 2 1", 2),  # judged against 2 and promoted again
        ("1 2 1 <2", 1),
        ("1 1", None),
    ],
)
def test_where_a_rollback_goes(words: str, before: int | None) -> None:
    assert version_before(ledger(words)) == before


@given(st.lists(st.integers(1, 4), min_size=1, max_size=8))
def test_rollbacks_go_back_one_by_one_to_the_first_and_end_there(promoted: list[int]) -> None:
    words = " ".join(map(str, promoted))
    stood = standing(ledger(words))
    assert stood[-1] == promoted[-1]
    while (before := version_before(ledger(words))) is not None:
        words += f" <{before}"
        now = standing(ledger(words))
        assert now == stood[: len(now)]
        assert len(now) < len(stood)
        stood = now
    assert stood == [promoted[0]]

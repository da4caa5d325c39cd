"""Side by side: in order, bounded, and the first error ends it."""

from __future__ import annotations

import threading
import time
from itertools import count

import pytest
from mlratchet.models.ports.reading import AHEAD, side_by_side


def test_answers_come_in_the_order_of_the_items() -> None:
    def slow_first(number: int) -> int:
        time.sleep(0.02 if number == 0 else 0)
        return number * number

    assert list(side_by_side(slow_first, range(200))) == [number * number for number in range(200)]
    assert list(side_by_side(slow_first, [])) == []


def test_work_is_done_at_once() -> None:
    both = threading.Barrier(4, timeout=120)
    assert sorted(side_by_side(lambda _: both.wait(), range(4))) == [0, 1, 2, 3]


def test_no_more_is_begun_than_is_taken() -> None:
    begun: list[int] = []
    answers = side_by_side(lambda number: begun.append(number), count())  # type: ignore[func-returns-value]
    for _ in range(3):
        next(answers)
    answers.close()  # type: ignore[attr-defined]
    assert len(begun) <= AHEAD + 3


def test_the_first_error_ends_it() -> None:
    begun: list[int] = []

    def work(number: int) -> int:
        begun.append(number)
        if number == 5:
            raise ValueError("five")
        return number

    answers = []
    with pytest.raises(ValueError, match="five"):
        answers.extend(side_by_side(work, range(10_000)))
    assert len(begun) <= AHEAD + 6

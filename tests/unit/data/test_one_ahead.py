"""What is made by another thread while one is looked at is the same, in order, and ends with the first error."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from mlratchet.models.ports.reading import one_ahead


def test_items_come_in_order_and_are_made_by_another_thread() -> None:
    makers = set[int]()

    def items() -> Iterator[int | None]:
        for number in range(5):
            makers.add(threading.get_ident())
            yield number or None

    assert list(one_ahead(items())) == [None, 1, 2, 3, 4]
    assert len(makers) == 1
    assert threading.get_ident() not in makers


def test_the_next_one_is_being_made_while_one_is_looked_at() -> None:
    second = threading.Event()

    def items() -> Iterator[int]:
        yield 1
        second.set()
        yield 2

    found = one_ahead(items())
    assert next(found) == 1
    assert second.wait(120)
    assert list(found) == [2]


def test_an_error_comes_behind_the_items_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise KeyError("broken")

    found = one_ahead(items())
    assert next(found) == 1
    with pytest.raises(KeyError, match="broken"):
        next(found)


def test_who_stops_asking_closes_what_makes_them() -> None:
    closed = threading.Event()

    def items() -> Iterator[int]:
        try:
            yield from range(100)
        finally:
            closed.set()

    found = one_ahead(items())
    assert next(found) == 0
    found.close()  # type: ignore[attr-defined]  # a generator
    assert closed.is_set()

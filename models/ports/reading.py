"""Many objects at once: threads wait for the store side by side instead of one after the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")
READERS = 16  # threads
AHEAD = 4 * READERS  # items that are begun or done and not taken yet: what bounds the memory


def side_by_side(
    work: Callable[[T], R], items: Iterable[T], *, readers: int = READERS, ahead: int = AHEAD
) -> Iterator[R]:
    """`work` of each item, in the order of the items. At most `ahead` of them are begun and not taken; the first error
    ends it, and nothing more is begun."""
    rest = iter(items)
    begun: deque[Future[R]] = deque()
    pool = ThreadPoolExecutor(readers)
    try:
        begun.extend(pool.submit(work, item) for item in islice(rest, ahead))
        while begun:
            yield begun.popleft().result()
            begun.extend(pool.submit(work, item) for item in islice(rest, 1))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def one_ahead(items: Iterable[T]) -> Iterator[T]:
    """The same items: the next one is made by another thread while one is looked at. Nothing is made behind the first
    error, and nothing once nobody asks any more."""
    rest, context = iter(items), copy_context()

    def make() -> T | _End:
        return context.run(next, rest, END)

    pool = ThreadPoolExecutor(1)
    try:
        making = pool.submit(make)
        while not isinstance(one := making.result(), _End):
            making = pool.submit(make)
            yield one
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        if isinstance(rest, Generator):
            rest.close()


class _End:
    """Of the items."""


END = _End()

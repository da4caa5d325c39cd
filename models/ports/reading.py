"""Many objects at once: threads wait for the store side by side instead of one after the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")
READERS = 16  # threads
AHEAD = 4 * READERS  # items that are begun or done and not taken yet: what bounds the memory


def side_by_side(
    work: Callable[[T], R], items: Iterable[T], *, readers: int = READERS, ahead: int = AHEAD
) -> Iterator[R]:
    """`work` of each item, in the order of the items; `ahead` of them are begun or done and not taken yet. The first
    error ends it, and nothing more is begun."""
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

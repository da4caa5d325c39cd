"""Ranges of large objects that arrive in parts: what reads them holds a part at a time, never the range."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, Self, runtime_checkable

from mlratchet.models.ports.storage import ObjectStore


def _nothing() -> None:
    """To be ended."""


class RangeStream:
    """A range of an object on its way. Ended with the context, whether all of it was taken or not."""

    def __init__(self, total: int, parts: Iterable[memoryview], end: Callable[[], None] = _nothing) -> None:
        """`total`: bytes of the whole object."""
        self.total, self._parts, self._end = total, parts, end

    def __iter__(self) -> Iterator[memoryview]:
        """In order; each part is there until the next one is asked for."""
        return iter(self._parts)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()


@runtime_checkable
class StreamingStore(Protocol):
    """One bucket that can give a range as it arrives."""

    def stream(self, key: str, start: int, length: int) -> RangeStream:
        """The bytes [start, start + length) of an object, `length` at least 1. Raises as `ObjectStore.get_range`, also
        while it arrives."""
        ...


def stream_of(store: ObjectStore, key: str, start: int, length: int) -> RangeStream:
    """The same of any store."""
    if isinstance(store, StreamingStore):
        return store.stream(key, start, length)
    return whole_range(store, key, start, length)


def whole_range(store: ObjectStore, key: str, start: int, length: int) -> RangeStream:
    """The range in one part."""
    data = store.get_range(key, start, length)
    total = start + len(data) if len(data) < length else store.head(key).size_bytes
    return RangeStream(total, [memoryview(data)] if data else [])

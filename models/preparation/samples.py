"""Samples of the training rows that do not depend on their order: a row is in by the digest of its content."""

from __future__ import annotations

import hashlib
import heapq
import zlib
from collections.abc import Callable
from typing import Generic, TypeVar

Kept = TypeVar("Kept")
LEVELS = 32  # a level halves the sample


class TextSample:
    """Texts up to a budget of bytes: all of them, or those whose checksum is in the first 2**-level of all checksums.

    The level is the smallest at which the budget holds, whatever the order of rows.
    """

    def __init__(self, budget_bytes: int) -> None:
        self._budget = budget_bytes
        self._level = 0
        self._kept: list[tuple[int, str]] = []
        self._size = 0

    def add(self, text: str) -> None:
        """Take in one row's."""
        data = text.encode(errors="replace")
        mark = zlib.crc32(data)
        if mark >> (LEVELS - self._level):
            return
        self._kept.append((mark, text))
        self._size += len(data)
        while self._size > self._budget and self._level < LEVELS:
            self._level += 1
            self._kept = [one for one in self._kept if not one[0] >> (LEVELS - self._level)]
            self._size = sum(len(text.encode(errors="replace")) for _, text in self._kept)

    def texts(self) -> list[str]:
        """In an order of their own."""
        return [text for _, text in sorted(self._kept)]


class FewestDigests(Generic[Kept]):
    """What was measured of the `count` different contents whose digests are smallest."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._held: dict[int, Kept] = {}
        self._largest: list[int] = []  # a heap of negative digests

    def offer(self, content: bytes, measure: Callable[[], Kept]) -> None:
        """Measured only where the content is among them so far."""
        mark = int.from_bytes(hashlib.sha256(content).digest()[:8], "big")
        if mark in self._held or (len(self._held) == self._count and mark > -self._largest[0]):
            return
        self._held[mark] = measure()
        heapq.heappush(self._largest, -mark)
        if len(self._held) > self._count:
            del self._held[-heapq.heappop(self._largest)]

    def kept(self) -> list[Kept]:
        """In the order of digests."""
        return [self._held[mark] for mark in sorted(self._held)]

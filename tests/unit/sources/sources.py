"""Deliveries in memory, as formats read them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mlratchet.models.sources.base import Example, Format
from mlratchet.models.sources.formats import format_of
from mlratchet.models.sources.pieces import RawPiece
from mlratchet.models.sources.ranged import opening_ranges, piece_digests
from mlratchet.models.sources.record import RawObject, Reject


class Delivery:
    """Objects by key."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = dict(files)
        self.bytes_read = 0

    def objects(self) -> list[RawObject]:
        return [
            RawObject(key=k, size_bytes=len(d), sha256=hashlib.sha256(d).hexdigest(), pieces=piece_digests(d))
            for k, d in self.files.items()
        ]

    def fetch(self, item: RawObject) -> bytes:
        return self.files[item.key]

    def read_range(self, item: RawObject, start: int, length: int, sha256: str | None) -> bytes:
        data = self.files[item.key][start : start + length]
        assert sha256 is None or hashlib.sha256(data).hexdigest() == sha256
        self.bytes_read += len(data)
        return data

    def examples(self, kind: str, columns: Sequence[str] = (), **options: Any) -> tuple[list[Example], list[Reject]]:
        found = list(reader(kind, **options).read(self.objects(), self.fetch, columns=columns))
        return [o for o in found if isinstance(o, Example)], [o for o in found if isinstance(o, Reject)]

    def pieces(
        self, kind: str, columns: Sequence[str] | None = None, **options: Any
    ) -> tuple[list[RawPiece], list[Reject]]:
        opened = opening_ranges(self.read_range)
        found = list(reader(kind, **options).tables(self.objects(), opened, columns))
        return [o for o in found if isinstance(o, RawPiece)], [o for o in found if isinstance(o, Reject)]

    def rows(
        self, kind: str, columns: Sequence[str] | None = None, **options: Any
    ) -> tuple[list[dict[str, Any]], list[Reject]]:
        pieces, rejects = self.pieces(kind, columns, **options)
        return [row for piece in pieces for row in piece.table.to_pylist()], rejects


def reader(kind: str, **options: Any) -> Format:
    found = format_of(kind)
    return found(found.Options(prefix="p/", **options))


def damaged(data: bytes) -> Iterator[tuple[str, bytes]]:
    """What happens to files: cut, flipped, emptied, and other bytes under the name."""
    for share in (0.1, 0.5, 0.9, 0.99):
        yield f"cut at {share}", data[: int(len(data) * share)]
    for place in range(0, len(data), max(1, len(data) // 25)):
        yield f"flip at {place}", data[:place] + bytes([data[place] ^ 0x5A]) + data[place + 1 :]
    yield "empty", b""
    yield "a picture", b"\x89PNG\r\n\x1a\n" + bytes(200)
    yield "zeros", bytes(len(data))
    yield "text", b"hello\nworld\n"


def codes(rejects: Sequence[Reject]) -> list[tuple[str, str]]:
    return [(one.where, one.code) for one in rejects]

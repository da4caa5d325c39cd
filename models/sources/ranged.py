"""A raw object as a file that can be sought in: ranges are fetched as they are read, and each is verified.

What is verified is a piece of `PIECE_BYTES`, against the digest that the snapshot keeps of it. A small object is one
piece. Of a large one whose pieces are not recorded (its snapshot is older), the digests are made out of one reading of
the whole object, which is held against the digest of the whole.
"""

from __future__ import annotations

import hashlib
import io
from collections import OrderedDict
from collections.abc import Callable
from typing import BinaryIO, Protocol, cast, runtime_checkable

from mlratchet.models.errors import SecurityError
from mlratchet.models.ports.storage import ObjectStore
from mlratchet.models.sources.record import PIECE_BYTES, RawObject

HELD = 3  # pieces in memory of one open object
ReadRange = Callable[[RawObject, int, int, str | None], bytes]
"""(object, start, length, SHA-256 of the range or None) -> bytes."""
Open = Callable[[RawObject], BinaryIO]
"""A seekable reader of verified bytes; the caller closes it."""


def piece_digests(data: bytes) -> tuple[str, ...]:
    """SHA-256 hex of every piece of an object that has more than one; empty for a smaller one, which has a digest."""
    if len(data) <= PIECE_BYTES:
        return ()
    view = memoryview(data)
    return tuple(hashlib.sha256(view[at : at + PIECE_BYTES]).hexdigest() for at in range(0, len(data), PIECE_BYTES))


class RangedFile(io.RawIOBase):
    """One object, opened for reading. Memory: `HELD` pieces. Raises ``SecurityError`` for bytes that are not those of
    the snapshot."""

    def __init__(self, item: RawObject, read_range: ReadRange) -> None:
        self._item, self._read_range = item, read_range
        self._at = 0
        self._held: OrderedDict[int, bytes] = OrderedDict()
        self._digests: tuple[str, ...] | None = item.pieces or None
        if item.size_bytes <= PIECE_BYTES:
            self._digests = (item.sha256,)

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """Where the next read begins."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """See `io`. Raises ``ValueError`` for a place before the beginning."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._item.size_bytes}[whence]
        if base + offset < 0:
            raise ValueError(f"{self._item.key}: seek to {base + offset}, before its beginning")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: object) -> int:
        """Fill a buffer as far as the piece at hand goes; 0 at the end."""
        target = memoryview(buffer).cast("B")  # type: ignore[arg-type]  # any writable buffer, as `io` has it
        if self._at >= self._item.size_bytes or not len(target):
            return 0
        number, inside = divmod(self._at, PIECE_BYTES)
        part = self._piece(number)[inside : inside + len(target)]
        target[: len(part)] = part
        self._at += len(part)
        return len(part)

    def _piece(self, number: int) -> bytes:
        if number in self._held:
            self._held.move_to_end(number)
            return self._held[number]
        if self._digests is None:
            self._digests = self._digests_of_the_whole()
        if number >= len(self._digests):
            raise SecurityError(f"{self._item.key}: {len(self._digests)} pieces are recorded of an object with more")
        length = min(PIECE_BYTES, self._item.size_bytes - number * PIECE_BYTES)
        data = self._read_range(self._item, number * PIECE_BYTES, length, self._digests[number])
        self._held[number] = data
        while len(self._held) > HELD:
            self._held.popitem(last=False)
        return data

    def _digests_of_the_whole(self) -> tuple[str, ...]:
        item, whole, digests = self._item, hashlib.sha256(), []
        for at in range(0, item.size_bytes, PIECE_BYTES):
            data = self._read_range(item, at, min(PIECE_BYTES, item.size_bytes - at), None)
            whole.update(data)
            digests.append(hashlib.sha256(data).hexdigest())
        if whole.hexdigest() != item.sha256:
            raise SecurityError(
                f"{item.key}: got SHA-256 {whole.hexdigest()[:12]}, expected {item.sha256[:12]}; the bytes were "
                "changed or damaged"
            )
        return tuple(digests)


def opening_ranges(read_range: ReadRange) -> Open:
    """Every object as a file of which only what is read is fetched."""

    def open_object(item: RawObject) -> BinaryIO:
        return cast(BinaryIO, io.BufferedReader(RangedFile(item, read_range), buffer_size=1 << 20))

    return open_object


@runtime_checkable
class RangedFetch(Protocol):
    """A fetch that gives parts of an object, too."""

    def __call__(self, item: RawObject) -> bytes:
        """All of its bytes, verified."""
        ...

    def read_range(self, item: RawObject, start: int, length: int, sha256: str | None) -> bytes:
        """The bytes [start, start + length), held against `sha256` where there is one."""
        ...


class LentObjects:
    """Raw objects that a process with the credentials lends to a child, by their digest."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def __call__(self, item: RawObject) -> bytes:
        """See `RangedFetch`."""
        return self._store.get(f"raw/{item.sha256}", sha256=item.sha256)

    def read_range(self, item: RawObject, start: int, length: int, sha256: str | None) -> bytes:
        """See `RangedFetch`."""
        return self._store.get_range(f"raw/{item.sha256}", start, length, sha256=sha256)


def opening(fetch: Callable[[RawObject], bytes]) -> Open:
    """Every object as a file: a large one in ranges where `fetch` gives those, any other in memory."""
    whole = opening_whole(fetch)
    if not isinstance(fetch, RangedFetch):
        return whole
    ranges = opening_ranges(fetch.read_range)
    return lambda item: (ranges if item.size_bytes > PIECE_BYTES else whole)(item)


def opening_whole(fetch: Callable[[RawObject], bytes]) -> Open:
    """Every object as a file in memory."""
    return lambda item: io.BytesIO(fetch(item))

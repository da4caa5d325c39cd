"""The entries of a large index, read where they stand in its document: little of it is in memory."""

from __future__ import annotations

import json
import mmap
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Generic, TypeVar

from mlratchet.models.ports.storage import ObjectStore
from mlratchet.models.ports.temporary import folder_for

STEP = 64  # entries between two whose places are kept, of an index of some size
MOST_PLACES = 16_384  # that are kept: of a larger index there are more entries between two
_TEXT = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_LABEL = rb"(?:%s|-?[0-9][0-9.eE+-]*|\[(?:%s(?:,%s)*)?\])" % (_TEXT, _TEXT, _TEXT)
ENTRY = re.compile(rb"(%s):(\[%s,%s,%s,%s\])[,}]" % (_TEXT, _LABEL, _TEXT, _TEXT, _TEXT), re.DOTALL)
Value = TypeVar("Value")


class StoredEntries(Mapping[str, Value], Generic[Value]):
    """By id, in the order of ids. Who asks for one after the other reads on; who asks for any reads the entries between
    two places."""

    def __init__(self, document: mmap.mmap, begin: int, made: Callable[[list[object]], Value]) -> None:
        """`begin`: of the first entry. Raises ``ValueError`` for a document that is written otherwise or not in order,
        and ``TypeError`` as `made`, which makes an entry of what stands there."""
        self._document, self._begin, self._made = document, begin, made
        self._places, self._names = list[int](), list[str]()
        self._count, at, self._step = 0, begin, STEP
        while document[at : at + 1] != b"}":
            found = ENTRY.match(document, at)
            if found is None:
                raise ValueError(f"no entry at byte {at}")
            if self._count % self._step == 0:
                self._keep(found)
            self._count += 1
            at = found.end() - (found[0][-1:] == b"}")
        if document[at:] != b"}}":
            raise ValueError(f"no end at byte {at}")
        self._last: tuple[str, re.Match[bytes]] | None = None

    def _keep(self, found: re.Match[bytes]) -> None:
        name, _ = _told(found)
        if self._names and name <= self._names[-1]:
            raise ValueError(f"{name!r} stands behind {self._names[-1]!r}")
        self._places.append(found.start())
        self._names.append(name)
        if len(self._places) > MOST_PLACES:
            self._places, self._names, self._step = self._places[::2], self._names[::2], 2 * self._step

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[str]:
        for name, _ in self._from(self._begin):
            yield name

    def items(self) -> Iterator[tuple[str, Value]]:  # type: ignore[override]  # a view would hold nothing either
        """One after the other."""
        for name, found in self._from(self._begin):
            yield name, self._made(_told(found)[1])

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._find(name) is not None

    def __getitem__(self, name: str) -> Value:
        found = self._find(name)
        if found is None:
            raise KeyError(name)
        return self._made(_told(found)[1])

    def _find(self, name: str) -> re.Match[bytes] | None:
        """Where an entry stands. The last one that was looked at is held: the next is often the same or behind it."""
        block = bisect_right(self._names, name) - 1
        if block < 0:
            return None
        at = self._places[block]
        last = self._last
        if last is not None and last[0] <= name and last[1].start() >= at:
            at = last[1].start()
        for one in self._from(at):
            if one[0] >= name:
                self._last = one
                return one[1] if one[0] == name else None
        return None

    def _from(self, at: int) -> Iterator[tuple[str, re.Match[bytes]]]:
        while (found := ENTRY.match(self._document, at)) is not None:
            yield json.loads(found[1]), found
            at = found.end()


def _told(found: re.Match[bytes]) -> tuple[str, list[object]]:
    return json.loads(found[1]), json.loads(found[2])


def downloaded(store: ObjectStore, key: str, sha256: str) -> mmap.mmap:
    """An object that nobody holds, as its file; what is mapped is gone with its last use.

    Raises ``ObjectNotFound`` and ``DigestMismatch``.
    """
    with folder_for("index") as folder:
        file = Path(folder, "index")
        store.download_file(key, file, sha256=sha256)
        with file.open("rb") as source:
            return mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ)

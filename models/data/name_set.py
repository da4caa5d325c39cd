"""Which names are among very many: 8 bytes are kept of each."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable

import numpy as np

Digests = np.ndarray[tuple[int], np.dtype[np.uint64]]


class NameSet:
    """Digests of names. Of 10 million, one in a million such sets takes a name for one of them that is none."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._digests = _unique(array("Q", map(_digest, names)))

    def __len__(self) -> int:
        return len(self._digests)

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, str) or not len(self._digests):
            return False
        sought = np.uint64(_digest(name))
        place = int(self._digests.searchsorted(sought))
        return place < len(self._digests) and bool(self._digests[place] == sought)

    def __sub__(self, other: NameSet) -> NameSet:
        return _of(np.setdiff1d(self._digests, other._digests, assume_unique=True))

    def __and__(self, other: NameSet) -> NameSet:
        return _of(np.intersect1d(self._digests, other._digests, assume_unique=True))


def pair_of_sets(pairs: Iterable[tuple[str, str]]) -> tuple[NameSet, NameSet]:
    """Of the first names and of the second ones."""
    first, second = array("Q"), array("Q")
    for one, other in pairs:
        first.append(_digest(one))
        second.append(_digest(other))
    return _of(_unique(first)), _of(_unique(second))


def _unique(digests: array[int]) -> Digests:
    return np.unique(np.frombuffer(digests, np.uint64))


def _of(digests: Digests) -> NameSet:
    made = NameSet()
    made._digests = digests
    return made


def _digest(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(errors="surrogatepass"), digest_size=8).digest())

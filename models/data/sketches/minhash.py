"""MinHash of texts and sequences (Broder, 1997): how alike two sets of shingles are, from a few bytes of each.

Shape legend: N texts, H hashes of a sketch, L shingles of all texts together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

HASHES = 64  # of a sketch, a byte each: the similarity is known to +-0.05 (one standard deviation)
ROWS = 4  # hashes of a band: two texts of similarity 0.8 share one of the 16 bands with a chance of 0.9998
_BYTE = 2.0**-8  # chance that two different hashes have the same byte
Array = np.ndarray[Any, Any]

_RNG = np.random.default_rng(20)
_FACTORS = (_RNG.integers(0, 2**32, HASHES, dtype=np.uint64) | 1).astype(np.uint32)
_OFFSETS = _RNG.integers(0, 2**32, HASHES, dtype=np.uint64).astype(np.uint32)
_PRIME = np.uint64(0x100000001B3)
_MIX = np.uint64(0x9E3779B97F4A7C15)


def minhash(texts: Sequence[bytes], length: int) -> Array:
    """(N, HASHES) uint8. A shingle is `length` bytes; of a shorter text the text as a whole."""
    values, starts = _shingles(texts, length)
    found = np.empty((len(texts), HASHES), dtype=np.uint8)
    for at in range(HASHES):
        least = np.minimum.reduceat(values * _FACTORS[at] + _OFFSETS[at], starts)
        found[:, at] = (least * np.uint32(0x9E3779B1)) >> np.uint32(24)  # the smallest begin with zeros: mixed again
    return found


def _shingles(texts: Sequence[bytes], length: int) -> tuple[Array, Array]:
    """(L,) uint32 hashes, and where each text begins in them; none is empty."""
    padded = [one if len(one) >= length else one.ljust(length, b"\0") for one in texts]
    sizes = np.asarray([len(one) for one in padded], dtype=np.int64)
    data = np.frombuffer(b"".join(padded), dtype=np.uint8).astype(np.uint64)
    hashed = np.zeros(len(data) - length + 1, dtype=np.uint64)
    for at in range(length):
        hashed = hashed * _PRIME + data[at : at + len(hashed)] + np.uint64(1)
    ends = np.cumsum(sizes)
    inside = np.ones(len(hashed), dtype=bool)  # shingles that begin in one text and end in the next are none
    for at in range(1, length):
        inside[(ends[:-1] - at)] = False
    hashed = hashed[inside]
    hashed = (hashed ^ (hashed >> np.uint64(29))) * _MIX
    counts = sizes - length + 1
    return (hashed >> np.uint64(32)).astype(np.uint32), np.cumsum(counts) - counts


def similarity(ours: Array, theirs: Array) -> Array:
    """Jaccard similarity of pairs of sketches (P, HASHES), as estimated (P,)."""
    equal = (ours == theirs).mean(axis=1)
    return np.asarray((equal - _BYTE) / (1 - _BYTE))


def bands(sketches: Array) -> list[Array]:
    """A key (N,) per band: pairs that are alike share one."""
    return list(np.ascontiguousarray(sketches).view(np.uint32).T)

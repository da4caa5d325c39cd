"""Words of many rows, in about the bytes that they have: a list of Python's takes 60 and more beside each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

import numpy as np

BLOCK = 65_536  # words that are made at once


class Words(Sequence[str]):
    """Like a list of words that nobody changes. Few different ones are held once each, and 4 bytes for every row; else
    the bytes of every word, and 8 beside them."""

    def __init__(self, words: Iterable[str]) -> None:
        some = iter(words)
        codes: dict[str, int] = {}
        first: list[int] = []
        for word in some:
            first.append(codes.setdefault(word, len(codes)))
            if len(codes) > BLOCK:
                break
        self._known = list(codes)
        self._codes = np.asarray(first, dtype=np.int32)
        self._text, self._ends = b"", np.zeros(0, np.int64)
        if len(codes) > BLOCK:
            self._spell(first, some)

    def _spell(self, first: list[int], rest: Iterator[str]) -> None:
        text, lengths = bytearray(), []
        for word in (self._known[code] for code in first):
            data = word.encode(errors="surrogatepass")
            text += data
            lengths.append(len(data))
        sizes = [np.asarray(lengths, dtype=np.int32)]
        while block := [word.encode(errors="surrogatepass") for _, word in zip(range(BLOCK), rest, strict=False)]:
            text += b"".join(block)
            sizes.append(np.asarray([len(one) for one in block], dtype=np.int32))
        self._known, self._codes = [], np.zeros(0, np.int32)
        self._text, self._ends = bytes(text), np.cumsum(np.concatenate(sizes), dtype=np.int64)

    def __len__(self) -> int:
        return len(self._ends) or len(self._codes)

    def _at(self, place: int) -> str:
        if not len(self._ends):
            return self._known[int(self._codes[place])]
        begin = int(self._ends[place - 1]) if place else 0
        return str(self._text[begin : int(self._ends[place])], errors="surrogatepass")

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self._at(place) for place in range(*index.indices(len(self)))]
        place = index + len(self) if index < 0 else index
        if not 0 <= place < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        return self._at(place)

    def __iter__(self) -> Iterator[str]:
        return map(self._at, range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        return np.asarray(list(self), dtype=dtype)

    def __eq__(self, other: object) -> bool:
        return same_words(self, other)

    __hash__ = None  # type: ignore[assignment]  # as a list

    @property
    def nbytes(self) -> int:
        """Of all words, as they are held."""
        return int(self._codes.nbytes + self._ends.nbytes + len(self._text))


def same_words(ours: Sequence[Any], other: object) -> bool:
    """Whether these are equal item by item, whatever holds them."""
    if ours is other:
        return True
    if isinstance(other, str) or not isinstance(other, Sequence) or len(ours) != len(other):
        return False
    return all(mine == theirs for mine, theirs in zip(ours, other, strict=True))

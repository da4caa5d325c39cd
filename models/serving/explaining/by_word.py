"""What each word of a text adds, and each stretch of letters: the text without it is prepared and asked again."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MOST_PARTS = 48  # of one text
WORD = re.compile(r"\S+")
LETTERS = 3  # of a stretch, at least


@dataclass(frozen=True, kw_only=True)
class WordSpan:
    """A part of a text, by its characters."""

    start: int
    end: int


def words_of(text: str) -> list[WordSpan]:
    """Every word; of a long text neighbours together."""
    return _together([WordSpan(start=one.start(), end=one.end()) for one in WORD.finditer(text)])


def stretches_of(text: str) -> list[WordSpan]:
    """Of letters without words."""
    edges = range(0, len(text), LETTERS)
    return _together([WordSpan(start=at, end=min(at + LETTERS, len(text))) for at in edges])


def _together(spans: Sequence[WordSpan]) -> list[WordSpan]:
    if len(spans) <= MOST_PARTS:
        return list(spans)
    groups = np.array_split(np.arange(len(spans)), MOST_PARTS)
    return [WordSpan(start=spans[int(group[0])].start, end=spans[int(group[-1])].end) for group in groups]


def texts_without(text: str, spans: Sequence[WordSpan]) -> list[str]:
    """The text, each time without one part."""
    return [f"{text[: one.start]}{text[one.end :]}" for one in spans]

"""What the rows of a dataset hold, field by field and side by side: counted as they stream by, in bounded memory.

Shape legend: N rows of a block, S rows of a sample, B bins.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from mlratchet.models.data.split import SIDES
from mlratchet.models.profile.rows import FieldOfRows, RowBlock, RowLayout

SAMPLE = 10_000  # values of a side and field that quantiles and bins are taken of; of fewer rows, all
DIFFERENT = 10_000  # different words of a side and field that are counted
BINS = 24
QUANTILES = (0.05, 0.5, 0.95)

Array = np.ndarray[Any, Any]


@dataclass
class NumbersSeen:
    """Numbers of one side, as they stream by."""

    seed: int = 0
    given: int = 0
    missing: int = 0
    least: float = math.inf
    most: float = -math.inf
    mean: float = 0.0
    squares: float = 0.0  # of the distances from the mean, summed
    sample: Array = field(default_factory=lambda: np.zeros(0))
    _keys: Array = field(default_factory=lambda: np.zeros(0))

    def see(self, values: Array) -> None:
        """Some more; NaN was not given."""
        held = np.asarray(values, dtype=np.float64)
        there = held[np.isfinite(held)]
        self.missing += len(held) - len(there)
        if not len(there):
            return
        count, mean = len(there), float(there.mean())
        apart, whole = mean - self.mean, self.given + count
        self.squares += float(((there - mean) ** 2).sum()) + apart * apart * self.given * count / whole
        self.mean += apart * count / whole
        self.least, self.most = min(self.least, float(there.min())), max(self.most, float(there.max()))
        # those with the smallest random keys are an even sample of all, whatever the blocks
        keys = np.concatenate([self._keys, np.random.default_rng((self.seed, self.given)).random(count)])
        chosen = np.argsort(keys, kind="stable")[:SAMPLE]
        self.sample, self._keys = np.concatenate([self.sample, there])[chosen], keys[chosen]
        self.given = whole

    @property
    def deviation(self) -> float:
        """With the divisor n."""
        return math.sqrt(self.squares / self.given) if self.given else math.nan

    def quantiles(self) -> dict[str, float]:
        """By the sample."""
        if not len(self.sample):
            return {}
        found = np.quantile(self.sample, QUANTILES)
        return {f"p{round(100 * q)}": float(value) for q, value in zip(QUANTILES, found, strict=True)}


@dataclass
class WordsSeen:
    """Words of one side."""

    given: int = 0
    missing: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    uncounted: bool = False  # there are more different ones than are counted

    def see(self, values: Iterable[Any]) -> None:
        """Some more; None was not given."""
        for value in values:
            if value is None or value == "":
                self.missing += 1
                continue
            self.given += 1
            word = str(value)
            if word in self.counts or len(self.counts) < DIFFERENT:
                self.counts[word] += 1
            else:
                self.uncounted = True


@dataclass(frozen=True, kw_only=True)
class SideOfField:
    """Of one field on one side."""

    given: int
    missing: int
    least: float | None = None
    most: float | None = None
    mean: float | None = None
    deviation: float | None = None
    quantiles: Mapping[str, float] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)  # of words, the most frequent first
    different: int | None = None
    bins: tuple[float, ...] = ()  # share of the given rows in each bin


@dataclass(frozen=True, kw_only=True)
class FieldProfile:
    """Of one field."""

    name: str
    kind: str
    measured: str  # what the numbers are of: "value", "characters", "bytes"
    unit: str
    input: bool
    sides: Mapping[str, SideOfField]
    edges: tuple[float, ...] = ()  # (B + 1,) of the bins, the same for every side
    sample: Array = field(default_factory=lambda: np.zeros(0), repr=False)  # (S,) of the values of all sides

    @property
    def missing(self) -> int:
        """Over all sides."""
        return sum(one.missing for one in self.sides.values())

    @property
    def given(self) -> int:
        """Over all sides."""
        return sum(one.given for one in self.sides.values())


MEASURED = {"text": "characters", "letters": "letters", "image": "bytes", "audio": "bytes", "tensor": "mean value"}


class FieldMeter:
    """One field of all sides."""

    def __init__(self, about: FieldOfRows) -> None:
        self.about = about
        self.words = about.kind in ("category", "entity")
        self._numbers: dict[str, NumbersSeen] = {side: NumbersSeen(seed=at) for at, side in enumerate(SIDES)}
        self._words: dict[str, WordsSeen] = {side: WordsSeen() for side in SIDES}

    def see(self, side: str, values: Sequence[Any]) -> None:
        """The values of a block."""
        if self.words:
            self._words[side].see(values)
        else:
            self._numbers[side].see(as_numbers(values, self.about.kind))

    def profile(self) -> FieldProfile:
        """What was seen."""
        edges = () if self.words else edges_of([one.sample for one in self._numbers.values()])
        sides: dict[str, SideOfField] = {}
        for side in SIDES:
            if self.words:
                words = self._words[side]
                sides[side] = SideOfField(
                    given=words.given, missing=words.missing, counts=dict(words.counts.most_common()),
                    different=None if words.uncounted else len(words.counts),
                )  # fmt: skip
                continue
            seen = self._numbers[side]
            told: dict[str, Any] = {"given": seen.given, "missing": seen.missing, "bins": shares(seen.sample, edges)}
            if seen.given:
                told |= {"least": seen.least, "most": seen.most, "mean": seen.mean, "deviation": seen.deviation}
            sides[side] = SideOfField(**told, quantiles=seen.quantiles())
        about, measured = self.about, MEASURED.get(self.about.kind, "value")
        return FieldProfile(
            name=about.name, kind=about.kind, measured="mean value" if about.pixels else measured, unit=about.unit,
            input=about.input, sides=sides, edges=edges, sample=even_sample(self._numbers.values()),
        )  # fmt: skip


def even_sample(seen: Iterable[NumbersSeen]) -> Array:
    """(S,) values of several sides, of each as many as its share of the rows allows."""
    held = [one for one in seen if one.given]
    if not held:
        return np.zeros(0)
    rate = min(len(one.sample) / one.given for one in held)
    # a sample lies in the order of its random keys, so that its beginning is one, too
    return np.concatenate([one.sample[: max(1, round(rate * one.given))] for one in held])


def as_numbers(values: Sequence[Any], kind: str) -> Array:
    """(N,) float64: numbers and times, of a tensor the mean, of anything else its length; NaN: not given."""
    if isinstance(values, np.ndarray) and values.ndim == 1:
        return np.asarray(values, dtype=np.float64)
    if kind in ("number", "time"):
        return np.asarray([math.nan if one is None else one for one in values], dtype=np.float64)
    if kind in ("tensor", "image") and not any(isinstance(one, bytes) for one in values):
        means = [math.nan if one is None or not np.size(one) else float(np.mean(one)) for one in values]
        return np.asarray(means, dtype=np.float64)
    return np.asarray([math.nan if one is None else len(one) for one in values], dtype=np.float64)


def edges_of(samples: Sequence[Array]) -> tuple[float, ...]:
    """Of equal bins over the middle 99 % of all of them, so that one outlier does not flatten the rest; none for no
    value. Whole numbers of few kinds have a bin each."""
    whole = np.concatenate([one for one in samples if len(one)]) if any(len(one) for one in samples) else np.zeros(0)
    if not len(whole):
        return ()
    kinds = np.unique(whole)
    if len(kinds) <= BINS and np.all(kinds == np.round(kinds)) and kinds[-1] - kinds[0] < BINS:
        return tuple(float(one) - 0.5 for one in range(int(kinds[0]), int(kinds[-1]) + 2))
    low, high = (float(one) for one in np.quantile(whole, (0.005, 0.995)))
    if not low < high:
        low, high = low - 0.5, high + 0.5
    return tuple(float(one) for one in np.linspace(low, high, BINS + 1))


def shares(sample: Array, edges: Sequence[float]) -> tuple[float, ...]:
    """(B,) shares of the sample; what lies beyond is counted in the outermost bins."""
    if not edges or not len(sample):
        return ()
    counts, _ = np.histogram(np.clip(sample, edges[0], edges[-1]), bins=np.asarray(edges))
    return tuple(float(one) / len(sample) for one in counts)


def label_meter(layout: RowLayout, *, in_words: bool) -> FieldMeter:
    """Of what is learnt."""
    kind = "category" if in_words else "number"
    return FieldMeter(FieldOfRows(name=layout.label, kind=kind, input=False))  # type: ignore[arg-type]


def labels_of(block: RowBlock, layout: RowLayout) -> list[Any]:
    """Of every row: a number or words. Several labels at once are joined, and none is told as none; a set or sequence
    is told as its objective does."""
    names, y = layout.class_names, block.y
    if y.ndim > 1 and names:
        return [" + ".join(n for n, on in zip(names, row, strict=True) if on) or "none" for row in y]
    if y.ndim > 1 and y[0].size > 1:
        return [str(one) for one in (layout.in_words(y) if layout.in_words is not None else y.tolist())]
    return [names[int(one)] if names else float(one) for one in y.reshape(len(y))]

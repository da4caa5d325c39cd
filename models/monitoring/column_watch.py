"""What a window says against "this column moved by no more than the minimum effect", as e-values for a `JointAlarm`.

Of each row a few scores between 0 and 1 are bet on: how far up it is, how far out, whether it is one of the frequent
values. A score's limit is the largest mean that it can have under a drift of `minimum_effect`, plus `AT_EDGE` standard
errors of the reference, and at least its mean in the reference plus `FOR_ALL` of them: its rows are counted once, in
that margin, and their chance is never learnt from again. The product of the bets on all rows of a window is its
e-value; it follows from the window's sketch alone, whatever the number of rows, and grows with each: a large drift
sounds after one window.

Numbers: scores are Lipschitz, so that by Kantorovich and Rubinstein (1958) a Wasserstein distance of d moves their mean
by at most d times their slope. Values: shares of one value, which a Jensen-Shannon distance bounds by data processing.
Vectors: the place of a row among the reference's by a classifier that was fitted on other rows of both, and the scores
of numbers along the reference's principal directions and of the distance from its middle. The part `window` bets on
what `drift` says of the window as a whole: it sees what no single score does, and takes some windows.

Shape legend: N rows, V distinct scores, B bins, K bets.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from mlratchet.models.monitoring.domain import FEWEST_TOLD_APART, held_out_places
from mlratchet.models.monitoring.drift import DIGESTS, LEAST_ROWS, jensen_shannon
from mlratchet.models.monitoring.sequential import BETS, EvidenceStream, growth
from mlratchet.models.monitoring.sketches import NumberSketch, Sketch, ValueSketch, VectorSketch
from mlratchet.models.monitoring.sketches.numbers import MIDDLES_B
from mlratchet.models.schema.fields import Kind

Array = np.ndarray[Any, Any]
Scored = Callable[[Sketch], tuple[Array, Array]]
"""(V,) scores of a window's rows, with (V,) how many rows have each."""

AT_EDGE = 2.0  # standard errors of the reference beyond the minimum effect: about the 97.5 % of a gate's promise
FOR_ALL = 4.0  # beyond what the reference says: of hundreds of scores hardly one is so far off by chance
WATCHED = 8  # of a column's values, the most frequent
LARGEST_LIMIT = 0.98  # beyond, no mean could be told from it
OUTER = 0.01  # share of the reference beyond each end of what is scored linearly
FAR = 8.0  # standard deviations beyond it at which a value is wholly `far out`
WINDOW_LIMIT = 0.05  # share of the windows in which a drift may seem surely large though it is not; bounds have 0.025
DIRECTIONS = 6  # of vectors, that are watched as numbers are
WHOLE = "window"


@dataclass(frozen=True, kw_only=True)
class Score:
    """One score of the rows: its mean is at most `limit` while the column moved by no more than the minimum effect."""

    limit: float
    of: Scored

    def logarithms(self, window: Sketch) -> Array:
        """(K,) logarithms of the e-values of a window."""
        scores_V, counts_V = self.of(window)
        return np.asarray(counts_V @ growth(scores_V, self.limit)) if len(scores_V) else np.zeros(BETS)


@dataclass(frozen=True, kw_only=True)
class ColumnWatch:
    """The parts of one column."""

    scores: Mapping[str, Score]
    """Part -> its score: `higher`, `lower`, `wider`, `narrower`, `far out`, `more 'red'`, `less 'red'`, `more others`,
    `told apart`."""

    @property
    def stream(self) -> EvidenceStream:
        """For a `JointAlarm`."""
        return EvidenceStream(parts=(*self.scores, WHOLE))

    def logarithms(self, window: Sketch, moved: bool | None) -> Array:
        """(1, K) logarithms of the e-values of a window, for `JointAlarm.update`.

        Args:
            window: Its sketch, made `like` the reference's.
            moved: Whether `drift` is surely above the minimum effect in it; None where that says nothing.
        """
        whole = growth(np.asarray([float(moved)]), WINDOW_LIMIT)[0] if moved is not None else np.zeros(BETS)
        return np.concatenate([*(score.logarithms(window) for score in self.scores.values()), whole])[None]


def watch_of(reference: Sketch, kind: Kind, *, minimum_effect: float) -> ColumnWatch | None:
    """The parts of a column.

    Args:
        reference: The sketch of the reference's column.
        kind: Of the field.
        minimum_effect: In standard deviations of the reference for numbers, and for vectors along a direction; as a
            Jensen-Shannon distance for values; as 2 AUC - 1 of a classifier for vectors.

    Returns None where the reference has fewer than 100 values (its own chance would be taken for what is usual), and
    for digests, which say nothing of the content.
    """
    if not minimum_effect > 0:
        raise ValueError(f"minimum_effect must be positive, got {minimum_effect}")
    if reference.n < LEAST_ROWS or (isinstance(reference, ValueSketch) and kind in DIGESTS):
        return None
    if isinstance(reference, NumberSketch):
        parts = _parts_of_numbers(reference, minimum_effect)
    elif isinstance(reference, ValueSketch):
        parts = _parts_of_values(reference, minimum_effect)
    else:
        parts = {"told apart": _told_apart(reference, minimum_effect), **_along_directions(reference, minimum_effect)}
    return ColumnWatch(scores={part: one for part, one in parts.items() if one.limit <= LARGEST_LIMIT})


def watch_of_missing(usual: float) -> Score | None:
    """The share of rows without a value, of which `usual` is allowed; None where no share could be told from it."""
    return Score(limit=usual, of=_missing) if 0 < usual <= LARGEST_LIMIT else None


def _missing(window: Sketch) -> tuple[Array, Array]:
    return np.asarray([0.0, 1.0]), np.asarray([window.rows - window.missing, window.missing])


def _parts_of_numbers(reference: NumberSketch, effect: float) -> dict[str, Score]:
    places_B = reference.centre + reference.scale * MIDDLES_B
    share_B = reference.counts / reference.counts.sum()
    spread = reference.deviation
    if not spread > 0:  # one value: any other is a drift
        other_B = (reference.counts == 0).astype(float)
        return {"other": Score(limit=_limit_of_share(0.0, reference.n, effect), of=_of_bins(other_B))}
    low, centre, high = (reference.quantile(level) for level in (OUTER, 0.5, 1 - OUTER))
    low, high = min(low, centre - spread), max(high, centre + spread)
    reach = max(high - centre, centre - low)
    up_B = np.clip((places_B - low) / (high - low), 0, 1)
    out_B = np.clip(np.abs(places_B - centre) / reach, 0, 1)
    beyond_B = np.maximum(places_B - high, low - places_B)
    far_B = np.clip(beyond_B / (FAR * spread), 0, 1)

    def score(scores_B: Array, width: float) -> Score:
        mean = float(share_B @ scores_B)
        error = math.sqrt(max(float(share_B @ (scores_B - mean) ** 2), 1 / reference.n) / reference.n)
        return Score(limit=_limit(mean, mean + effect * spread / width, error), of=_of_bins(scores_B))

    return {
        "higher": score(up_B, high - low), "lower": score(1 - up_B, high - low),
        "wider": score(out_B, reach), "narrower": score(1 - out_B, reach), "far out": score(far_B, FAR * spread),
    }  # fmt: skip


def _of_bins(scores_B: Array) -> Scored:
    def scored(window: Sketch) -> tuple[Array, Array]:
        assert isinstance(window, NumberSketch)
        held = window.counts > 0
        return scores_B[held], window.counts[held]

    return scored


def _limit(usual: float, edge: float, error: float) -> float:
    """Of a score whose mean is `usual` in the reference, with this standard error, and at most `edge` under the minimum
    effect."""
    return max(edge + AT_EDGE * error, usual + FOR_ALL * error)


def _limit_of_share(share: float, n: int, effect: float) -> float:
    """The largest share within a Jensen-Shannon distance of `effect` of this one, plus the reference's error."""
    error = math.sqrt(max(share * (1 - share), 1 / n) / n)
    low, high = share, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        p, q = np.asarray([[share, 1 - share]]), np.asarray([[middle, 1 - middle]])
        low, high = (middle, high) if float(jensen_shannon(p, q)[0]) < effect else (low, middle)
    return _limit(share, low, error)


def _parts_of_values(reference: ValueSketch, effect: float) -> dict[str, Score]:
    """Counts that may be too small by `short` are taken on the side that says less."""
    frequent = sorted(reference.counts, key=lambda name: (-reference.counts[name], name))[:WATCHED]
    n = reference.n
    found: dict[str, Score] = {}

    def score(most: float, of: Callable[[ValueSketch], float]) -> Score:
        def scored(window: Sketch) -> tuple[Array, Array]:
            assert isinstance(window, ValueSketch)
            count = min(max(of(window), 0.0), float(window.n))
            return np.asarray([1.0, 0.0]), np.asarray([count, window.n - count])

        return Score(limit=_limit_of_share(min(most / n, 1.0), n, effect), of=scored)

    def counted(*names: str) -> Callable[[ValueSketch], float]:
        return lambda window: float(sum(window.counts.get(name, 0) for name in names))

    def others(*names: str) -> Callable[[ValueSketch], float]:
        return lambda window: float(window.n - sum(window.counts.get(name, 0) + window.short for name in names))

    for name in frequent:
        count = reference.counts[name]
        found[f"more {name!r}"] = score(count + reference.short, counted(name))
        found[f"less {name!r}"] = score(n - count, others(name))
    found["more others"] = score(n - sum(reference.counts[name] for name in frequent), others(*frequent))
    return found


def _told_apart(reference: VectorSketch, effect: float) -> Score:
    sample = reference.sample.astype(float)

    def scored(window: Sketch) -> tuple[Array, Array]:
        assert isinstance(window, VectorSketch)
        if len(window.sample) < FEWEST_TOLD_APART:
            return np.zeros(0), np.zeros(0)
        places = held_out_places(sample, window.sample.astype(float))
        return places, np.ones(len(places))

    error = 1 / math.sqrt(12 * (len(sample) // 2))
    return Score(limit=_limit(0.5, 0.5 + effect / 2, error), of=scored)


def _along_directions(reference: VectorSketch, effect: float) -> dict[str, Score]:
    """Scores of numbers, of what a vector is along each of the directions in which the reference varies most, and of
    its distance from the middle, each number of the vector in standard deviations."""
    # directions fit the rows that they were fitted on: others say what is usual along them
    fitted, usual = (reference.sample[at::2].astype(float) for at in (0, 1))
    middle, spread = fitted.mean(axis=0), fitted.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    _, _, directions = np.linalg.svd((fitted - middle) / spread, full_matrices=False)

    def along(at: int) -> Callable[[Array], Array]:
        weights = directions[at] / spread
        sign = np.sign(weights[np.argmax(np.abs(weights))])  # an SVD leaves it open
        return lambda rows: np.asarray((rows - middle) @ weights * sign)

    def away(rows: Array) -> Array:
        return np.asarray(np.linalg.norm((rows - middle) / spread, axis=1))

    readings = {f"along direction {at + 1}": along(at) for at in range(min(DIRECTIONS, len(directions)))}
    found: dict[str, Score] = {}
    for name, read in (readings | {"from the middle": away}).items():
        then = NumberSketch.fitted(read(usual))
        then.update(read(usual))
        if then.deviation > 0:
            for part, one in _parts_of_numbers(then, effect).items():
                found[f"{part} {name}"] = Score(limit=one.limit, of=_read(one, read, then))
    return found


def _read(score: Score, read: Callable[[Array], Array], like: NumberSketch) -> Scored:
    def scored(window: Sketch) -> tuple[Array, Array]:
        assert isinstance(window, VectorSketch)
        now = like.like()
        now.update(read(window.sample.astype(float)))
        return score.of(now)

    return scored

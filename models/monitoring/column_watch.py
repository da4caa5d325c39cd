"""What a window says against "this column did not move", as e-values for a `JointAlarm`.

Of each row a few scores between 0 and 1 are bet on: how far up it is, how far out, whether it is one of the frequent
values. A score's limit is the largest mean that it can have under a drift of `quiet_up_to` of `minimum_effect`, plus
`AT_EDGE` standard errors of the reference, and at least its mean in the reference plus as many errors as leave
`UNTRUE` to all scores of a pipeline together: its rows are counted once, in that margin, and their chance is never
learnt from again. The stakes are such that, beyond the limit, windows gather evidence from `minimum_effect` on alone:
what matters less is not proven to be small before what matters more is told. The product of the bets on all rows of a
window is its e-value; it follows from the window's sketch alone, whatever the number of rows, and grows with each: a
large drift sounds after one window.

Numbers: scores are Lipschitz, so that by Kantorovich and Rubinstein (1958) a Wasserstein distance of d moves their mean
by at most d times their slope. Values: shares of one value, which a Jensen-Shannon distance bounds by data processing.
Vectors: the place of a row among the reference's by a classifier that was fitted on other rows of both, and the scores
of numbers along the reference's principal axes (of the numbers as they are) and directions (in standard deviations),
and of the distance from its middle. The part `window` bets on what `drift` says of the window as a whole: it sees what
no single score does, and takes some windows.

Shape legend: N rows, V distinct scores, B bins, K bets.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from mlratchet.models.monitoring.config import QUIET
from mlratchet.models.monitoring.domain import FEWEST_TOLD_APART, held_out, held_out_places
from mlratchet.models.monitoring.drift import DIGESTS, LEAST_ROWS
from mlratchet.models.monitoring.sequential import BETS, EvidenceStream, growth, stakes
from mlratchet.models.monitoring.sketches import NumberSketch, Sketch, ValueSketch, VectorSketch
from mlratchet.models.monitoring.sketches.numbers import MIDDLES_B
from mlratchet.models.schema.fields import Kind

Array = np.ndarray[Any, Any]
Scored = Callable[[Sketch], tuple[Array, Array]]
"""(V,) scores of a window's rows, with (V,) how many rows have each."""

AT_EDGE = 2.0  # standard errors of the reference beyond it: about the 97.5 % of a gate's promise
UNTRUE = 0.025  # of the pipelines: so many may have a score whose limit the reference's chance made too low
WATCHED = 8  # of a column's values, the most frequent
LARGEST_LIMIT = 0.98  # beyond, no mean could be told from it
OUTER = 0.01  # share of the reference beyond each end of what is scored linearly
FAR = 8.0  # standard deviations beyond it at which a value is wholly `far out`
WINDOW_LIMIT = 0.05  # share of the windows in which a drift may seem surely large though it is not; bounds have 0.025
FITTED = 4  # of so many rows of a reference of vectors one fits the directions, the others say what is usual
DIRECTIONS = 4  # of vectors as they are, and in standard deviations, that are watched as numbers are
OF_NUMBERS, OF_VALUES = 5, 2 * WATCHED + 1  # scores of a column, of values at most
WHOLE = "window"


class Moves(NamedTuple):
    """How far a column may move, in the unit of its effect."""

    usual: float  # while nothing changes
    minimum: float  # what matters


@dataclass(frozen=True, kw_only=True)
class Score:
    """One score of the rows: its mean is at most `limit` while the column moved by no more than is usual."""

    limit: float
    of: Scored
    begins: float = 0.0
    """The mean from which windows gather evidence: what it is under the minimum effect; below the limit: from there."""
    spread2: float = 0.25
    """Variance of the score where its mean is that."""

    @cached_property
    def bets(self) -> Array:
        """(K,)."""
        return stakes(self.limit, self.begins, self.spread2)

    def logarithms(self, window: Sketch) -> Array:
        """(K,) logarithms of the e-values of a window."""
        scores_V, counts_V = self.of(window)
        return np.asarray(counts_V @ growth(scores_V, self.limit, self.bets)) if len(scores_V) else np.zeros(BETS)


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


def scores_of(reference: Sketch, kind: Kind) -> int:
    """How many scores `watch_of` makes of a column, at most."""
    if reference.n < LEAST_ROWS or (isinstance(reference, ValueSketch) and kind in DIGESTS):
        return 0
    if isinstance(reference, ValueSketch):
        return min(OF_VALUES, 2 * len(reference.counts) + 1)
    return OF_NUMBERS if isinstance(reference, NumberSketch) else 1 + OF_NUMBERS * (2 * DIRECTIONS + 1)


def watch_of(
    reference: Sketch, kind: Kind, *, minimum_effect: float, among: int, quiet_up_to: float = QUIET
) -> ColumnWatch | None:
    """The parts of a column.

    Args:
        reference: The sketch of the reference's column.
        kind: Of the field.
        minimum_effect: In standard deviations of the reference for numbers, and for vectors along a direction; as a
            Jensen-Shannon distance for values; as 2 AUC - 1 of a classifier for vectors.
        among: Scores of the whole pipeline (`scores_of`): together they are granted `UNTRUE`.
        quiet_up_to: Part of it by which the column may have moved while nothing changes, at most 1.

    Returns None where the reference has fewer than 100 values (its own chance would be taken for what is usual), and
    for digests, which say nothing of the content.
    """
    if not minimum_effect > 0:
        raise ValueError(f"minimum_effect must be positive, got {minimum_effect}")
    if not scores_of(reference, kind):
        return None
    errors = NormalDist().inv_cdf(1 - UNTRUE / max(among, 1))
    moves = Moves(usual=quiet_up_to * minimum_effect, minimum=minimum_effect)
    if isinstance(reference, NumberSketch):
        parts = _parts_of_numbers(reference, moves, errors)
    elif isinstance(reference, ValueSketch):
        parts = _parts_of_values(reference, moves, errors)
    else:
        along = _along_directions(reference, moves, errors)
        parts = _told_apart(reference, moves, errors) | along
    return ColumnWatch(scores={part: one for part, one in parts.items() if one.limit <= LARGEST_LIMIT})


def watch_of_missing(usual: float) -> Score | None:
    """The share of rows without a value, of which `usual` is allowed; None where no share could be told from it."""
    return Score(limit=usual, of=_missing) if 0 < usual <= LARGEST_LIMIT else None


def _missing(window: Sketch) -> tuple[Array, Array]:
    return np.asarray([0.0, 1.0]), np.asarray([window.rows - window.missing, window.missing])


def _parts_of_numbers(
    reference: NumberSketch, moves: Moves, errors: float, exact: tuple[float, int] | None = None
) -> dict[str, Score]:
    """`exact`: the mean of more rows than the sketch has, and how many they are."""
    places_B = reference.centre + reference.scale * MIDDLES_B
    share_B = reference.counts / reference.counts.sum()
    spread = reference.deviation
    if not spread > 0:  # one value: any other is a drift
        other_B = (reference.counts == 0).astype(float)
        return {"other": _score_of_share(0.0, reference.n, moves, errors, _of_bins(other_B))}
    low, centre, high = (reference.quantile(level) for level in (OUTER, 0.5, 1 - OUTER))
    low, high = min(low, centre - spread), max(high, centre + spread)
    reach = max(high - centre, centre - low)
    linear_B = (places_B - low) / (high - low)
    up_B = np.clip(linear_B, 0, 1)
    out_B = np.clip(np.abs(places_B - centre) / reach, 0, 1)
    beyond_B = np.maximum(places_B - high, low - places_B)
    far_B = np.clip(beyond_B / (FAR * spread), 0, 1)

    def variance(scores_B: Array) -> float:
        return float(share_B @ (scores_B - float(share_B @ scores_B)) ** 2)

    def score(scores_B: Array, width: float, usual: float | None = None, error2: float | None = None) -> Score:
        mean = float(share_B @ scores_B) if usual is None else usual
        step, spread2 = moves.minimum * spread / width, max(variance(scores_B), 1 / reference.n)
        return _score(
            mean, mean + moves.usual * spread / width, mean + step, errors,
            error2=spread2 / reference.n if error2 is None else error2,
            spread2=spread2 + step * (1 - mean),  # as if some of the rows went to the end
            of=_of_bins(scores_B),
        )  # fmt: skip

    usual = error2 = None
    if exact is not None and exact[1] > reference.n:
        # a control variate: the mean of all rows, and what the ends that are cut off make of it by those of the sketch
        mean, n = exact
        usual = (mean - low) / (high - low) + float(share_B @ (up_B - linear_B))
        error2 = variance(linear_B) / n + variance(up_B - linear_B) / reference.n
    return {
        "higher": score(up_B, high - low, usual, error2),
        "lower": score(1 - up_B, high - low, None if usual is None else 1 - usual, error2),
        "wider": score(out_B, reach), "narrower": score(1 - out_B, reach), "far out": score(far_B, FAR * spread),
    }  # fmt: skip


def _of_bins(scores_B: Array) -> Scored:
    def scored(window: Sketch) -> tuple[Array, Array]:
        assert isinstance(window, NumberSketch)
        held = window.counts > 0
        return scores_B[held], window.counts[held]

    return scored


def _score(
    usual: float, calm: float, begins: float, errors: float, *, error2: float, spread2: float, of: Scored
) -> Score:
    """Of a score whose mean is `usual` in the reference, with this square of its standard error, at most `calm` while
    the column moves as usual and `begins` at the minimum effect."""
    error = math.sqrt(error2)
    return Score(limit=max(calm + AT_EDGE * error, usual + errors * error), begins=begins, spread2=spread2, of=of)


def _score_of_share(share: float, n: int, moves: Moves, errors: float, of: Scored) -> Score:
    """Of ones, which were `share` of the reference's `n`: as many as a Jensen-Shannon distance allows."""
    calm, begins = (_most_within(share, one) for one in moves)
    error2 = max(share * (1 - share), 1 / n) / n
    return _score(share, calm, begins, errors, error2=error2, spread2=begins * (1 - begins), of=of)


@lru_cache(maxsize=4096)  # a reference is looked at again with each window
def _most_within(share: float, effect: float) -> float:
    """The largest share within a Jensen-Shannon distance of `effect` of this one."""
    low, high = share, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if _distance(share, middle) < effect else (low, middle)
    return low


def _distance(p: float, q: float) -> float:
    """Jensen-Shannon, between two shares of two values."""

    def entropy(share: float) -> float:
        return -sum(one * math.log2(one) for one in (share, 1 - share) if one > 0)

    return math.sqrt(max(0.0, entropy((p + q) / 2) - (entropy(p) + entropy(q)) / 2))


def _parts_of_values(reference: ValueSketch, moves: Moves, errors: float) -> dict[str, Score]:
    """Counts that may be too small by `short` are taken on the side that says less."""
    frequent = sorted(reference.counts, key=lambda name: (-reference.counts[name], name))[:WATCHED]
    n = reference.n
    found: dict[str, Score] = {}

    def score(most: float, of: Callable[[ValueSketch], float]) -> Score:
        def scored(window: Sketch) -> tuple[Array, Array]:
            assert isinstance(window, ValueSketch)
            count = min(max(of(window), 0.0), float(window.n))
            return np.asarray([1.0, 0.0]), np.asarray([count, window.n - count])

        return _score_of_share(min(most / n, 1.0), n, moves, errors, scored)

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


def _told_apart(reference: VectorSketch, moves: Moves, errors: float) -> dict[str, Score]:
    sample = reference.sample.astype(float)
    n = int(held_out(sample).sum())
    if not 0 < n < len(sample):
        return {}

    def scored(window: Sketch) -> tuple[Array, Array]:
        assert isinstance(window, VectorSketch)
        if len(window.sample) < FEWEST_TOLD_APART:
            return np.zeros(0), np.zeros(0)
        places = held_out_places(sample, window.sample.astype(float))
        return places, np.ones(len(places))

    calm, begins = (0.5 + one / 2 for one in moves)
    return {"told apart": _score(0.5, calm, begins, errors, error2=1 / (12 * n), spread2=1 / 12, of=scored)}


def _along_directions(reference: VectorSketch, moves: Moves, errors: float) -> dict[str, Score]:
    """Scores of numbers, of what a vector is along each of the directions in which the reference varies most, as it is
    and each number of the vector in standard deviations, and of its distance from the middle."""
    # directions fit the rows that they were fitted on: others say what is usual along them
    fitted = reference.sample[::FITTED].astype(float)
    usual = np.delete(reference.sample, np.s_[::FITTED], axis=0).astype(float)
    middle, spread = fitted.mean(axis=0), fitted.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    means = reference.sums / reference.n

    def directions(unit: Array) -> Array:
        found = np.linalg.svd((fitted - middle) / unit, full_matrices=False)[2][:DIRECTIONS] / unit
        signs = np.sign(np.take_along_axis(found, np.abs(found).argmax(axis=1)[:, None], axis=1))
        return np.asarray(found * signs)  # an SVD leaves it open

    def along(weights: Array) -> Callable[[Array], Array]:
        return lambda rows: np.asarray((rows - middle) @ weights)

    def away(rows: Array) -> Array:
        return np.asarray(np.linalg.norm((rows - middle) / spread, axis=1))

    lines = {f"along direction {at + 1}": one for at, one in enumerate(directions(spread))}
    lines |= {f"along axis {at + 1}": one for at, one in enumerate(directions(np.ones_like(spread)))}
    readings = {name: (along(one), (float((means - middle) @ one), reference.n)) for name, one in lines.items()}
    found: dict[str, Score] = {}
    for name, (read, exact) in (readings | {"from the middle": (away, None)}).items():
        then = NumberSketch.fitted(read(usual))
        then.update(read(usual))
        if then.deviation > 0:
            for part, one in _parts_of_numbers(then, moves, errors, exact).items():
                found[f"{part} {name}"] = replace(one, of=_read(one, read, then))
    return found


def _read(score: Score, read: Callable[[Array], Array], like: NumberSketch) -> Scored:
    def scored(window: Sketch) -> tuple[Array, Array]:
        assert isinstance(window, VectorSketch)
        now = like.like()
        now.update(read(window.sample.astype(float)))
        return score.of(now)

    return scored

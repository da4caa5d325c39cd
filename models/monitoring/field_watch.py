"""Drift of one field as streams for a `JointAlarm`: a score per row between 0 and 1 whose mean has a limit.

A measure per window, looked at again and again, has no rate of false alarms. So each row is scored against the
reference alone, and a stream's limit is what the score's mean would be under a drift of `minimum_effect`, plus
`ERRORS` standard errors of the reference: its rows are counted once, in that margin, and their chance is never learnt
from again. While the field moves by no more than the minimum effect, the mean stays below the limit, and the alarm
keeps its rate.

A number's score is its place in the reference's distribution (0 the smallest, 1 the largest), and how far out that is;
a value's is whether it is a certain one of the frequent ones, or none of them. A vector has those of a number, for each
of its numbers.

Shape legend: N rows, B bins, D numbers of a vector.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from mlratchet.models.monitoring.drift import DIGESTS, LEAST_ROWS, jensen_shannon
from mlratchet.models.monitoring.sequential import Stream
from mlratchet.models.monitoring.sketches import NumberSketch, Sketch, ValueSketch, VectorSketch
from mlratchet.models.monitoring.sketches.kinds import arrow, numbers, vectors
from mlratchet.models.schema.fields import Kind

Array = np.ndarray[Any, Any]
Scored = Callable[[Array], Array]

ERRORS = 3.0  # standard errors of the reference in every limit
WATCHED = 8  # of a field's values, the most frequent
LARGEST_LIMIT = 0.98  # beyond, no mean could be told from it


@dataclass(frozen=True, kw_only=True)
class FieldWatch:
    """The streams of one field."""

    streams: Mapping[str, Stream]
    """Part -> its promise: `higher`, `lower`, `wider`, `narrower`, `missing`, `more 'red'`, `less 'red'`,
    `more others`."""
    scored: Mapping[str, Scored]
    """Part -> what scores rows that are there."""
    read: Callable[[Any], Array]
    """(N,) numbers, or (N, D) of vectors, NaN where missing; (N,) texts, None where missing."""

    def batches(self, column: Any, at_s: Any) -> dict[str, tuple[Array, Array]]:
        """Part -> (scores, moments in seconds since the epoch) of the (N,) rows of a column, for `JointAlarm.update`.
        A row that lacks the field counts in `missing` alone."""
        values, at_N = self.read(column), np.asarray(at_s, dtype=np.float64)
        if len(values) != len(at_N):
            raise ValueError(f"{len(values)} rows at {len(at_N)} moments")
        if values.dtype == object:
            given = np.asarray([one is not None for one in values], dtype=bool)
        else:
            given = np.asarray(~np.isnan(values) if values.ndim == 1 else np.isfinite(values).all(axis=1))
        kept, at_kept = values[given], at_N[given]
        found = {part: (scored(kept), at_kept) for part, scored in self.scored.items()}
        return found | ({"missing": ((~given).astype(float), at_N)} if "missing" in self.streams else {})


def watch_of(reference: Sketch, kind: Kind, *, minimum_effect: float) -> FieldWatch | None:
    """The streams of a field.

    Args:
        reference: The sketch of the reference's column.
        kind: Of the field.
        minimum_effect: In standard deviations of the reference for a number or a vector's numbers; else as a
            Jensen-Shannon distance.

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
        parts = _parts_of_vectors(reference, minimum_effect)
    streams = {part: Stream(limit=limit) for part, (limit, _) in parts.items() if limit <= LARGEST_LIMIT}
    missing = _limit_of_share(reference.missing / reference.rows, reference.rows, minimum_effect)
    return FieldWatch(
        scored={part: parts[part][1] for part in streams},
        streams=streams | ({"missing": Stream(limit=missing)} if missing <= LARGEST_LIMIT else {}),
        read=_reader(reference, kind),
    )


def _reader(reference: Sketch, kind: Kind) -> Callable[[Any], Array]:
    if isinstance(reference, NumberSketch):
        return lambda column: np.asarray(numbers(arrow(column), kind))
    if isinstance(reference, VectorSketch):
        return lambda column: np.asarray(vectors(arrow(column), reference.size))
    return _texts


def _texts(column: Any) -> Array:
    found = np.empty(len(column), dtype=object)
    found[:] = [None if one is None else str(one) for one in arrow(column).to_pylist()]
    return found


def _parts_of_numbers(reference: NumberSketch, effect: float) -> dict[str, tuple[float, Scored]]:
    share_B = reference.counts / reference.counts.sum()
    place_B = np.clip(
        np.cumsum(share_B) - share_B / 2, 0, 1
    )  # in the reference's distribution, equal values in the middle of theirs
    out_B = np.abs(2 * place_B - 1)
    held = share_B > 0
    axis, shares = reference.places[held], share_B[held]
    spread = reference.deviation or 1.0
    centre = reference.quantile(0.5)
    distance = float(shares @ np.abs(axis - centre)) or 1.0
    grown = 1 + effect * spread / distance  # a change of the spread whose Wasserstein distance is the effect

    def limit(scores_B: Array, moved: Array) -> float:
        scores = scores_B[reference.bins(moved)]
        error = float(np.sqrt(share_B @ (scores_B - share_B @ scores_B) ** 2 / reference.n))
        return max(float(shares @ scores) + ERRORS * error, ERRORS / reference.n)

    moved = {
        "higher": (place_B, axis + effect * spread),
        "lower": (1 - place_B, axis - effect * spread),
        "wider": (out_B, centre + (axis - centre) * grown),
        "narrower": (1 - out_B, centre + (axis - centre) / grown),
    }
    return {part: (limit(scores_B, to), _in_bins(reference, scores_B)) for part, (scores_B, to) in moved.items()}


def _in_bins(reference: NumberSketch, scores_B: Array) -> Scored:
    return lambda values: np.asarray(scores_B[reference.bins(values)])


def _limit_of_share(share: float, n: int, effect: float) -> float:
    """The largest share within a Jensen-Shannon distance of `effect` of this one, plus the reference's error."""
    error = ERRORS * math.sqrt(max(share * (1 - share), 1 / n) / n)
    low, high = share, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        p, q = np.asarray([[share, 1 - share]]), np.asarray([[middle, 1 - middle]])
        low, high = (middle, high) if float(jensen_shannon(p, q)[0]) < effect else (low, middle)
    return low + error


def _parts_of_values(reference: ValueSketch, effect: float) -> dict[str, tuple[float, Scored]]:
    frequent = sorted(reference.counts, key=lambda name: (-reference.counts[name], name))[:WATCHED]
    found: dict[str, tuple[float, Scored]] = {}
    for name in frequent:
        share = reference.counts[name] / reference.n
        found[f"more {name!r}"] = (_limit_of_share(share, reference.n, effect), _scores_of({name}, 1.0))
        found[f"less {name!r}"] = (_limit_of_share(1 - share, reference.n, effect), _scores_of({name}, 0.0))
    rest = max(0.0, 1 - sum(reference.counts[name] for name in frequent) / reference.n)
    found["more others"] = (_limit_of_share(rest, reference.n, effect), _scores_of(set(frequent), 0.0))
    return found


def _scores_of(names: set[str], inside: float) -> Scored:
    """`inside` for these values, 1 - `inside` for all others."""
    return lambda values: np.asarray([inside if one in names else 1 - inside for one in values], dtype=float)


def _parts_of_vectors(reference: VectorSketch, effect: float) -> dict[str, tuple[float, Scored]]:
    found: dict[str, tuple[float, Scored]] = {}
    for index in range(reference.size):
        column = reference.sample[:, index].astype(float)
        one = NumberSketch.fitted(column)
        one.update(column)
        if one.minimum < one.maximum:
            parts = _parts_of_numbers(one, effect)
            found |= {f"{part} at {index}": (limit, _at(index, scored)) for part, (limit, scored) in parts.items()}
    return found


def _at(index: int, scored: Scored) -> Scored:
    return lambda rows: scored(rows[:, index])


def joint_streams(watches: Mapping[str, FieldWatch]) -> dict[str, Stream]:
    """Of all fields, named `field: part`, for one `JointAlarm`."""
    return {f"{name}: {part}": stream for name, one in watches.items() for part, stream in one.streams.items()}


def joint_batches(
    watches: Mapping[str, FieldWatch], columns: Mapping[str, Any], at_s: Any
) -> dict[str, tuple[Array, Array]]:
    """Rows of all fields, for its `update`."""
    return {
        f"{name}: {part}": batch
        for name, one in watches.items()
        for part, batch in one.batches(columns[name], at_s).items()
    }

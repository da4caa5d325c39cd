"""Drift: how far a window is from its reference, as the size of an effect with an interval, never as a p value alone.

A p value grows with the rows: at ten million any trifle is significant. So each measure is a distance in a unit that
people can judge, its interval is by a bootstrap of both sides, and beside it stands what chance alone makes of as many
rows (the null of the same n). Nothing is said of fewer rows than a minimum.

Numbers: Wasserstein distance in standard deviations of the reference, by the bins of the sketch; beside it the
population stability index (Siddiqi 2006) in ten bins of equal shares. Values: Jensen-Shannon distance (Lin 1991; the
square root, in bits, so between 0 and 1), less what sampling adds. Vectors: how well a classifier tells the two apart,
2 AUC - 1 on rows that it was not fitted on (Lopez-Paz and Oquab 2017), and the squared maximum mean discrepancy
(Gretton et al. 2012) beside it. Intervals: basic bootstrap (Davison and Hinkley 1997, sec. 5.2), which takes off what sampling
adds to a distance; for Jensen-Shannon on the scale of its square, on which sampling adds the same to all.

Shape legend: R resamples, B bins.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from mlratchet.models.monitoring.domain import told_apart
from mlratchet.models.monitoring.sketches import NumberSketch, Sketch, ValueSketch, VectorSketch
from mlratchet.models.schema.fields import Kind

Array = np.ndarray[Any, Any]
Distance = Callable[[Array, Array], Array]
"""(R,) of two (R, B) tables of shares."""

LEAST_ROWS = 100  # given values on each side: below, chance alone looks like a drift
LEAST_ROWS_PSI = 1000  # with ten bins and 100 rows it exceeds 0.1 in 40 % of windows without any drift
PSI_BINS = 10
RESAMPLES = 200
NULL_LEVEL = 0.95
NAMED = 5  # new values
SMALLEST_SHARE = 1e-4  # of a bin, in a logarithm
DIGESTS: tuple[Kind, ...] = ("image", "audio", "tensor")  # logged by SHA-256, which says nothing of the content


@dataclass(frozen=True, kw_only=True)
class DriftEffect:
    """How far one column of a window is from the reference."""

    measure: str
    """`wasserstein`, `jensen_shannon`, `domain_classifier`, or `missing` where only that can be told."""
    effect: float
    """In standard deviations of the reference for `wasserstein`, else between 0 and 1; NaN: nothing can be said."""
    interval: tuple[float, float]
    """Of the effect, at 95 %; NaN where nothing can be said."""
    null_quantile: float
    """What chance makes of as many rows in 95 % of windows without a drift."""
    n: int
    """Values that are there in the window."""
    n_reference: int
    missing: float = 0.0
    """Change of the share that is missing."""
    missing_interval: tuple[float, float] = (0.0, 0.0)
    new: tuple[str, ...] = ()
    """Values that the reference does not have, the most frequent first."""
    new_share: float | None = None
    """Of the window's values; None: it cannot be told."""
    beside: Mapping[str, float] = field(default_factory=dict)
    """Other measures by name: `psi`, `jensen_shannon`, `mmd2`, `mean`, `deviation`."""
    doubt: str = ""
    """Why nothing is said; empty where something is."""

    @property
    def least(self) -> float:
        """The lower end of the interval: the drift that there is at least. 0 where nothing can be said."""
        return 0.0 if math.isnan(self.interval[0]) else self.interval[0]

    def to_json(self) -> dict[str, Any]:
        """As JSON values; what is not a number is null."""
        return {name: _plain(value) for name, value in asdict(self).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    return {name: _plain(one) for name, one in value.items()} if isinstance(value, dict) else value


def drift(reference: Sketch, window: Sketch, kind: Kind, *, seed: int, minimum_rows: int = LEAST_ROWS) -> DriftEffect:
    """How far a window is from its reference.

    Args:
        reference: The reference's sketch.
        window: The window's, made `like` the reference's.
        kind: Of the field.
        seed: Of the resampling; the same gives the same.
        minimum_rows: Given values that each side needs.

    Raises ``ValueError`` for sketches of different forms.
    """
    if type(reference) is not type(window):
        raise ValueError(f"a window of {window.form} cannot be compared with a reference of {reference.form}")
    rng = np.random.default_rng(seed)
    few = min(reference.n, window.n)
    if few < minimum_rows:
        return _nothing(reference, window, f"{few} values, expected {minimum_rows} or more on each side")
    if isinstance(reference, NumberSketch) and isinstance(window, NumberSketch):
        return _of_numbers(reference, window, rng)
    if isinstance(reference, VectorSketch) and isinstance(window, VectorSketch):
        return _of_vectors(reference, window, rng)
    assert isinstance(reference, ValueSketch)
    assert isinstance(window, ValueSketch)
    if kind in DIGESTS:
        return _nothing(reference, window, "digests say nothing of the content; see the drift of `prepared`")
    return _of_values(reference, window, rng)


def _common(reference: Sketch, window: Sketch) -> dict[str, Any]:
    shares = [one.missing / one.rows if one.rows else 0.0 for one in (reference, window)]
    change = shares[1] - shares[0]
    # Agresti and Caffo (2000): two rows more on each side, one of them missing
    error = 0.0
    for one in (reference, window):
        share = (one.missing + 1) / (one.rows + 2)
        error += share * (1 - share) / (one.rows + 2)
    half = 1.96 * math.sqrt(error)
    return {
        "n": window.n, "n_reference": reference.n,
        "missing": change, "missing_interval": (change - half, change + half),
    }  # fmt: skip


def _nothing(reference: Sketch, window: Sketch, doubt: str) -> DriftEffect:
    nan = math.nan
    return DriftEffect(
        measure="missing", effect=nan, interval=(nan, nan), null_quantile=nan, doubt=doubt,
        **_common(reference, window),
    )  # fmt: skip


def _resampled(counts: Array, rng: np.random.Generator, *, of: Array | None = None) -> Array:
    """(R, B) shares of as many draws as there are counts; `of`: counts whose shares are drawn from instead."""
    n, source = int(counts.sum()), counts if of is None else of
    return rng.multinomial(n, source / source.sum(), size=RESAMPLES) / n


def _compared(
    reference: Array, window: Array, distance: Distance, rng: np.random.Generator
) -> tuple[float, Array, Array]:
    """Of a distance between (B,) counts: what it is, (R,) what it is for resamples of both, and (R,) by chance."""
    effect = float(distance((reference / reference.sum())[None], (window / window.sum())[None])[0])
    pooled = reference / reference.sum() + window / window.sum()
    drawn = distance(_resampled(reference, rng), _resampled(window, rng))
    chance = distance(_resampled(reference, rng, of=pooled), _resampled(window, rng, of=pooled))
    return effect, drawn, chance


def _reflected(effect: float, drawn: Array) -> tuple[float, float]:
    """As far as resamples are above the effect, as far the effect is above the truth."""
    low, high = np.quantile(drawn, [0.025, 0.975])
    return max(0.0, float(2 * effect - high)), max(0.0, float(2 * effect - low))


def _of_numbers(reference: NumberSketch, window: NumberSketch, rng: np.random.Generator) -> DriftEffect:
    places, ours, theirs = _on_one_axis(reference, window)
    spread = reference.deviation or (reference.maximum - reference.minimum) or window.deviation or 1.0
    steps = np.diff(places) / spread

    def wasserstein(p: Array, q: Array) -> Array:
        """(R,) of (R, B) shares."""
        return np.asarray(np.abs(np.cumsum(p - q, axis=1)[:, :-1]) @ steps)

    beside = {"mean": window.mean - reference.mean, "deviation": window.deviation - reference.deviation}
    p, q = _in_equal_shares(ours), _in_equal_shares(ours, theirs)
    beside["jensen_shannon"] = float(jensen_shannon(p[None], q[None])[0])
    if min(reference.n, window.n) >= LEAST_ROWS_PSI:
        beside["psi"] = population_stability_index(p, q)
    effect, drawn, chance = _compared(ours, theirs, wasserstein, rng)
    low, high = _reflected(effect, drawn)
    return DriftEffect(
        measure="wasserstein", effect=effect, interval=(min(low, effect), max(high, effect)),
        null_quantile=float(np.quantile(chance, NULL_LEVEL)), beside=beside, **_common(reference, window),
    )  # fmt: skip


def _on_one_axis(reference: NumberSketch, window: NumberSketch) -> tuple[Array, Array, Array]:
    """(B,) ascending places that either has values at, with the counts of both."""
    places = np.concatenate([reference.places, window.places])
    held = np.concatenate([reference.counts, window.counts]) > 0
    places, where = np.unique(places[held], return_inverse=True)
    side = np.concatenate([np.zeros(len(reference.counts), dtype=bool), np.ones(len(window.counts), dtype=bool)])[held]
    counts = np.concatenate([reference.counts, window.counts])[held]
    ours, theirs = (np.bincount(where[side == one], counts[side == one], len(places)) for one in (False, True))
    return places, ours, theirs


def _in_equal_shares(reference: Array, counts: Array | None = None) -> Array:
    """Shares in ten bins that hold about equal shares of the reference."""
    below = (np.cumsum(reference) - reference / 2) / reference.sum()
    bins = np.minimum((below * PSI_BINS).astype(int), PSI_BINS - 1)
    found = np.bincount(bins, reference if counts is None else counts, PSI_BINS)
    return np.asarray(found / found.sum())


def population_stability_index(p: Array, q: Array) -> float:
    """Of two rows of shares; an empty bin counts as a share of 1 in 10,000."""
    p, q = np.maximum(p, SMALLEST_SHARE), np.maximum(q, SMALLEST_SHARE)
    return float(((p - q) * np.log(p / q)).sum())


def jensen_shannon(p: Array, q: Array) -> Array:
    """(R,) distances of (R, B) shares: 0 for equal ones, 1 for such that share nothing."""
    return np.asarray(np.sqrt(_divergence(p, q)))


def _divergence(p: Array, q: Array) -> Array:
    """(R,) Jensen-Shannon divergences in bits."""
    middle = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = [np.where(one > 0, one * np.log2(one / middle), 0.0).sum(axis=1) for one in (p, q)]
    return np.asarray(np.clip(sum(parts) / 2, 0.0, 1.0))


def _of_values(reference: ValueSketch, window: ValueSketch, rng: np.random.Generator) -> DriftEffect:
    new: tuple[str, ...] = ()
    share: float | None = None
    if reference.whole:
        unseen = {name: count for name, count in window.counts.items() if name not in reference.counts}
        new = tuple(sorted(unseen, key=lambda name: (-unseen[name], name))[:NAMED])
        share = sum(unseen.values()) / window.n if window.whole else None
    if reference.whole and window.whole:
        names = sorted({*reference.counts, *window.counts})
        ours, theirs = (np.asarray([one.counts.get(name, 0) for name in names]) for one in (reference, window))
    else:
        ours, theirs = reference.buckets, window.buckets
        held = (ours + theirs) > 0
        ours, theirs = ours[held], theirs[held]
    square, drawn, chance = _compared(ours, theirs, _divergence, rng)
    low, high = _reflected(square, drawn)
    return DriftEffect(
        measure="jensen_shannon", effect=_root(2 * square - float(drawn.mean())), interval=(_root(low), _root(high)),
        null_quantile=_root(float(np.quantile(chance - chance.mean(), NULL_LEVEL))), new=new, new_share=share,
        **_common(reference, window),
    )  # fmt: skip


def _root(square: float) -> float:
    return math.sqrt(min(1.0, max(0.0, square)))


def _of_vectors(reference: VectorSketch, window: VectorSketch, rng: np.random.Generator) -> DriftEffect:
    found = told_apart(reference.sample.astype(float), window.sample.astype(float), rng)
    return DriftEffect(
        measure="domain_classifier", effect=found.effect, interval=found.interval,
        null_quantile=found.null_quantile, beside={"mmd2": found.mmd2, "mmd2_null_quantile": found.mmd2_null_quantile},
        **_common(reference, window),
    )  # fmt: skip


def ranked(effects: Mapping[str, DriftEffect], attributions: Mapping[str, float]) -> list[tuple[str, float]]:
    """Fields by what their drift can do to the answers: the drift that there is at least, times the share of the
    attributions that the field has; of a field without one, as if all had equal shares. The largest first."""
    total = sum(abs(value) for name, value in attributions.items() if name in effects)
    weights = {name: abs(attributions[name]) / total for name in effects if name in attributions and total}
    found = {name: one.least * weights.get(name, 1 / len(effects)) for name, one in effects.items()}
    return sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))

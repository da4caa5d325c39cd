"""`non_inferiority`, `superiority`, `relative`, `anchor`: the candidate against another version, row by row."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Literal

from mlratchet.models.gates.checks.base import Statistical
from mlratchet.models.gates.checks.case import Case
from mlratchet.models.gates.intervals import gain_of
from mlratchet.models.gates.result import CheckResult, Part, Verdict, not_applicable, unknown
from mlratchet.models.metrics.rows import RowOutputs
from pydantic import Field

VersionNumber = Annotated[int, Field(ge=1)]


class NonInferiorityCheck(Statistical):
    """The candidate is at most `margin` worse than the champion, re-scored now on the same rows (paired)."""

    kind: Literal["non_inferiority"]
    metric: str
    margin: float = Field(gt=0)
    """In the metric's unit."""


class SuperiorityCheck(Statistical):
    """The candidate is better than the champion on the same rows (paired)."""

    kind: Literal["superiority"]
    metric: str
    margin: float = Field(default=0.0, ge=0)
    """Better by more than this, in the metric's unit."""


class RelativeCheck(Statistical):
    """The candidate is at most `margin` worse than a named version, re-scored now on the same rows (paired)."""

    kind: Literal["relative"]
    metric: str
    version: VersionNumber | Literal["previous"]
    """A version's number, or `previous`: the champion before this one."""
    margin: float = Field(ge=0)
    compare: Literal["estimate", "interval"] = "interval"
    """`estimate`: the difference itself, without its error, must hold the margin."""


class AnchorCheck(Statistical):
    """Cumulative drift: at most `maximum_loss` worse than a fixed version, however many small losses lie between."""

    kind: Literal["anchor"]
    metric: str
    version: VersionNumber | Literal["first"] = "first"
    """`first`: the first champion of the ledger."""
    maximum_loss: float = Field(gt=0)
    """In the metric's unit."""


PairedCheck = NonInferiorityCheck | SuperiorityCheck | RelativeCheck | AnchorCheck
NO_CHAMPION = "no champion yet; bootstrap rule: absolute checks alone decide"


def judge_paired(check: NonInferiorityCheck | SuperiorityCheck, case: Case) -> CheckResult:
    """Against the champion, scored now on the same rows."""
    floor = 0.0 - check.margin if isinstance(check, NonInferiorityCheck) else check.margin
    if case.first_model:
        return not_applicable(check.kind, check.metric, _threshold(floor, "the champion"), NO_CHAMPION)
    return _against(check, case, case.evidence.champion, "champion", floor, "interval")


def judge_relative(check: RelativeCheck, case: Case) -> CheckResult:
    """Against a named version, scored now on the same rows."""
    version = case.evidence.previous_version if check.version == "previous" else check.version
    if check.version == "previous" and (case.first_model or version == 0):
        why = NO_CHAMPION if case.first_model else "the ledger has no champion before this one"
        return not_applicable(check.kind, check.metric, _threshold(0.0 - check.margin, "the previous champion"), why)
    return _against_version(check, case, version, "previous champion", 0.0 - check.margin, check.compare)


def judge_anchor(check: AnchorCheck, case: Case) -> CheckResult:
    """Against a fixed version: the loss since then, not since the last promotion."""
    if check.version == "first" and case.first_model:
        return not_applicable(check.kind, check.metric, _threshold(-check.maximum_loss, "the first"), NO_CHAMPION)
    version = case.evidence.anchor_version if check.version == "first" else check.version
    return _against_version(check, case, version, "first champion", -check.maximum_loss, "interval")


def _threshold(floor: float, whom: str) -> str:
    return f"> {floor:g} against {whom}"


def _against_version(
    check: RelativeCheck | AnchorCheck,
    case: Case,
    version: int | None,
    unnamed: str,
    floor: float,
    compare: Literal["estimate", "interval"],
) -> CheckResult:
    who = f"version {version}" if version else unnamed
    if not version:
        return unknown(check.kind, check.metric, _threshold(floor, who), f"it is not known which the {unnamed} is")
    rows = case.evidence.versions.get(version)
    if rows is None and case.first_model:
        return not_applicable(check.kind, check.metric, _threshold(floor, who), NO_CHAMPION)
    return _against(check, case, rows, who, floor, compare)


def _against(
    check: PairedCheck,
    case: Case,
    theirs: RowOutputs | None,
    who: str,
    floor: float,
    declared: Literal["estimate", "interval"],
) -> CheckResult:
    """The gain over `who` must lie above `floor`, as must its lower bound unless an estimate is asked for."""
    threshold = _threshold(floor, who if who.startswith("version") else f"the {who}")
    if check.metric not in case.metrics:
        return unknown(check.kind, check.metric, "?", f"unknown metric; there are {', '.join(case.metrics)}")
    pair = case.compared(check.metric, theirs, who)
    if isinstance(pair, str):
        return unknown(check.kind, check.metric, threshold, pair)
    metric, common = pair.metric, pair.common
    confidence = case.confidence(check)
    two_sided = 2 * confidence - 1  # each end is then a one-sided bound at `confidence`
    found = gain_of(metric, common.ours, common.theirs, resamples=case.resamples(check, confidence), seed=check.seed)
    interval, compare = found.interval(two_sided), case.compare(declared)
    if found.why or (compare == "interval" and interval is None):
        return unknown(check.kind, check.metric, threshold, found.why or found.span(two_sided), found.n)
    verdict, words = verdict_of(found.value, interval, floor, compare)
    bound = f", bound ({100 * confidence:.4g} %) {interval[0]:+.4f}" if compare == "interval" and interval else ""
    return CheckResult(
        kind=check.kind,
        metric=check.metric,
        verdict=verdict,
        reason=(
            f"{check.metric}: gain over {threshold.split('against ')[1]} {found.value:+.4f}{bound} {words} {floor:g} "
            f"(n={found.n}{common.words}{found.detail}, {found.span(two_sided)})"
        ),
        threshold=threshold,
        value=found.value,
        interval=interval,
        n=found.n,
        method=found.bounds.method,
        seed=found.seed,
        parts=alone_of(case, common.alone),
    )


def alone_of(case: Case, alone: Mapping[str, int]) -> tuple[Part, ...]:
    """A slice of its own per class or label that only the candidate knows, with its accuracy or recall there."""
    ours, names = case.evidence.candidate, case.class_names
    parts = []
    for name, n in alone.items():
        place, share = names.index(name), None
        if ours is not None and n:
            hit = ours.output[:, place] > 0 if ours.y.ndim == 2 else ours.output.argmax(axis=1) == place
            of_it = ours.y[:, place] > 0 if ours.y.ndim == 2 else ours.y == place
            share = float(hit[of_it].mean())
        label = f"only the candidate knows {name} (recall)"
        parts.append(Part(label=label, verdict="not_applicable", n=n, value=share))
    return tuple(parts)


def verdict_of(
    gain: float, interval: tuple[float, float] | None, floor: float, compare: Literal["estimate", "interval"]
) -> tuple[Verdict, str]:
    """`pass` when surely above the floor, `fail` when surely below, else inconclusive; and the relation in words."""
    if compare == "estimate" or interval is None:
        holds = gain >= floor or math.isclose(gain, floor, abs_tol=1e-12)
        return ("pass", ">=") if holds else ("fail", "<")
    if interval[0] > floor:
        return "pass", ">"
    return ("fail", "surely <") if interval[1] < floor else ("inconclusive", "not surely >")

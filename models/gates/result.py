"""What judging gives: one result per check, one verdict per gate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["pass", "fail", "inconclusive", "not_applicable"]


@dataclass(frozen=True, kw_only=True)
class Part:
    """One slice or group of a check."""

    label: str
    verdict: Verdict
    n: int
    value: float | None = None
    interval: tuple[float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """One check: what was found, what was asked, and why the verdict."""

    kind: str
    metric: str  # what was looked at: a metric, a measure or a property of the artifact
    verdict: Verdict
    reason: str
    threshold: str
    value: float | None = None  # None: could not be computed
    interval: tuple[float, float] | None = None
    interval_level: float | None = None  # two-sided confidence of the interval, 0 to 1
    n: int = 0
    method: str = ""
    seed: int | None = None
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, kw_only=True)
class GateResult:
    """`pass` only if every applicable check passes and there is at least one."""

    gate: str
    verdict: Verdict
    checks: tuple[CheckResult, ...]
    holdout_uses: int | None = None  # how often these test rows had gated before; None: not known
    bootstrap: bool = False  # there was no champion: absolute checks alone decided


def unknown(kind: str, metric: str, threshold: str, why: str, n: int = 0) -> CheckResult:
    """Inconclusive: what the check needs is missing, undefined or not a number."""
    return CheckResult(
        kind=kind, metric=metric, verdict="inconclusive", reason=f"{metric}: {why}", threshold=threshold, n=n
    )


def not_applicable(kind: str, metric: str, threshold: str, why: str) -> CheckResult:
    """The check asks nothing of this candidate."""
    return CheckResult(
        kind=kind, metric=metric, verdict="not_applicable", reason=f"{metric}: {why}", threshold=threshold
    )


def bound_words(minimum: float | None, maximum: float | None, unit: str = "") -> str:
    """``>= 0.9`` or ``<= 50 ms``."""
    return f">= {minimum:g}{unit}" if minimum is not None else f"<= {maximum:g}{unit}"


def against_bound(
    kind: str,
    name: str,
    value: float | None,
    n: int,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    unit: str = "",
    detail: str = "",
    method: str = "measured",
) -> CheckResult:
    """A measured value against one bound. Nothing measured, over nothing or not finite: inconclusive."""
    threshold = bound_words(minimum, maximum, unit)
    bound = minimum if minimum is not None else maximum
    if value is None or not math.isfinite(value) or bound is None or not math.isfinite(bound):
        return unknown(kind, name, threshold, "not measured" if value is None else f"measured {value}", n)
    if n < 0:
        return unknown(kind, name, threshold, f"measured over {n}", 0)
    holds = value >= bound if minimum is not None else value <= bound
    relation = threshold.split(" ")[0] if holds else ("<" if minimum is not None else ">")
    tail = f" ({detail})" if detail else ""
    return CheckResult(
        kind=kind,
        metric=name,
        verdict="pass" if holds else "fail",
        reason=f"{name} {value:.6g} {relation} {bound:g}{unit} (n={n}){tail}",
        threshold=threshold,
        value=value,
        n=n,
        method=method,
    )

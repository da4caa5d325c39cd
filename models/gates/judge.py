"""Judge: a pure function of policy and evidence. It fails closed: what is missing, unknown or not a number
never passes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from mlratchet.models.approval.standing import standing
from mlratchet.models.evaluation.metrics import Metric, metrics_for
from mlratchet.models.evaluation.statistics import Interval, bootstrap, paired_bootstrap, tango, wilson
from mlratchet.models.gates.checks.absolute import AbsoluteCheck
from mlratchet.models.gates.checks.approval import ApprovalCheck
from mlratchet.models.gates.checks.artifact import ContractCheck, LatencyCheck, ParityCheck, SizeCheck
from mlratchet.models.gates.checks.data import DataCheck
from mlratchet.models.gates.checks.paired import NonInferiorityCheck, SuperiorityCheck
from mlratchet.models.gates.evidence import Evidence, LiveReplay
from mlratchet.models.gates.result import CheckResult, GateResult, Verdict

LEAST_BOOTSTRAP_ROWS = 30  # below it a percentile bootstrap says nothing


def judge(
    gate: str,
    checks: Sequence[Any],
    evidence: Evidence,
    *,
    first_model: bool,
    task: str,
    class_names: tuple[str, ...],
) -> GateResult:
    """Judge the checks of one gate. `first_model`: there is no champion, the bootstrap rule applies."""
    results = tuple(_check(check, evidence, first_model, metrics_for(task, class_names)) for check in checks)
    applicable = [result.verdict for result in results if result.verdict != "not_applicable"]
    verdict: Verdict = "pass"
    if "fail" in applicable:
        verdict = "fail"
    elif not applicable or any(v != "pass" for v in applicable):
        verdict = "inconclusive"
    return GateResult(
        gate=gate, verdict=verdict, checks=results, holdout_uses=evidence.holdout_uses, bootstrap=first_model
    )


def _check(check: Any, evidence: Evidence, first_model: bool, metrics: dict[str, Metric]) -> CheckResult:
    if isinstance(check, DataCheck):
        return _data(check, evidence)
    if isinstance(check, ApprovalCheck):
        return _approval(check, evidence)
    if isinstance(check, ContractCheck) and evidence.live is not None:
        return _live(check, evidence.live)
    if isinstance(check, LatencyCheck):
        live = evidence.live  # probation: of whole requests
        return _bounded(
            check.kind,
            f"latency_{check.quantile}",
            (live.latency_ms if live is not None else evidence.latency_ms).get(check.quantile),
            live.n if live is not None else evidence.latency_n,
            None,
            check.maximum_milliseconds,
            " ms",
        )
    if isinstance(check, SizeCheck):
        size = None if evidence.size_bytes is None else evidence.size_bytes / 1e6
        return _bounded(check.kind, "size", size, 1, None, check.maximum_megabytes, " MB")
    if isinstance(check, ParityCheck):
        return _bounded(
            check.kind,
            "parity",
            evidence.parity_max_difference,
            evidence.parity_n,
            None,
            check.maximum_difference,
            "",
        )
    if not isinstance(check, AbsoluteCheck | NonInferiorityCheck | SuperiorityCheck):
        return _missing(check.kind, getattr(check, "metric", check.kind), "?", "there is no judge for this kind yet")
    metric = metrics.get(check.metric)
    if metric is None:
        return _missing(check.kind, check.metric, "?", f"unknown metric; there are {', '.join(metrics)}")
    if isinstance(check, AbsoluteCheck):
        return _absolute(check, metric, evidence)
    return _relative(check, metric, evidence, first_model)


def _missing(kind: str, metric: str, threshold: str, why: str, n: int = 0) -> CheckResult:
    return CheckResult(
        kind=kind, metric=metric, verdict="inconclusive", reason=f"{metric}: {why}", threshold=threshold, n=n
    )


def _bounded(
    kind: str,
    name: str,
    value: float | None,
    n: int,
    minimum: float | None,
    maximum: float | None,
    unit: str,
    detail: str = "",
) -> CheckResult:
    bound, sign = (minimum, ">=") if minimum is not None else (maximum, "<=")
    threshold = f"{sign} {bound:g}{unit}"
    if value is None or not math.isfinite(value) or bound is None or not math.isfinite(bound):
        return _missing(kind, name, threshold, "not measured" if value is None else f"measured {value}", n)
    holds = value >= bound if minimum is not None else value <= bound
    relation = sign if holds else ("<" if minimum is not None else ">")
    tail = f" ({detail})" if detail else ""
    return CheckResult(
        kind=kind,
        metric=name,
        verdict="pass" if holds else "fail",
        reason=f"{name} {value:.6g} {relation} {bound:g}{unit} (n={n}){tail}",
        threshold=threshold,
        value=value,
        n=n,
        method="measured",
    )


def _approval(check: ApprovalCheck, evidence: Evidence) -> CheckResult:
    threshold = f"{check.minimum} of {', '.join(check.approvers)} ({check.require})"
    asked = evidence.approval
    if asked is None or asked.subject.version != evidence.version:
        return _missing(check.kind, "approval", threshold, "nobody was asked about this version")
    found = standing(check, asked)
    return CheckResult(
        kind=check.kind,
        metric="approval",
        verdict=found.verdict,
        reason=f"approval: {found.reason}",
        threshold=threshold,
        value=float(len(found.counted)),
        n=len(asked.statements),
        method="signed statements",
    )


def _live(check: ContractCheck, live: LiveReplay) -> CheckResult:
    threshold = f"no failures in >= {check.minimum_requests} requests"
    if live.n < check.minimum_requests:
        return _missing(check.kind, "contract", threshold, f"{live.n} requests were replayed", live.n)
    failed = "; ".join(live.failures)
    return CheckResult(
        kind=check.kind,
        metric="contract",
        verdict="fail" if live.failures else "pass",
        reason=f"contract: {failed or 'every answer is the recorded one'} (n={live.n})",
        threshold=threshold,
        value=float(len(live.failures)),
        n=live.n,
        method="requests to the live server",
    )


def _data(check: DataCheck, evidence: Evidence) -> CheckResult:
    measure = evidence.data_measures.get(check.measure)
    if measure is None:
        bound = f">= {check.minimum:g}" if check.minimum is not None else f"<= {check.maximum:g}"
        return _missing(check.kind, check.measure, bound, "not measured for this kind of data")
    return _bounded(
        check.kind, check.measure, measure.value, measure.n, check.minimum, check.maximum, "", measure.detail
    )


def _correct(rows: Any) -> Any:
    return rows.output.argmax(axis=1) == rows.y


def _absolute(check: AbsoluteCheck, metric: Metric, evidence: Evidence) -> CheckResult:
    rows = evidence.candidate
    bound = check.minimum if check.minimum is not None else check.maximum
    threshold = f"{'>=' if check.minimum is not None else '<='} {bound:g}"
    if rows is None:
        return _missing(check.kind, check.metric, threshold, "the candidate was not scored")
    estimate = metric.estimate(rows)
    if not math.isfinite(estimate.value):
        return _missing(check.kind, check.metric, threshold, estimate.reason, estimate.n)
    if metric.name == "accuracy":
        interval = wilson(int(_correct(rows).sum()), estimate.n, check.confidence)
    else:
        interval = bootstrap(metric, rows, confidence=check.confidence, resamples=2000, seed=0)
    if check.compare == "interval":
        value = interval.low if check.minimum is not None else interval.high
        few = metric.name != "accuracy" and estimate.n < LEAST_BOOTSTRAP_ROWS
        if few or interval.undefined or not math.isfinite(value):
            return _missing(check.kind, check.metric, threshold, f"no interval from {estimate.n} rows", estimate.n)
    else:
        value = estimate.value
    holds = value >= check.minimum if check.minimum is not None else value <= (check.maximum or 0.0)
    what = "estimate" if check.compare == "estimate" else f"{check.confidence:.0%} bound"
    relation = {True: threshold, False: f"{'<' if check.minimum is not None else '>'} {bound:g}"}[holds]
    return CheckResult(
        kind=check.kind,
        metric=check.metric,
        verdict="pass" if holds else "fail",
        reason=f"{check.metric} {what} {value:.4f} {relation} (n={estimate.n}, {_span(interval)})",
        threshold=threshold,
        value=estimate.value,
        interval=(interval.low, interval.high) if math.isfinite(interval.low) else None,
        n=estimate.n,
        method=interval.method,
        seed=0 if metric.name != "accuracy" else None,
    )


def _span(interval: Interval) -> str:
    return f"interval {interval.low:.4f} to {interval.high:.4f}, {interval.method}"


def _relative(
    check: NonInferiorityCheck | SuperiorityCheck, metric: Metric, evidence: Evidence, first_model: bool
) -> CheckResult:
    margin = check.margin if isinstance(check, NonInferiorityCheck) else 0.0
    threshold = f"> {-margin:g} against the champion"
    if first_model:
        return CheckResult(
            kind=check.kind,
            metric=check.metric,
            verdict="not_applicable",
            reason=f"{check.metric}: no champion yet; bootstrap rule: absolute checks alone decide",
            threshold=threshold,
        )
    ours, theirs = evidence.candidate, evidence.champion
    if ours is None or theirs is None:
        who = "candidate" if ours is None else "champion"
        return _missing(check.kind, check.metric, threshold, f"the {who} was not scored on these rows")
    if ours.ids != theirs.ids or not np.array_equal(ours.y, theirs.y):
        return _missing(check.kind, check.metric, threshold, "the two were not scored on the same rows")
    a, b = metric.estimate(ours), metric.estimate(theirs)
    if not (math.isfinite(a.value) and math.isfinite(b.value)):
        return _missing(check.kind, check.metric, threshold, a.reason or b.reason, a.n)
    two_sided = 2 * check.confidence - 1  # each end is then a one-sided bound at `confidence`
    if metric.name == "accuracy":
        right, champion_right = _correct(ours), _correct(theirs)
        gained, lost = int((right & ~champion_right).sum()), int((~right & champion_right).sum())
        interval = tango(gained, lost, a.n, two_sided)
        pairs = f", {gained} gained and {lost} lost"
    elif a.n < LEAST_BOOTSTRAP_ROWS:
        return _missing(check.kind, check.metric, threshold, f"{a.n} rows are too few for a bootstrap", a.n)
    else:
        interval = paired_bootstrap(
            metric, ours, theirs, confidence=two_sided, resamples=check.resamples, seed=check.seed
        )
        pairs = ""
    return _compare(check, metric, a.value - b.value, interval, margin, threshold, a.n, pairs)


def _compare(
    check: NonInferiorityCheck | SuperiorityCheck,
    metric: Metric,
    difference: float,
    interval: Interval,
    margin: float,
    threshold: str,
    n: int,
    pairs: str,
) -> CheckResult:
    sign = 1.0 if metric.direction == "higher" else -1.0
    worst = interval.low if sign > 0 else -interval.high  # gain of the candidate, at the bad end
    best = interval.high if sign > 0 else -interval.low
    if not (math.isfinite(worst) and math.isfinite(best)) or interval.undefined:
        return _missing(check.kind, check.metric, threshold, f"undefined in {interval.undefined} resamples", n)
    verdict: Verdict = "inconclusive"
    if worst > -margin:
        verdict = "pass"
    elif best < -margin:
        verdict = "fail"
    words = {"pass": ">", "fail": "surely <", "inconclusive": "not surely >"}[verdict]
    return CheckResult(
        kind=check.kind,
        metric=check.metric,
        verdict=verdict,
        reason=(
            f"{check.metric}: gain over the champion {sign * difference:+.4f}, {check.confidence:.0%} bound "
            f"{worst:+.4f} {words} {-margin:g} (n={n}{pairs}, {_span(interval)})"
        ),
        threshold=threshold,
        value=sign * difference,
        interval=(worst, best),
        n=n,
        method=interval.method,
        seed=check.seed if "bootstrap" in interval.method else None,
    )

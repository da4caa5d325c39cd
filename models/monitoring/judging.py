"""From what was measured to what is found: pure rules, each with its reason in words.

Alarms come from one place alone: the joint alarm over every stream that can act, whose rate of false alarms is stated.
What is seen in one window against a threshold is a warning, however large it is: it may ask a person or start a request
for labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mlratchet.models.inference_log.columns import FIELD
from mlratchet.models.moments import utc
from mlratchet.models.monitoring.actions import ACTS, CALIBRATION_ALARM, ActionRule
from mlratchet.models.monitoring.asking_again import SHIFT, moved_most
from mlratchet.models.monitoring.calibration import MEANT
from mlratchet.models.monitoring.config import MonitoringConfig
from mlratchet.models.monitoring.finding import Finding, FindingKind, Severity, WindowSpan, at_least
from mlratchet.models.monitoring.measure.calibration import CALIBRATION
from mlratchet.models.monitoring.measure.calibration import MOST as MOST_UNCALIBRATED
from mlratchet.models.monitoring.measure.column_evidence import (
    REFUSED,
    field_of_missing,
    missing_subject,
    most_missing,
)
from mlratchet.models.monitoring.measure.columns import ColumnDrift, column_of_input, figure_of
from mlratchet.models.monitoring.measure.estimate import MARK
from mlratchet.models.monitoring.measure.requested import name_of_all
from mlratchet.models.monitoring.measure.service import MOST_REFUSED
from mlratchet.models.monitoring.reference import Promise, Reference
from mlratchet.models.monitoring.sequential import Sounded
from mlratchet.models.monitoring.window import Figure

BURNING = 2.0  # times the objective, in this window and over the last ones together
MOST_DROPPED = 0.01  # share of the answers that are in no file of the log
TOLD_AGAIN_S = 86_400.0  # after which an alarm that goes on is told again
UNCALIBRATED = "outputs:calibration"  # the warning of one window, beside the alarm of the calibration
LEAST_SHARE = 0.2  # of the statistic of an alarm, for a stream to be named beside the one that leads

# Begins every alarm's method. It changes with the limits, the figures and the words of alarms, and with when they are
# told: one that was raised by another is not computed again, and not called wrong.
ALARM_METHOD = "Shiryaev-Roberts e-detector over all streams and windows together, against no change, anytime-valid"
WINDOW_METHOD = "one window against a threshold"
INTERVAL_METHOD = "interval of one window, not anytime-valid"


@dataclass(frozen=True, kw_only=True)
class Concern:
    """Something to tell, before it is a document."""

    kind: FindingKind
    subject: str
    severity: Severity
    measure: str
    words: str
    threshold: str
    method: str
    n: int
    effect: float | None = None
    interval: tuple[float, float] | None = None
    reference: str = ""
    """What it was compared with; empty: the test rows."""
    evidence: Mapping[str, str] = field(default_factory=dict)
    """What it rests on beside them -> its digest."""

    @property
    def key(self) -> str:
        """What goes on from window to window under one name."""
        return f"{self.kind}:{self.subject}"


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Where and against what the concerns of one window arose."""

    pipeline: str
    version: int
    generation: int
    window: WindowSpan
    config: MonitoringConfig
    reference_digest: str
    before: str  # digest of the window record before
    label_files: tuple[str, ...] = field(default=())


def finding_of(concern: Concern, scene: Scene) -> Finding:
    """The document."""
    evidence = {"window_before": scene.before} if scene.before else {}
    evidence |= {"reference": scene.reference_digest} if scene.reference_digest else {}
    evidence |= concern.evidence
    evidence |= {f"labels_{at + 1}": sha256 for at, sha256 in enumerate(scene.label_files)}
    return Finding(
        pipeline=scene.pipeline, version=scene.version, generation=scene.generation, window=scene.window,
        kind=concern.kind, subject=concern.subject, severity=concern.severity, measure=concern.measure,
        effect=concern.effect, interval=concern.interval, n=concern.n, threshold=concern.threshold,
        method=concern.method, words=concern.words, evidence=evidence,
        reference=concern.reference or (f"test rows of version {scene.version}" if scene.reference_digest else ""),
        policy=scene.config.digest(), at_s=scene.window.to_s,
    )  # fmt: skip


def new_of(
    concerns: list[Concern], still_open: Mapping[str, Mapping[str, Any]], *, at_s: float,
    rules: Sequence[ActionRule] = (),
) -> tuple[list[Concern], dict[str, dict[str, Any]]]:  # fmt: skip
    """Those that are told now, and what is open after this window.

    A condition that goes on is told once, and again when it becomes worse. An alarm takes the place of a warning of the
    same in the same window; one that goes on is told again after a day, sooner only where a rule may act on it again.
    """
    told: list[Concern] = []
    after: dict[str, dict[str, Any]] = {}
    alarmed = {one.key for one in concerns if one.severity == "alarm"}
    for one in concerns:
        if one.key in alarmed and one.severity != "alarm":
            continue
        known = after.get(one.key) or still_open.get(one.key)
        worse = known is None or not at_least(known["severity"], one.severity)
        since = known["since_s"] if known is not None else at_s
        told_s = known.get("told_s", since) if known is not None else at_s  # records of before say no such moment
        again = one.severity == "alarm" and at_s - told_s >= _again_s(one, rules)
        if worse or again:
            told_s = at_s
            if not (one.key == UNCALIBRATED and CALIBRATION_ALARM in alarmed):
                told.append(one)
        severity = one.severity if worse or known is None else known["severity"]
        after[one.key] = {"since_s": since, "told_s": told_s, "severity": severity, "words": one.words}
    return told, after


def _again_s(alarm: Concern, rules: Sequence[ActionRule]) -> float:
    """Seconds after which an alarm that goes on is told again."""
    acting = [one.cooldown for one in rules if one.do in ACTS and one.is_about(alarm.key, "alarm")]
    return min([TOLD_AGAIN_S, *acting])


def alarms(
    sounded: list[Sounded], figures: Mapping[str, Figure], promises: Mapping[str, Promise], config: MonitoringConfig,
    concerns: list[Concern],
) -> list[Concern]:  # fmt: skip
    """An alarm and what it is about: the stream that leads, and those that have a large part in it."""
    first: dict[str, Sounded] = {}  # a change that goes on sounds again and again in one window: it is told once
    for one in sounded:
        for stream in sorted(one.shares, key=lambda name: (-one.shares[name], name)):
            if stream == one.leading or one.shares[stream] >= LEAST_SHARE:
                first.setdefault(stream, one)
    return [_alarm(stream, one, figures, promises, config, concerns) for stream, one in first.items()]


def _alarm(
    stream: str, sounded: Sounded, figures: Mapping[str, Figure], promises: Mapping[str, Promise],
    config: MonitoringConfig, concerns: list[Concern],
) -> Concern:  # fmt: skip
    kind, _, subject = stream.partition("/")
    beside = UNCALIBRATED if stream == MEANT else f"{kind}:{subject}"
    same = next((one for one in concerns if one.key == beside), None)
    name = _figure_of(stream)
    figure = figures.get(name)
    threshold = _threshold(stream, promises, config)
    rate = f"at most {config.false_alarms_per_year:g} false alarm(s) a year"
    moved = f"{subject} moved: {sounded.parts.get(stream, 'changed')}"
    if figure is not None and kind in ("inputs", "outputs"):
        moved += f", by {span(figure)} in this window"
    told = _told(stream, subject, figure, promises, same) or moved
    effect = figure.value if figure is not None else (same.effect if same is not None else None)
    interval = _interval(figure) if figure is not None else (same.interval if same is not None else None)
    return Concern(
        kind=kind,  # type: ignore[arg-type]  # streams are named by the kinds of findings
        subject=subject, severity="alarm", measure=_measure_of(stream, figure, same), effect=effect,
        interval=interval, n=figure.n if figure is not None else (same.n if same is not None else 0),
        threshold=threshold, method=f"{ALARM_METHOD}; {rate}", words=f"{told} (alarm at {utc(sounded.at_s)})",
    )  # fmt: skip


def _figure_of(stream: str) -> str:
    """The figure that says how large it is what a stream is about; a field may be called as another figure is."""
    kind, _, subject = stream.partition("/")
    if kind in ("inputs", "outputs"):
        return figure_of(kind, subject)
    if kind == "data" and subject != REFUSED:
        return f"missing {field_of_missing(subject)}"
    return {MEANT: CALIBRATION, "service/latency": "slow"}.get(stream, subject)


def _measure_of(stream: str, figure: Figure | None, same: Concern | None) -> str:
    """What the effect of an alarm is a value of."""
    kind, _, subject = stream.partition("/")
    if same is not None and (figure is None or kind != "service"):  # those are told by how fast they burn
        return same.measure
    if kind in ("inputs", "outputs"):
        return (figure.method if figure is not None else "") or subject
    return "missing" if kind == "data" and subject != REFUSED else _figure_of(stream)


def _threshold(stream: str, promises: Mapping[str, Promise], config: MonitoringConfig) -> str:
    kind, _, subject = stream.partition("/")
    if stream in promises:
        return f"{promises[stream].bound:.4g}, by {promises[stream].by}"
    return {
        "service/errors": f"<= {config.errors:g} of the requests",
        "service/latency": f"{config.latency_share:g} of the requests within {config.latency_ms or 0:g} ms",
        "data/refused": f"<= {MOST_REFUSED:g} of the requests",
    }.get(stream, _most_drift(kind, subject, config) if kind in ("inputs", "outputs") else "as the test rows")


def _most_drift(kind: str, subject: str, config: MonitoringConfig) -> str:
    field = column_of_input(subject).removeprefix(FIELD) if kind == "inputs" else subject
    return f"effect <= {config.effect_of(field):g}"


def _told(
    stream: str, subject: str, figure: Figure | None, promises: Mapping[str, Promise], same: Concern | None
) -> str:
    if stream in promises:
        now = f": {span(figure)} in this window" if figure is not None else ""
        return f"{subject} is worse than {promises[stream].bound:.4g}{now}"
    if same is not None:
        return same.words
    drifts = stream.startswith(("inputs/", "outputs/"))
    return f"{subject}: {span(figure)}" if figure is not None and not drifts else ""


def span(figure: Figure) -> str:
    """`0.81 (0.77 to 0.85, n=312)`."""
    ends = f"{figure.low:.4g} to {figure.high:.4g}, " if figure.low is not None and figure.high is not None else ""
    return f"{figure.value:.4g} ({ends}n={figure.n})"


def _interval(figure: Figure) -> tuple[float, float] | None:
    return (figure.low, figure.high) if figure.low is not None and figure.high is not None else None


def of_drift(found: list[ColumnDrift], config: MonitoringConfig, importance: Mapping[str, float]) -> list[Concern]:
    """Columns whose drift is surely above what matters, ranked by what the model relies on times how far they moved."""
    even = 1 / max(1, len(importance) or len(found))

    def weight(one: ColumnDrift) -> float:
        relied = one.reliance(importance)
        return (even if relied is None else relied) * one.found.effect

    concerns = []
    for one in sorted(found, key=lambda each: (-weight(each), each.column)):
        low, high = one.found.interval
        least = config.effect_of(one.field)
        if one.field in config.ignore or one.found.least <= least:
            continue
        share = one.reliance(importance)
        relied = f"; the model relies on it for {share:.0%}" if share is not None else ""
        moved = f": {one.moved}" if one.moved else ""
        concerns.append(
            Concern(
                kind="outputs" if one.is_output else "inputs",
                subject=one.subject, severity="warning", measure=one.found.measure, effect=one.found.effect,
                interval=(low, high), n=one.found.n, threshold=f"<= {least:g}", method=INTERVAL_METHOD,
                words=f"{one.field} drifted by {one.found.effect:.3g} ({low:.3g} to {high:.3g}){moved}{relied}",
            )
        )  # fmt: skip
    return concerns


def of_reliance(figures: Mapping[str, Figure], config: MonitoringConfig) -> list[Concern]:
    """That the answers of this window rest on other fields than those of the test rows."""
    moved = figures.get(SHIFT)
    if config.sample is None or moved is None or moved.low is None or moved.low <= config.sample.reliance:
        return []
    return [
        Concern(
            kind="outputs", subject=SHIFT, severity="warning", measure="total_variation", effect=moved.value,
            interval=_interval(moved), n=moved.n, threshold=f"<= {config.sample.reliance:g}", method=INTERVAL_METHOD,
            words=f"the answers rest on other fields, {span(moved)} moved: {moved_most(figures)}",
        )
    ]  # fmt: skip


def of_calibration(figures: Mapping[str, Figure], reference: Reference) -> list[Concern]:
    """That a confidence means another thing than on the test rows; the estimate without labels rests on it."""
    moved = figures.get(CALIBRATION)
    if moved is None or moved.low is None or moved.low <= MOST_UNCALIBRATED:
        return []
    ece, then = figures.get("ece"), reference.figures.get("ece")
    errors = f"; ece {span(ece)}, {then.value:.3g} on the test rows" if ece is not None and then is not None else ""
    return [
        Concern(
            kind="outputs", subject="calibration", severity="warning", measure=CALIBRATION, effect=moved.value,
            interval=_interval(moved), n=moved.n, threshold=f"<= {MOST_UNCALIBRATED:g}", method=INTERVAL_METHOD,
            words=f"confidences mean another thing: right answers are {span(moved)} from what they meant{errors}",
        )
    ]  # fmt: skip


def of_missing(now: Mapping[str, Figure], reference: Reference) -> list[Concern]:
    """Fields that are given less often than in the test rows."""
    concerns = []
    for name, figure in sorted(now.items()):
        then, most = reference.missing.get(name), most_missing(reference, name)
        if figure.low is not None and figure.low > most:
            concerns.append(
                Concern(
                    kind="data", subject=missing_subject(name), severity="warning", measure="missing",
                    effect=figure.value,
                    interval=_interval(figure), n=figure.n, threshold=f"<= {most:.3g}",
                    method=INTERVAL_METHOD,
                    words=f"{name} is missing in {figure.value:.1%} of the rows, "
                    f"{then.value if then else 0.0:.1%} of the test rows",
                )
            )  # fmt: skip
    return concerns


def of_quality(figures: Mapping[str, Figure], promises: Mapping[str, Promise], lower: bool) -> list[Concern]:
    """Metrics that are worse than promised in this window, and the estimate where there are no labels.

    `lower`: a lower value is better.
    """
    concerns = []
    for stream, promise in promises.items():
        subject = stream.partition("/")[2]
        figure = figures.get(subject)
        if figure is not None and _is_beyond(figure, promise, lower=lower):
            concerns.append(_worse(subject, figure, promise, INTERVAL_METHOD, ""))
    estimate = figures.get("estimated_accuracy")
    first = next(iter(promises.values()), None)
    of_all = figures.get(name_of_all(first.metric)) if first is not None else None
    if first is not None and of_all is not None and _is_beyond(of_all, first, lower=lower):
        concerns.append(_worse(name_of_all(first.metric), of_all, first, of_all.method, ""))
    if estimate is None or estimate.high is None or first is None or first.metric != "accuracy":
        return concerns
    if first.metric not in figures and estimate.high < first.bound:  # without labels
        concerns.append(_worse("estimated_accuracy", estimate, first, MARK, f", {MARK}"))
    return concerns


def _is_beyond(figure: Figure, promise: Promise, *, lower: bool) -> bool:
    """Whether all of an interval is on the worse side of what was promised."""
    if figure.low is None or figure.high is None:
        return False
    return figure.low > promise.bound if lower else figure.high < promise.bound


def _worse(subject: str, figure: Figure, promise: Promise, method: str, tail: str) -> Concern:
    return Concern(
        kind="quality", subject=subject, severity="warning", measure=promise.metric, effect=figure.value,
        interval=_interval(figure), n=figure.n, threshold=f"{promise.bound:.4g}, by {promise.by}", method=method,
        words=f"{subject} {span(figure)} is worse than {promise.bound:.4g}, by {promise.by}{tail}",
    )  # fmt: skip


def of_service(
    figures: Mapping[str, Figure], earlier: Sequence[Mapping[str, Figure]], config: MonitoringConfig, refusals: str
) -> list[Concern]:
    """Objectives that burn in this window and over the last ones together, refusals and losses of the log."""
    concerns = []
    for name, subject, threshold in (
        ("error_burn", "errors", f"<= {config.errors:g} of the requests"),
        ("latency_burn", "latency", f"{config.latency_share:g} within {config.latency_ms or 0:g} ms"),
    ):
        figure = figures.get(name)
        past = [one[name] for one in (*earlier, figures) if name in one]
        over = sum(one.value * one.n for one in past) / max(1, sum(one.n for one in past))
        if figure is not None and figure.n and figure.value >= BURNING and over >= BURNING / 2:
            share = figures["errors" if subject == "errors" else "slow"]
            concerns.append(
                Concern(
                    kind="service", subject=subject, severity="warning", measure=name, effect=figure.value,
                    interval=None, n=figure.n, threshold=threshold, method=WINDOW_METHOD,
                    words=f"{subject}: {span(share)} of the requests, {figure.value:.1f} times what is allowed",
                )
            )  # fmt: skip
    for name, kind, most, told in (
        ("refused", "data", MOST_REFUSED, f"of the requests were refused{refusals}"),
        ("dropped", "service", MOST_DROPPED, "of the answers are in no file of the log"),
    ):
        figure = figures.get(name)
        if figure is not None and figure.low is not None and figure.low > most:
            concerns.append(
                Concern(
                    kind=kind,  # type: ignore[arg-type]  # one of the two above
                    subject=name, severity="warning", measure=name, effect=figure.value, interval=_interval(figure),
                    n=figure.n, threshold=f"<= {most:g}", method=INTERVAL_METHOD, words=f"{figure.value:.1%} {told}",
                )
            )  # fmt: skip
    return concerns


def of_log(problems: tuple[str, ...], rows: int) -> list[Concern]:
    """A stretch of which something is missing: nothing else is said of it."""
    if not problems:
        return []
    more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
    return [
        Concern(
            kind="data", subject="log", severity="warning", measure="whole", n=rows, threshold="no gap",
            method="chains of the log, verified",
            words=f"the log of this window is not whole, and nothing is said of it: {problems[0][:300]}{more}",
        )
    ]  # fmt: skip

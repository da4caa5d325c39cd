"""One window of the log, measured and judged: a pure function of its rows, the reference and the record before it.

Whoever has the log computes the same again: the monitor after a restart, and `ratchet finding ID --verify`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from mlratchet.models.evaluation.statistics.proportions import clopper_pearson
from mlratchet.models.inference_log.columns import FIELD, hashed_columns
from mlratchet.models.inference_log.labels import LabelRequest
from mlratchet.models.inference_log.reading import UnreadableFileError
from mlratchet.models.metrics.base import Metric
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.monitoring import judging
from mlratchet.models.monitoring.asking_again import Asks, drawn, figures_of, relied_on, with_most_fields
from mlratchet.models.monitoring.calibration import CALIBRATION_STREAM, MEANT, calibration_values
from mlratchet.models.monitoring.comparing import compared
from mlratchet.models.monitoring.config import MonitoringConfig
from mlratchet.models.monitoring.cutting import Edges
from mlratchet.models.monitoring.finding import Finding, WindowSpan
from mlratchet.models.monitoring.hardware import slower_than_usual
from mlratchet.models.monitoring.measure.answers import (
    TaskFacts,
    confidences_of,
    labelled_rows,
    outputs_of,
)
from mlratchet.models.monitoring.measure.calibration import CALIBRATION, calibration_drift
from mlratchet.models.monitoring.measure.column_evidence import column_streams, evidence_of
from mlratchet.models.monitoring.measure.columns import (
    ColumnDrift,
    drift_figure,
    drifts,
    kept,
    missing_share,
    sketches_of,
    together,
)
from mlratchet.models.monitoring.measure.disagreement import OTHERS, disagreements, remember_answers
from mlratchet.models.monitoring.measure.estimate import estimated_accuracy
from mlratchet.models.monitoring.measure.quality import Slice, measure_quality, name_on
from mlratchet.models.monitoring.measure.requested import measure_requested, name_of_all
from mlratchet.models.monitoring.measure.service import Values, measure_service, requests_of, service_limits
from mlratchet.models.monitoring.past import PastWindow
from mlratchet.models.monitoring.reference import Promise, Reference
from mlratchet.models.monitoring.sequential import AnyStream, Stream
from mlratchet.models.monitoring.sketches import Sketch, sketch_from_json
from mlratchet.models.monitoring.state import WatchState
from mlratchet.models.monitoring.window import Figure, WindowRecord

RECENT = 6  # windows before, for what burns
NUMBER = re.compile(r"\d+(\.\d+)?|'[^']*'|\"[^\"]*\"")  # of a message, which differ from request to request


@dataclass(frozen=True, kw_only=True)
class Watched:
    """The version that is watched, and what it is compared with."""

    pipeline: str
    version: int
    generation: int
    facts: TaskFacts
    metrics: Sequence[Metric]
    reference: Reference
    reference_digest: str
    after_s: float
    """Seconds after its request by which a label counts."""
    ask: Asks | None = None
    """Asks the programs again about a sample of rows; None: nobody is asked."""


@dataclass(frozen=True, kw_only=True)
class WindowRows:
    """What the log holds of a window."""

    edges: Edges
    tables: Iterable[pa.Table]  # rows of all versions and variants, file after file; read once
    files: tuple[str, ...] = ()  # SHA-256
    problems: tuple[str, ...] = ()
    dropped: int = 0
    label_span_s: tuple[float, float] = (0.0, 0.0)  # rows whose label is due in this window
    label_table: pa.Table | None = None  # those rows
    labels: pa.Table | None = None  # of them, as `inference_log.labels` joins them
    due: int = 0
    label_files: tuple[str, ...] = ()  # SHA-256
    requests: tuple[LabelRequest, ...] = ()  # for labels


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A window, looked at."""

    record: WindowRecord
    findings: tuple[Finding, ...]
    drifts: tuple[ColumnDrift, ...] = field(default=())


def measure_window(
    rows: WindowRows, watched: Watched, before: WindowRecord | None, earlier: Sequence[WindowRecord],
    config: MonitoringConfig, *, number: int, past: Sequence[PastWindow] = (),
) -> Measured:  # fmt: skip
    """Measure, judge, and carry the state on.

    Args:
        rows: Of the window.
        watched: The version that is measured; rows of others are counted.
        before: The record before it, whose state is gone on with; None for the first.
        earlier: Records of this version before it, oldest first, for what is usual.
        config: The policy.
        number: Of the record.
        past: What it is compared with beside the test rows.
    """
    taken = _take_up(rows, watched, config.sample.rows if config.sample is not None and watched.ask else 0)
    problems = (*rows.problems, *taken.problems)
    span = WindowSpan(
        from_s=rows.edges[0], to_s=rows.edges[1], rows=taken.counts["all"], files=rows.files, whole=not problems
    )
    state = WatchState.after(before, watched, config, started_s=span.from_s, streams=streams_of(watched, config))
    found = _measure(rows, taken, watched, state, config)
    concerns = judging.of_log(problems, span.rows)
    if not problems:
        if taken.sample is not None and watched.ask is not None:
            found.figures |= figures_of(watched.ask(taken.sample))
        concerns = _concerns(found, taken, watched, earlier, config)
        beside = compared(
            past, taken.sketches, found.figures, watched.reference, config, version=watched.version,
            lower=_is_better_lower(watched), importance=importance_of(watched.reference, found.figures),
        )  # fmt: skip
        found.figures |= beside.figures
        concerns += beside.concerns
        sounded = state.alarm.update({name: (one.values, one.at_s) for name, one in found.streams.items()})
        promises = promises_of(watched.reference)
        concerns += judging.alarms(sounded, found.figures, promises, config, concerns)
    still_open = before.open if before is not None and before.version == watched.version else {}
    told, after = judging.new_of(concerns, still_open, at_s=span.from_s, rules=config.actions)
    scene = judging.Scene(
        pipeline=watched.pipeline, version=watched.version, generation=watched.generation, window=span,
        config=config, reference_digest=watched.reference_digest,
        before=before.digest() if before is not None else "", label_files=rows.label_files,
    )  # fmt: skip
    findings = tuple(judging.finding_of(one, scene) for one in told)
    record = WindowRecord(
        pipeline=watched.pipeline, number=number, before=scene.before, version=watched.version,
        generation=watched.generation, window=span, labels_to_s=rows.label_span_s[1], problems=problems,
        counts=dict(taken.counts) | dict(found.counts), figures=found.figures, sketches=kept(taken.sketches),
        state=state.to_json(), open=after, findings=tuple(one.id for one in findings),
        reference=watched.reference_digest, policy=config.digest(), compared_with=tuple(one.words for one in past),
    )  # fmt: skip
    return Measured(record=record, findings=findings, drifts=tuple(found.drifts))


@dataclass(kw_only=True)
class _Taken:
    """What one pass over the rows keeps, in constant size but for three numbers per request."""

    counts: Counter[str]
    sketches: dict[str, Sketch]
    requests: pa.Table
    confidence: np.ndarray[Any, Any]
    refusals: Counter[str]
    disagreed: Counter[str]
    sample: pa.Table | None
    problems: tuple[str, ...]


REQUEST_COLUMNS = ("row", "received_s", "latency_ms", "status")


def _take_up(rows: WindowRows, watched: Watched, sampled: int) -> _Taken:
    counts: Counter[str] = Counter()
    refusals: Counter[str] = Counter()
    parts: list[Mapping[str, Sketch]] = []
    requests: list[pa.Table] = []
    sure: list[np.ndarray[Any, Any]] = []
    answers: dict[str, dict[tuple[str, int], str]] = {"champion": {}, **{name: {} for name in OTHERS}}
    problems: list[str] = []
    sample: pa.Table | None = None
    for table in _readable(rows.tables, problems):
        counts["all"] += table.num_rows
        remember_answers(table, answers)
        clients = table.filter(pc.and_(pc.equal(table["variant"], "champion"), pc.invert(table["replayed"])))
        requests.append(requests_of(clients).select(REQUEST_COLUMNS))
        failed = clients.filter(pc.and_(pc.greater_equal(clients["status"], 400), pc.less(clients["status"], 500)))
        refusals.update(_kind_of(words) for words in failed["error"].to_pylist() if words)
        ours = pc.and_(pc.equal(clients["version"], watched.version), pc.equal(clients["status"], 200))
        answered = clients.filter(ours).drop_columns(hashed_columns(clients.schema))
        counts["rows"] += answered.num_rows
        counts["other_versions"] += int(pc.sum(pc.not_equal(clients["version"], watched.version)).as_py() or 0)
        if answered.num_rows:
            if sampled:
                sample = drawn(with_most_fields(sample, answered), sampled)
            parts.append(sketches_of(answered, watched.reference, watched.facts))
            held = confidences_of(outputs_of(answered["output"], watched.facts)[0], watched.facts)
            if held is not None:
                sure.append(held)
    together_s = pa.concat_tables(requests).sort_by("received_s") if requests else _no_requests()
    return _Taken(
        counts=counts, sketches=together(parts), requests=together_s, refusals=refusals,
        confidence=np.concatenate(sure) if sure else np.zeros(0), disagreed=disagreements(answers),
        sample=sample, problems=tuple(problems),
    )  # fmt: skip


def _readable(tables: Iterable[pa.Table], problems: list[str]) -> Iterator[pa.Table]:
    """Up to the first file that is not the one which its record names."""
    try:
        yield from tables
    except UnreadableFileError as error:
        problems.append(str(error))


def _no_requests() -> pa.Table:
    types = (pa.int32(), pa.float64(), pa.float32(), pa.int16())
    return pa.schema(list(zip(REQUEST_COLUMNS, types, strict=True))).empty_table()


def _kind_of(words: str) -> str:
    """A message without what differs from request to request."""
    return NUMBER.sub("…", words)[:120]


@dataclass(kw_only=True)
class _Found:
    figures: dict[str, Figure]
    streams: dict[str, Values]
    counts: dict[str, int]
    drifts: list[ColumnDrift]
    missing: dict[str, Figure]


def _measure(rows: WindowRows, taken: _Taken, watched: Watched, state: WatchState, config: MonitoringConfig) -> _Found:
    service = measure_service(taken.requests, config, dropped=rows.dropped)
    found = _Found(
        figures=dict(service.figures), streams=dict(service.streams), counts=dict(service.counts), drifts=[], missing={}
    )
    then = {name: sketch_from_json(one) for name, one in watched.reference.sketches.items()}
    found.drifts = drifts(then, taken.sketches, watched.reference.kinds, least=config.windows.minimum_rows)
    for one in found.drifts:
        low, high = one.found.interval
        found.figures[drift_figure(one.column)] = Figure(
            value=one.found.effect, low=low, high=high, n=one.found.n, method=one.found.measure
        )
    moved = {one.column: one.found.least > config.effect_of(one.field) for one in found.drifts}
    evidence = evidence_of(watched.reference, config, taken.sketches, moved)
    found.streams |= {name: Values(values=one, at_s=np.asarray([rows.edges[1]])) for name, one in evidence.items()}
    _measure_missing(found, taken, watched)
    _measure_answers(found, taken, state)
    if rows.label_table is not None and rows.labels is not None and not rows.problems and not taken.problems:
        _measure_quality(found, rows, watched, state, config)
    found.streams = {name: one for name, one in found.streams.items() if name in state.alarm.streams}
    return found


def _measure_missing(found: _Found, taken: _Taken, watched: Watched) -> None:
    for name in watched.reference.missing:
        sketch = taken.sketches.get(FIELD + name)
        if sketch is not None and sketch.rows:
            ends = clopper_pearson(sketch.missing, sketch.rows, confidence=0.95)
            found.missing[name] = Figure(
                value=missing_share(sketch), low=ends.low, high=ends.high, n=sketch.rows, method="Clopper-Pearson, 95 %"
            )
            if sketch.missing:
                found.figures[f"missing {name}"] = found.missing[name]


def _measure_answers(found: _Found, taken: _Taken, state: WatchState) -> None:
    if len(taken.confidence):
        found.figures["confidence"] = Figure(value=float(taken.confidence.mean()), n=len(taken.confidence))
    if state.reliability is not None:
        estimate = estimated_accuracy(taken.confidence, state.reliability)
        if estimate is not None:
            found.figures["estimated_accuracy"] = estimate
    for name in OTHERS:
        asked = taken.disagreed[f"{name}_asked"]
        if asked:
            ends = clopper_pearson(taken.disagreed[name], asked, confidence=0.95)
            found.figures[f"disagreement {name}"] = Figure(
                value=taken.disagreed[name] / asked, low=ends.low, high=ends.high, n=asked, method="Clopper-Pearson"
            )


def _measure_quality(
    found: _Found, rows: WindowRows, watched: Watched, state: WatchState, config: MonitoringConfig
) -> None:
    assert rows.label_table is not None
    assert rows.labels is not None
    promises = watched.reference.promises
    slices = [Slice(column=one.column, value=one.value) for one in promises if one.column]
    metric = watched_metric(watched)
    labelled = labelled_rows(
        rows.label_table, rows.labels, watched.facts, after_s=watched.after_s, due=rows.due,
        columns=sorted({one.column for one in slices}), not_before_s=rows.edges[0],
    )  # fmt: skip
    quality = measure_quality(labelled, watched.metrics, metric, slices, least=config.quality.minimum_labels)
    found.figures |= quality.figures
    found.streams |= quality.streams
    if MEANT in state.alarm.streams and watched.reference.reliability is not None:
        found.streams |= calibration_values(labelled, watched.reference.reliability, watched.facts)
    found.counts["labelled"] = len(labelled.rows.ids)
    if metric is None:
        return
    overall = quality.streams.get(f"quality/{metric.name}")
    if overall is not None:
        found.figures[f"{metric.name}_since_promotion"] = state.bound(metric, overall.values)
    asked_for = measure_requested(
        rows.label_table, rows.labels, rows.requests, watched.facts, metric, watched.reference.promises[0],
        state.reliability, version=watched.version,
    )  # fmt: skip
    if asked_for is not None:
        found.figures[name_of_all(metric.name)] = asked_for
    _measure_calibration(found, labelled.rows, watched)
    state.learn(labelled.rows, watched.facts)


def _measure_calibration(found: _Found, rows: RowOutputs, watched: Watched) -> None:
    """Against the reliability of the test rows as it was: what was learnt since follows a drift."""
    then, sure = watched.reference.reliability, confidences_of(rows.output, watched.facts)
    if then is not None and sure is not None and len(sure):
        figure = calibration_drift(sure, (rows.output.argmax(axis=1) == rows.y).astype(np.float64), then)
        if figure is not None:
            found.figures[CALIBRATION] = figure


def watched_metric(watched: Watched) -> Metric | None:
    """The one that was promised."""
    name = watched.reference.promises[0].metric if watched.reference.promises else ""
    return next((metric for metric in watched.metrics if metric.name == name), None)


def importance_of(reference: Reference, figures: Mapping[str, Figure]) -> Mapping[str, float]:
    """Field -> what the model relies on, on its test rows: as its gates judged it, else as it was asked again."""
    return reference.importance or relied_on(figures)


def _is_better_lower(watched: Watched) -> bool:
    metric = watched_metric(watched)
    return metric is not None and metric.direction == "lower"


def promises_of(reference: Reference) -> dict[str, Promise]:
    """Stream -> what was promised of it."""
    found = {}
    for one in reference.promises:
        part = Slice(column=one.column, value=one.value) if one.column else None
        found[f"quality/{name_on(one.metric, part)}"] = one
    return found


def streams_of(watched: Watched, config: MonitoringConfig) -> dict[str, AnyStream]:
    """Every stream of the alarm: all that can act is in it."""
    limits = service_limits(config)
    limits |= {stream: one.loss for stream, one in promises_of(watched.reference).items()}
    streams: dict[str, AnyStream] = {name: Stream(limit=limit) for name, limit in limits.items() if 0 < limit < 1}
    if watched.facts.logged.has_confidence and watched.reference.reliability is not None:
        streams[MEANT] = CALIBRATION_STREAM
    return column_streams(watched.reference, config) | streams


def _concerns(
    found: _Found, taken: _Taken, watched: Watched, earlier: Sequence[WindowRecord], config: MonitoringConfig
) -> list[judging.Concern]:
    most = taken.refusals.most_common(1)
    refusals = f", most of them with: {most[0][0]}" if most else ""
    recent = [one.figures for one in earlier[-RECENT:]]
    concerns = judging.of_quality(found.figures, promises_of(watched.reference), _is_better_lower(watched))
    concerns += judging.of_drift(found.drifts, config, importance_of(watched.reference, found.figures))
    concerns += judging.of_calibration(found.figures, watched.reference)
    concerns += judging.of_reliance(found.figures, config)
    concerns += judging.of_missing(found.missing, watched.reference)
    concerns += judging.of_service(found.figures, recent, config, refusals)
    slow = slower_than_usual(
        "answers", "latency_ms_p50", _history(earlier, "latency_ms_p50"), found.figures.get("latency_ms_p50"),
        config.hardware,
    )  # fmt: skip
    if slow is not None:
        concerns.append(
            judging.Concern(
                kind="hardware", subject=slow.subject, severity="warning", measure=slow.measure, effect=slow.times,
                n=slow.n, threshold=f"< {config.hardware.slower_by:g} times the usual", method="against its history",
                words=slow.words,
            )
        )  # fmt: skip
    return concerns


def _history(earlier: Sequence[WindowRecord], name: str) -> list[float]:
    return [one.figures[name].value for one in earlier if name in one.figures and one.window.whole]

"""The product's own alarm on the worlds of benchmarks/detectors_worlds.py, by the functions that the monitor calls."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from detectors_worlds import Window, World
from mlratchet.models.evaluation.statistics.proportions import clopper_pearson, wilson
from mlratchet.models.inference_log.columns import FIELD
from mlratchet.models.monitoring.calibration import CALIBRATION_STREAM as CALIBRATION
from mlratchet.models.monitoring.calibration import calibration_evidence
from mlratchet.models.monitoring.config import MonitoringConfig
from mlratchet.models.monitoring.measure.column_evidence import column_streams, evidence_of
from mlratchet.models.monitoring.measure.columns import CONFIDENCE, PREDICTION, PREPARED, drifts
from mlratchet.models.monitoring.measure.estimate import Reliability
from mlratchet.models.monitoring.measure.service import service_limits
from mlratchet.models.monitoring.reference import Reference
from mlratchet.models.monitoring.sequential import BETS, YEAR_S, AnyStream, JointAlarm, Stream
from mlratchet.models.monitoring.sketches import Sketch, of
from mlratchet.models.monitoring.window import Figure

Array = np.ndarray[Any, Any]
HOUR_S = 3600.0
YEAR = int(YEAR_S / HOUR_S)
LABELLED = 0.2  # share of the rows with a label
QUALITY, SURE = "quality/accuracy", "quality/calibration"


@dataclass(frozen=True, kw_only=True)
class Said:
    """What one window says to every stream."""

    evidence: Mapping[str, Array]  # stream -> (1, K)
    wrong: Array  # (n,)
    confidence: Array  # (n,)


@dataclass(frozen=True, kw_only=True)
class Ours:
    """The alarm of one world."""

    reference: Reference
    sketches: Mapping[str, Sketch]
    config: MonitoringConfig
    streams: Mapping[str, AnyStream]
    reliability: Reliability

    @classmethod
    def of(cls, world: World, *, rate: float, effect: float = 0.1) -> Ours:
        """Against the world's reference; `effect`: the least that matters."""
        columns = columns_of(world.reference)
        sketches = {name: of(values, kind) for name, (values, kind) in columns.items()}  # type: ignore[arg-type]  # kinds
        missing = {}
        for name, sketch in sketches.items():
            if name.startswith(FIELD):
                ends = clopper_pearson(sketch.missing, sketch.rows, confidence=0.95)
                missing[name.removeprefix(FIELD)] = Figure(value=0.0, low=ends.low, high=ends.high, n=sketch.rows)
        reference = Reference(
            pipeline=world.name, version=1, dataset="d", rows=len(world.reference.wrong), missing=missing,
            kinds={name: kind for name, (_, kind) in columns.items()},
            sketches={name: one.to_json() for name, one in sketches.items()},
        )  # fmt: skip
        config = MonitoringConfig(false_alarms_per_year=rate, minimum_effect=effect)
        limit = wilson(int(world.reference.wrong.sum()), len(world.reference.wrong), confidence=0.95).high
        service = {name: Stream(limit=one) for name, one in service_limits(config).items()}
        return cls(
            reference=reference, sketches=sketches, config=config,
            streams={**service, **column_streams(reference, config), QUALITY: Stream(limit=limit)},
            reliability=Reliability.of(world.reference.confidence, 1 - world.reference.wrong),
        )  # fmt: skip

    def said(self, window: Window, *, whole: bool) -> Said:
        """`whole`: with the measures of drift, which take most of the time."""
        columns = columns_of(window)
        now = {
            name: of(values, kind, like=self.sketches[name])  # type: ignore[arg-type]  # a kind of a field
            for name, (values, kind) in columns.items()
        }
        moved = {}
        if whole:
            least = self.config.windows.minimum_rows
            found = drifts(self.sketches, now, self.reference.kinds, least=least)
            moved = {one.column: one.found.least > self.config.effect_of(one.field) for one in found}
        evidence = evidence_of(self.reference, self.config, now, moved)
        return Said(evidence=evidence, wrong=window.wrong, confidence=window.confidence)

    def alarm(self, without: Iterable[str] = (), *, calibration: bool = False) -> JointAlarm:
        """One over all streams but those whose kind is named; `calibration`: with its stream."""
        kept = {name: one for name, one in self.streams.items() if name.partition("/")[0] not in tuple(without)}
        kept |= {SURE: CALIBRATION} if calibration else {}
        return JointAlarm(kept, false_alarms_per_year=self.config.false_alarms_per_year, started_s=0.0)

    def batches(self, alarm: JointAlarm, said: Sequence[Said], first: int, rng: np.random.Generator) -> dict[str, Any]:
        """Of windows one after the other, the first of which begins at hour `first`; each row has a label or not."""
        ends = HOUR_S * (first + 1 + np.arange(len(said)))
        found: dict[str, Any] = {
            name: (np.concatenate([one.evidence[name] for one in said]), ends)
            for name in alarm.streams if name in said[0].evidence
        }  # fmt: skip
        n = len(said[0].wrong)
        labelled = rng.random((len(said), n)) < LABELLED
        at = (HOUR_S * (first + np.arange(len(said)))[:, None] + HOUR_S * np.arange(1, n + 1) / n)[labelled]
        wrong = np.stack([one.wrong for one in said])[labelled]
        if QUALITY in alarm.streams:
            found[QUALITY] = (wrong, at)
        if SURE in alarm.streams:
            confidence = np.stack([one.confidence for one in said])[labelled]
            found[SURE] = (calibration_evidence(self.reliability, confidence, wrong), at)
        return found

    def windows_until(
        self, said: Sequence[Said], most: int, rng: np.random.Generator, **kinds: Any
    ) -> tuple[float, str]:
        """Windows until the alarm, drawn from those measured, and which stream led; infinite for none."""
        alarm = self.alarm(**kinds)
        for hour in range(most):
            found = alarm.update(self.batches(alarm, [said[rng.integers(len(said))]], hour, rng))
            if found:
                return hour + 1.0, found[0].leading
        return math.inf, ""

    def alarms_in(self, said: Sequence[Said], years: int, rng: np.random.Generator, **kinds: Any) -> Counter[str]:
        """Alarms over windows drawn from those measured, by the stream that led."""
        alarm, led = self.alarm(**kinds), Counter[str]()
        step = 500
        for first in range(0, years * YEAR, step):
            drawn = [said[at] for at in rng.integers(0, len(said), step)]
            led.update(one.leading for one in alarm.update(self.batches(alarm, drawn, first, rng)))
        return led

    def untrue_promises(self, quiet: Sequence[Said], usual: Window) -> set[str]:
        """Streams whose promise does not hold of rows without a change: what the reference said of itself is less than
        what is. `usual`: all rows that the windows are drawn from."""
        found = {QUALITY} if usual.wrong.mean() > self.streams[QUALITY].limit else set()  # type: ignore[union-attr]  # of rows
        for name in quiet[0].evidence:
            # the smallest stake is linear in (mean of the scores - limit)
            smallest = np.mean([one.evidence[name][0].reshape(-1, BETS)[:, -1] for one in quiet], axis=0)
            found |= {name} if smallest.max() > 0 else set()
        return found


def columns_of(window: Window) -> dict[str, tuple[Any, str]]:
    """As the log has them: column -> values, kind."""
    found: dict[str, tuple[Any, str]] = {
        FIELD + name: (column.tolist(), "category") if column.dtype == object else (column, "number")
        for name, column in window.fields.items()
    }
    if window.prepared is not None:
        found[PREPARED] = (window.prepared, "tensor")
    answers = [f"class {one}" for one in window.output.argmax(axis=1)]
    return found | {PREDICTION: (answers, "category"), CONFIDENCE: (window.confidence, "number")}

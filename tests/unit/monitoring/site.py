"""A pipeline whose log is made: rows whose truth is known, a reference of its test rows, and the monitor over both."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.identity.signed_records import RecordStore
from mlratchet.models.inference_log.config import LabelsConfig
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.monitoring.asking_again import Asks
from mlratchet.models.monitoring.collecting import LogSource
from mlratchet.models.monitoring.config import MonitoringConfig
from mlratchet.models.monitoring.following import look
from mlratchet.models.monitoring.look import Measured, Watched
from mlratchet.models.monitoring.measure.answers import TaskFacts
from mlratchet.models.monitoring.reference import Reference
from mlratchet.models.monitoring.referring import TestColumn, reference_of
from mlratchet.models.objectives.naming import objective_of
from mlratchet.models.schema.fields import Schema

from tests.unit.inference_log.logs import Log

MINUTE = 60.0
BEGIN_S = 1_800_000_000.0 // 3600 * 3600
CLASSES = ("no", "yes")
FACTS = TaskFacts(task="classification", classes=CLASSES)
SCHEMA = Schema.model_validate_json(
    """{"fields": {"price": {"kind": "number"}, "region": {"kind": "category", "values": ["eu", "us", "asia"]},
    "label": {"kind": "category", "values": ["no", "yes"]}}, "label": "label"}"""
)
CONFIG = MonitoringConfig.model_validate_json(
    '{"windows": {"seconds": 60, "minimum_rows": 100}, "latency_ms": 200, "every": 30}'
)


class Traffic:
    """Rows of one minute, with a truth."""

    def __init__(
        self, minute: int, *, rows: int = 240, accuracy: float = 0.95, shift: float = 0.0, regions: Any = None,
        labels: float = 1.0, errors: float = 0.0, missing: float = 0.0, latency_ms: float = 5.0, version: int = 1,
        variant: str = "champion", bad_region: str = "",
    ) -> None:  # fmt: skip
        rng = np.random.default_rng(minute)
        self.begin_s = BEGIN_S + minute * MINUTE
        y = rng.integers(0, 2, rows)
        region = rng.choice(["eu", "us", "asia"], rows, p=regions or [0.5, 0.3, 0.2])
        chance = np.where(region == bad_region, 0.4, accuracy)
        said = np.where(rng.random(rows) < chance, y, 1 - y)
        logit = np.abs(rng.normal(2.5, 0.8, rows))
        self.rows: list[dict[str, Any]] = []
        self.labels: list[tuple[str, int, str, float]] = []
        for at in range(rows):
            received = self.begin_s + (at + 0.5) * MINUTE / rows
            name = f"{variant[0]}{minute}-{at}"
            failed = rng.random() < errors
            output = [-float(logit[at]), float(logit[at])] if said[at] else [float(logit[at]), -float(logit[at])]
            self.rows.append(
                {
                    "received_s": received, "request_id": name, "version": version, "generation": version,
                    "status": 500 if failed else 200, "error": "out of memory" if failed else None,
                    "latency_ms": latency_ms * float(rng.uniform(0.8, 1.2)), "output": None if failed else output,
                    "field.price": None if rng.random() < missing else float(rng.normal(10 + shift, 2)),
                    "field.region": str(region[at]), "answer": '{"label": "x"}', "variant": variant,
                }
            )  # fmt: skip
            if rng.random() < labels and not failed:
                self.labels.append((name, 0, CLASSES[y[at]], received + 5.0))


def rows_of_the_test(count: int = 1200) -> tuple[RowOutputs, dict[str, TestColumn]]:
    """The champion's test rows."""
    rng = np.random.default_rng(99)
    y = rng.integers(0, 2, count)
    said = np.where(rng.random(count) < 0.95, y, 1 - y)
    logit = np.abs(rng.normal(2.5, 0.8, count))
    output = np.where(np.arange(2)[None] == said[:, None], logit[:, None], -logit[:, None])
    region = rng.choice(["eu", "us", "asia"], count, p=[0.5, 0.3, 0.2])
    rows = RowOutputs(ids=[str(at) for at in range(count)], y=y, output=output, columns={"region": region.tolist()})
    price = [float(one) for one in rng.normal(10, 2, count)]
    return rows, {
        "price": TestColumn(kind="number", values=price),
        "region": TestColumn(kind="category", values=region.tolist()),
    }


METRICS = [one for one in objective_of("classification").metrics(CLASSES) if one.name in ("accuracy", "brier")]


@cache
def reference_by(config: str, slices: tuple[str, ...]) -> Reference:
    """What was promised on the test rows, by a configuration as JSON: made once, since nobody changes one."""
    rows, columns = rows_of_the_test()
    return reference_of(
        "shop", 1, "d" * 64, rows, columns, FACTS, METRICS, MonitoringConfig.model_validate_json(config),
        slice_columns=slices, importance={"price": 0.7, "region": 0.3},
    )  # fmt: skip


class Site:
    """Log, reference and monitor of one pipeline."""

    def __init__(self, config: MonitoringConfig = CONFIG, *, slices: Sequence[str] = ("region",)) -> None:
        self.raw = MemoryStore("store")
        self.log = Log("shop", schema=SCHEMA, store=self.raw)
        self.store = RecordStore(self.raw, self.log.keys, now=lambda: BEGIN_S)
        self.config = config
        self.source = LogSource(
            store=self.raw, keys=self.log.keys, pipeline="shop", labels=LabelsConfig(after_hours=30 / 3600)
        )
        self.metrics = METRICS
        self.reference = reference_by(config.model_dump_json(), tuple(slices))
        self.now_s = BEGIN_S
        self.ask: Asks | None = None

    def serve(self, *minutes: Traffic) -> None:
        """Traffic that is written down, with its labels."""
        for one in minutes:
            self.log.write(one.rows, settled_s=one.begin_s + MINUTE)
            if one.labels:
                self.log.feedback(one.labels)
            self.now_s = max(self.now_s, one.begin_s + MINUTE + 1)

    def watched(self, version: int, generation: int, _digest: str = "") -> Watched:
        """What the rows of a version are compared with."""
        reference = self.reference.model_copy(update={"version": version})
        return Watched(
            pipeline="shop", version=version, generation=generation, facts=FACTS, metrics=self.metrics,
            reference=reference, reference_digest=reference.digest(), after_s=self.source.after_s,
            ask=self.ask,
        )  # fmt: skip

    def look(self, now_s: float | None = None, most: int | None = None) -> list[Measured]:
        """What the monitor does when it is started."""
        return look(
            self.source, self.store, self.config, self.watched, promoted_s=BEGIN_S, now_s=now_s or self.now_s,
            late_s=600.0, most=most,
        )  # fmt: skip

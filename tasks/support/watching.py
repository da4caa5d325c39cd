"""The version that is watched: what its rows are compared with, from the outputs and the dataset of its gates."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cache, cached_property, partial
from typing import Any

import numpy as np
from mlratchet.models.artifact.signature import Signature
from mlratchet.models.data.shards import load_split
from mlratchet.models.decisions.decision import load_decision
from mlratchet.models.decisions.gate_run import list_gate_runs
from mlratchet.models.errors import RatchetError
from mlratchet.models.gates.checks.slices import SliceCheck
from mlratchet.models.inference_log.config import LabelsConfig
from mlratchet.models.inference_log.projection import projected
from mlratchet.models.metrics.rows import load_rows
from mlratchet.models.monitoring.collecting import LogSource
from mlratchet.models.monitoring.config import MonitoringConfig
from mlratchet.models.monitoring.look import Watched
from mlratchet.models.monitoring.measure.answers import TaskFacts
from mlratchet.models.monitoring.reference import Reference, load_reference, publish_reference
from mlratchet.models.monitoring.referring import TestColumn, reference_of
from mlratchet.models.monitoring.window import newest_window
from mlratchet.models.objectives.naming import objective_of
from mlratchet.models.pipeline.spec import PipelineSpec
from mlratchet.models.pipeline.store import load_pipeline
from mlratchet.models.ports.storage import ObjectNotFound
from mlratchet.models.profile.rows import RowLayout, blocks
from mlratchet.models.registration.record import Registration
from mlratchet.models.workloads.parts import features_away, fields_of_parts
from mlratchet.tasks.actions.data import find_dataset
from mlratchet.tasks.support.asking_again import AskAgain
from mlratchet.tasks.support.brought import brought
from mlratchet.tasks.support.open_version import signature_of_version
from mlratchet.tasks.support.versions import registration_of
from mlratchet.tasks.wiring import Adapters, deployed_revision

BY_DIGEST = ("image", "audio", "tensor")  # kinds of fields that the log holds by their SHA-256
MOST_SHARDS = 64  # of the test rows that a reference is made of


class WatchedLog:
    """One pipeline, its policy and its log."""

    def __init__(self, adapters: Adapters, name: str, config: MonitoringConfig | None = None) -> None:
        """`config`: the policy of a window of before; None: the one that is deployed."""
        self.adapters, self.name = adapters, name
        self.spec: PipelineSpec = load_pipeline(adapters.store, deployed_revision(adapters, name))
        self.config = config or self.spec.monitoring or MonitoringConfig()
        self._known: dict[tuple[int, str], Watched] = {}

    @cached_property
    def source(self) -> LogSource:
        """Its log."""
        return LogSource(
            store=self.adapters.store, keys=self.adapters.keys, pipeline=self.name,
            labels=self.spec.serving.labels or LabelsConfig(),
            brought=cache(partial(brought, self.adapters, self.spec.serving.labels)),
        )  # fmt: skip

    @property
    def late_s(self) -> float:
        """Seconds after which nothing more is expected of a log writer that says nothing."""
        return 3 * self.spec.serving.log.flush_seconds + 5.0

    def promoted_s(self) -> float | None:
        """When the first version was promoted; None before."""
        entries = self.adapters.ledger.entries(self.name)
        return entries[0].at_s if entries else None

    def watched(self, version: int, generation: int, digest: str = "") -> Watched:
        """What the rows of a version are compared with. `digest`: of the very reference; empty: the one that windows of
        this version have, else a new one.

        Raises ``ConfigurationError`` or ``SecurityError`` for a version whose registration is gone or was changed.
        """
        if (version, digest) not in self._known:
            self._known[version, digest] = self._watched(version, generation, digest)
        return replace(self._known[version, digest], generation=generation)

    def _watched(self, version: int, generation: int, digest: str) -> Watched:
        record = registration_of(self.adapters, self.name, version)
        signature = signature_of_version(self.adapters, record, self.adapters.ledger.entries(self.name))
        objective = objective_of(signature.task)
        facts = TaskFacts(task=signature.task, classes=signature.classes, by_query=objective.by_query)
        metrics = [one for one in objective.metrics(signature.classes) if "_class_" not in one.name]
        reference = self._reference(record, signature, facts, metrics, digest)
        return Watched(
            pipeline=self.name, version=version, generation=generation, facts=facts, metrics=metrics,
            reference=reference, reference_digest=reference.digest(), after_s=self.source.after_s,
            ask=self._ask(record, signature),
        )  # fmt: skip

    def _ask(self, record: Registration, signature: Signature) -> AskAgain | None:
        """Of a pipeline that declares it, whose log holds fields."""
        if self.config.sample is None or signature.input.example is None:
            return None
        manifest = find_dataset(self.adapters, self.name, str(record.version)).manifest
        return AskAgain(
            adapters=self.adapters, name=self.name, record=record, manifest=manifest, rows=self.config.sample.rows
        )

    def _reference(
        self, record: Registration, signature: Signature, facts: TaskFacts, metrics: list[Any], digest: str
    ) -> Reference:
        store = self.adapters.store
        if digest:
            return load_reference(store, self.name, digest)
        newest = newest_window(store, self.name)
        if newest is not None and newest.version == record.version and newest.policy == self.config.digest():
            with suppress(ObjectNotFound):
                return load_reference(store, self.name, newest.reference)
        rows = load_rows(store, record.rows_key)
        made = reference_of(
            self.name, record.version, record.dataset_id, rows, self._columns(record), facts, metrics, self.config,
            prepared=self._prepared(record), slice_columns=self._slice_columns(),
            importance=importance_of(self.adapters, record, signature),
        )  # fmt: skip
        publish_reference(store, made)
        return made

    def _slice_columns(self) -> list[str]:
        """Fields by which a gate slices, one at a time."""
        found = [
            check.by[0]
            for gate, _, check in self.spec.policy.all_checks()
            if gate != "data" and isinstance(check, SliceCheck) and len(check.by) == 1
        ]
        return list(dict.fromkeys(found))

    def _columns(self, record: Registration) -> Mapping[str, TestColumn]:
        """The fields of the test rows as the log holds them."""
        named = find_dataset(self.adapters, self.name, str(record.version))
        manifest, layout = named.manifest, named.layout
        if layout.schema is None or not manifest.examples:
            return {}
        of_test = manifest.model_copy(
            update={
                "splits": {"test": manifest.splits.get("test", ())},
                "examples": {"test": manifest.examples.get("test", ())},
            }
        )
        values: dict[str, list[Any]] = {}
        for block in blocks(self.adapters.store, of_test, layout, most_shards=MOST_SHARDS):
            for name, some in block.fields.items():
                values.setdefault(name, []).extend(some)
        kinds = {one.name: one.kind for one in layout.fields if one.input and one.kind not in BY_DIGEST}
        whole = {name for name in kinds if self.spec.serving.log.how(name) == "whole"}
        return {name: TestColumn(kind=kinds[name], values=values[name]) for name in whole & values.keys()}

    def _prepared(self, record: Registration) -> TestColumn | None:
        """The projection of the prepared inputs of the test rows, where fields do not tell enough by themselves."""
        named = find_dataset(self.adapters, self.name, str(record.version))
        if named.layout.schema is not None and not _has_media(named.layout):
            return None
        split = load_split(self.adapters.store, named.manifest, "test")
        return TestColumn(kind="tensor", values=projected(split.x))


def _has_media(layout: RowLayout) -> bool:
    """Whether a field says more than its own sketch can tell."""
    return any(one.kind in (*BY_DIGEST, "text", "letters") for one in layout.fields)


def importance_of(adapters: Adapters, record: Registration, signature: Signature) -> dict[str, float]:
    """Field -> what the version relies on, of the attributions that its gates judged; empty where nobody asked."""
    for run in list_gate_runs(adapters.store, record.work_key):
        with suppress(RatchetError, ValueError, KeyError, TypeError):
            digest = load_decision(adapters.store, run.decision).get("digests", {}).get("attributions", "")
            if not digest:
                continue
            told = json.loads(adapters.store.get(f"attributions/{digest}.json", sha256=digest))
            names, values = told["names"], told["models"]["candidate"]["importance"]
            about = signature.input.example
            if about is None:
                return by_field(dict(zip(names, values, strict=True)))
            parts = names or [f"{signature.tensors[0].name}[{at}]" for at in range(len(values))]
            fields, table = fields_of_parts(parts, features_away(about))
            sizes = np.abs(np.asarray([value or 0.0 for value in values]))
            return dict(zip(fields, (sizes @ table).tolist(), strict=True))
    return {}


def by_field(importance: Mapping[str, float | None]) -> dict[str, float]:
    """Parts of a field (`region=eu`, `region/0`) count for it."""
    found: dict[str, float] = {}
    for name, value in importance.items():
        field = name.split("=")[0].split("/")[0]
        found[field] = found.get(field, 0.0) + abs(value or 0.0)
    return found

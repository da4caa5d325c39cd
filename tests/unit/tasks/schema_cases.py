"""Tables, pipeline files and models by name, for tests of what a changed schema does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.artifact.signature import Signature, signature_of
from mlratchet.models.config import WorkloadRef
from mlratchet.models.data.dataset import DatasetManifest
from mlratchet.models.gates.judge import judge_gate
from mlratchet.models.gates.policy import GatePolicy
from mlratchet.models.gates.result import CheckResult
from mlratchet.models.identity.canonical import digest_bytes
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.pipeline.store import publish_pipeline
from mlratchet.models.registration.record import Registration, find_registration
from mlratchet.models.training.config import TrainConfig
from mlratchet.models.training.job import TrainJob
from mlratchet.models.training.observers import Surroundings
from mlratchet.models.training.state import TrainingState
from mlratchet.tasks.steps.evaluate import Evaluation, evaluate
from safetensors.torch import save

from .conftest import Road, summing
from .test_row_identity import prepared

COLUMNS, LEVELS, TAGS = ("a", "b", "c"), ("low", "mid", "high"), ("bright", "heavy")
SUBSET = "{kind: non_inferiority, metric: subset_accuracy, margin: 0.05}"
PAIRED = "{kind: non_inferiority, metric: accuracy, margin: 0.05}"
SUMS = {  # what moves the output of a name; the cells of `table` are labelled by the same sums
    "low": {"a": -4.0}, "mid": {}, "high": {"a": 4.0}, "top": {"a": 4.0}, "new": {"c": 20.0},
    "bright": {"a": 4.0}, "heavy": {"b": 4.0}, "round": {"c": 4.0},
}  # fmt: skip
BIAS = {"mid": 2.0, "new": -100.0}  # new is said where c is above 5
WRONG = {**SUMS, "low": {"b": -4.0}, "bright": {"b": 4.0}}  # of a model that reads one name out of the wrong column


def table(*, label: str = "label", classes: dict[str, str] | None = None, new: int = 0) -> list[dict[str, str]]:
    """400 rows: a class by column a, three labels by the signs of a, b, c. `classes` renames some; `new` rows more are
    of a class of that name."""
    rows = []
    for number, (a, b, c) in enumerate(np.random.default_rng(0).normal(size=(400, 3))):
        name = "low" if a < -0.5 else "high" if a > 0.5 else "mid"
        row = {"a": f"{a:.6f}", "b": f"{b:.6f}", "c": f"{c:.6f}", "region": "eu" if number % 3 else "us"}
        tags = {"bright": a > 0, "heavy": b > 0, "round": c > 0}
        row |= {label: (classes or {}).get(name, name)} | {tag: str(int(on)) for tag, on in tags.items()}
        rows.append(row)
    return rows + [rows[number] | {"a": f"{number / 100}", "c": "9", label: "new"} for number in range(new)]


def less(rows: list[dict[str, str]], *names: str) -> list[dict[str, str]]:
    """Without these columns."""
    return [{name: cell for name, cell in row.items() if name not in names} for row in rows]


def answers(
    names: Sequence[str], columns: Sequence[str] = COLUMNS, sums: dict[str, Any] = SUMS, hidden: int = 32
) -> Any:
    """A TableClassifier or TableMultiLabel whose outputs are `sums`, by name."""
    return summing({name: sums[name] for name in names}, columns, [BIAS.get(name, 0.0) for name in names], hidden)


def file_of(
    road: Road, *checks: str, columns: Sequence[str] = COLUMNS, classes: Sequence[str] = LEVELS,
    source: str = "{prefix: t/}",
) -> Any:  # fmt: skip
    """The run of a pipeline file of a classifier."""
    parameters = f"{{columns: [{', '.join(columns)}], classes: [{', '.join(classes)}]}}"
    return road.run(*checks, gate="champion", parameters=parameters, source=source)


def tags_of(road: Road, labels: Sequence[str]) -> Any:
    """The run of a pipeline file of a multi-label."""
    parameters = f"{{columns: [a, b, c], labels: [{', '.join(labels)}]}}"
    return road.run(gate="champion", parameters=parameters, use="TableMultiLabel")


def register(
    road: Road, run: Any, rows: list[dict[str, str]], model: Any, *, champion: bool = True
) -> tuple[Registration, DatasetManifest]:
    """A version that the file of `run` made of these rows."""
    dataset = prepared(road, run, rows)
    revision = publish_pipeline(road.store, run.spec)
    record = road.version(
        model, dataset_id=dataset.id, revision=revision, signature=signature_of(run.workload), champion=champion
    )
    return record, dataset


def measure(
    road: Road, run: Any, rows: list[dict[str, str]], model: Any, champion: Registration
) -> tuple[Evaluation, DatasetManifest]:
    """A candidate that the file of `run` made of these rows, beside the champion."""
    dataset = prepared(road, run, rows)
    found = evaluate.fn(run, road.work(dataset, champion), dataset, road.trained_module(model))
    return found, dataset


def verdict(found: Evaluation, run: Any, check: str = PAIRED) -> CheckResult:
    task, names = run.workload.objective.reference, run.workload.class_names()
    policy: GatePolicy = Road.run_policy(check)
    result = judge_gate(
        policy, "champion", found.evidence(), first_model=False, task=task, class_names=names, now_s=0.0
    )
    return result.checks[0]


def numbers(result: CheckResult) -> tuple[Any, ...]:
    return result.verdict, result.value, result.interval, result.n


def warm(
    store: MemoryStore, run: Any, dataset: DatasetManifest, parent: Any, before: Signature, scratch: Path
) -> TrainingState:
    """A training of the file of `run` that begins from a parent with the names of `before`."""
    data = save(parent.state_dict())
    store.create(f"weights/{digest_bytes(data)}", data)
    use, parameters = run.spec.workload.use, dict(run.spec.workload.parameters)
    job = TrainJob(
        work_key="child", epoch=1, dataset_id=dataset.id, workload=WorkloadRef(use=use, parameters=parameters),
        train=TrainConfig(mode="fast", global_batch_size=16), processes=1, scratch=str(scratch),
        parent_weights_key=f"weights/{digest_bytes(data)}", parent_weights_sha256=digest_bytes(data),
        parent_classes=before.classes, parent_columns=before.input.columns,
    )  # fmt: skip
    return TrainingState(job, store, rank=0, world=1, device=torch.device("cpu"), around=Surroundings())


def accuracy_among(rows: RowOutputs, names: Sequence[str], kept: Sequence[str]) -> float:
    """Accuracy over the rows of the classes `kept`, among their outputs."""
    places = sorted(list(names).index(name) for name in kept)
    of_them = np.isin(rows.y, places)
    said = np.asarray(places)[rows.output[of_them][:, places].argmax(axis=1)]
    return float((said == rows.y[of_them]).mean())


def renamed_label(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """The old column stays in the delivery."""
    return [{**row, "target": row["label"]} for row in rows]


def registration(road: Road, version: int) -> Registration:
    found = find_registration(road.store, f"w{version}")
    assert found is not None
    return found


def refused(found: Evaluation, run: Any, words: str) -> None:
    assert found.evidence().champion is None
    assert found.missing["champion"] == f"version 1 cannot be compared with: {words}"
    result = verdict(found, run)
    assert (result.verdict, result.value) == ("inconclusive", None)
    assert words in result.reason

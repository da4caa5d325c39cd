"""A warm start over a preparation fitted to other rows: before its first step the model answers as its parent."""

from __future__ import annotations

import base64
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.config import WorkloadRef
from mlratchet.models.data.config import DataConfig
from mlratchet.models.data.dataset import DatasetManifest
from mlratchet.models.data.prepared_shards import fitted_to, with_fitted
from mlratchet.models.data.preprocess import write_dataset
from mlratchet.models.data.snapshot import take_snapshot
from mlratchet.models.errors import DataError
from mlratchet.models.sources.csv import CsvOptions
from mlratchet.models.sources.record import Record
from mlratchet.models.sources.stored_examples import EXAMPLE, UNPREPARED
from mlratchet.models.tensors.batch import asked_by_name, batch_of
from mlratchet.models.tensors.named import Inputs
from mlratchet.models.training.config import TrainConfig
from mlratchet.models.training.job import TrainJob
from mlratchet.models.training.observers import Surroundings
from mlratchet.models.training.state import TrainingState
from mlratchet.models.training.warm_start import WarmStartReport, warm_start
from mlratchet.models.workloads.fields import SchemaWorkload
from mlratchet.models.workloads.prepared import fit_away, prepare_away
from mlratchet.models.workloads.refitted import refitting
from safetensors.torch import save

USE = "mlratchet.models.workloads.fields:SchemaWorkload"
SHOP: dict[str, Any] = {
    "label": "bought",
    "fields": {
        "price": {"kind": "number"}, "weight": {"kind": "number", "nullable": True}, "day": {"kind": "time"},
        "land": {"kind": "category"}, "note": {"kind": "text"}, "bought": {"kind": "category", "values": ["n", "y"]},
    },
}  # fmt: skip
RATINGS: dict[str, Any] = {
    "label": "rating",
    "fields": {
        "user": {"kind": "entity"}, "item": {"kind": "entity"}, "price": {"kind": "number"},
        "rating": {"kind": "number"},
    },
}  # fmt: skip
WORDS = {"kinds": {"text": {"tokens": "words"}}}


def rows(count: int, *, more: bool) -> list[dict[str, Any]]:
    """`more`: of a later delivery: new words, lands and users, other means, newer days."""
    lands = [f"l{n:02d}" for n in range(12 if more else 3)]
    months = 6 if more else 3
    words = ["good", "bad", "cheap", *(["brilliant", "awful", "average"] if more else [])]
    return [
        {
            "price": 10.0 * (n % 7) + (5.0 if more else 0.0) * (n % 3),
            "day": f"2026-0{1 + n % months}-1{n % 9}T00:00:00Z",
            "land": lands[n % len(lands)], "note": f"{words[n % len(words)]} {words[n % 2]}",
            "user": f"u{n % (9 if more else 4)}", "item": f"i{n % (8 if more else 5)}",
            **({} if n % 5 == 0 else {"weight": float(n % (11 if more else 4))}),
        }
        for n in range(count)
    ]  # fmt: skip


def examples(schema: dict[str, Any], count: int, *, more: bool) -> Inputs:
    named = [name for name in schema["fields"] if name != schema["label"]]
    documents = [{name: row[name] for name in named if name in row} for row in rows(count, more=more)]
    return Inputs.stack(
        [{EXAMPLE: np.frombuffer(json.dumps(one).encode(), dtype=np.uint8)} for one in documents], (UNPREPARED,)
    )


def made(
    parameters: dict[str, Any], train: Inputs, seed: int, *others: Inputs
) -> tuple[SchemaWorkload, Any, list[Inputs]]:
    """The workload over what its preparation was fitted to, a fresh module, and `others` prepared."""
    ref = WorkloadRef(use=USE, parameters=parameters)
    state, found = fit_away(
        ref, {"train": [lambda: train], **{str(n): [lambda one=one: one] for n, one in enumerate(others)}}
    )
    workload = SchemaWorkload(**parameters, fitted=base64.b64encode(state).decode())
    torch.manual_seed(seed)
    return workload, workload.prepared_model().eval(), [found[str(n)][0] for n in range(len(others))]


def outputs(workload: SchemaWorkload, module: Any, x: Inputs) -> np.ndarray[Any, Any]:
    with torch.inference_mode():
        return np.asarray(asked_by_name(module, workload.tensors())(batch_of(x)))


def warmed(parameters: dict[str, Any], *, then: Inputs, now: Inputs, asked: Inputs) -> tuple[Any, Any, WarmStartReport]:
    """What the parent and its child answer to the same examples, each through its own preparation."""
    parent, parent_module, (theirs,) = made(parameters, then, 1, asked)
    child, module, (ours,) = made(parameters, now, 2, asked)
    store = MemoryStore()
    store.put("weights", save(parent_module.state_dict()))
    about = parent.input_spec().example
    assert about is not None
    report = warm_start(
        module, store, "weights", None, carry=lambda old: child.carried_over(module, old, asdict(about))
    )
    return outputs(parent, parent_module, theirs), outputs(child, module, ours), report


@pytest.mark.parametrize("model", ["mlp", "resnet"])
def test_at_its_first_step_the_model_answers_as_its_parent_over_new_words_categories_and_scales(model: str) -> None:
    parameters = {"schema": SHOP, "preparation": WORDS, "hidden": [16], "width": 8, "model": model}
    then, now = (examples(SHOP, 90, more=more) for more in (False, True))
    before, after, report = warmed(parameters, then=then, now=now, asked=now)
    assert after == pytest.approx(before, abs=2e-5)  # also of rows with words and lands that the parent does not know
    assert np.ptp(before[:, 0]) > 0.05
    moved = {"encoders.1.tables.0.weight", "encoders.2.table.weight", "trunk.0.weight", "trunk.0.bias"}
    assert moved <= set(report.reshaped)
    assert report.new == report.left == ()
    assert "head.weight" in report.taken


@pytest.mark.parametrize("model", ["two_towers", "dlrm"])
def test_users_and_items_keep_their_vectors_by_name(model: str) -> None:
    sides = {"price": "item"} if model == "two_towers" else {}
    parameters = {"schema": RATINGS, "width": 8, "hidden": [16], "model": model, "sides": sides}
    then, now = (examples(RATINGS, 90, more=more) for more in (False, True))
    before, after, report = warmed(parameters, then=then, now=now, asked=now)
    assert after == pytest.approx(before, abs=2e-5)
    assert {"vectors.0.weight", "vectors.1.weight"} <= set(report.reshaped)


def test_tokens_of_numbers_are_scaled_where_nothing_is_missing() -> None:
    schema = {**SHOP, "fields": {name: one for name, one in SHOP["fields"].items() if name not in ("weight", "note")}}
    parameters = {"schema": schema, "width": 8, "model": "ft_transformer"}
    then, now = (examples(schema, 90, more=more) for more in (False, True))
    before, after, report = warmed(parameters, then=then, now=now, asked=now)
    assert after == pytest.approx(before, abs=2e-5)
    assert {"scale_FD", "shift_FD", "tables.0.weight"} <= set(report.reshaped)


def test_a_value_that_lost_its_code_is_the_only_one_that_is_answered_otherwise() -> None:
    schema = {**SHOP, "fields": {name: one for name, one in SHOP["fields"].items() if name != "land"}}
    parameters = {"schema": schema, "preparation": WORDS, "hidden": [16], "width": 8}
    then, now = (examples(schema, 90, more=more) for more in (True, False))
    before, after, _ = warmed(parameters, then=then, now=now, asked=then)
    lost = {"brilliant", "awful", "average"}
    known = np.asarray([not lost & {*row["note"].split()} for row in rows(90, more=True)])
    assert 0 < known.sum() < 90
    assert after[known] == pytest.approx(before[known], abs=2e-5)
    assert (np.abs(before - after).max(axis=1)[~known] > 1e-4).all()


def test_the_same_state_needs_no_carrying_over_and_other_fields_or_networks_begin_fresh() -> None:
    parameters = {"schema": RATINGS, "width": 8, "hidden": [16], "model": "dlrm"}
    workload, module, _ = made(parameters, examples(RATINGS, 90, more=False), 1)
    about = workload.input_spec().example
    assert about is not None
    assert refitting(workload, module, asdict(about)) is None
    fewer = {**RATINGS, "fields": {name: one for name, one in RATINGS["fields"].items() if name != "price"}}
    other, other_module, _ = made({**parameters, "schema": fewer}, examples(fewer, 90, more=True), 2)
    with pytest.raises(DataError, match=r"prepared with other fields \(price\)"):
        refitting(other, other_module, asdict(about))
    with pytest.raises(DataError, match="a network of your own is not known"):
        refitting(other, torch.nn.Linear(2, 2), asdict(about))


def dataset_of(store: MemoryStore, parameters: dict[str, Any], *, more: bool) -> tuple[DatasetManifest, WorkloadRef]:
    """As the steps make it, and the workload as ranks load it."""
    ref = WorkloadRef(use=USE, parameters=parameters)
    documents = [json.dumps({name: row[name] for name in ("price", "land", "note")}) for row in rows(120, more=more)]
    records = [
        Record(id=f"r{n:03d}", x={EXAMPLE: np.frombuffer(one.encode(), dtype=np.uint8)}, y=n % 2)
        for n, one in enumerate(documents)
    ]
    raw = MemoryStore()
    raw.put("p/rows", "\n".join(documents).encode())
    manifest = write_dataset(
        store, take_snapshot(raw, store, prefix="p/"), records, "code", ref, DataConfig(), CsvOptions(prefix="p/"),
        class_names=("n", "y"), tensors=(UNPREPARED,), prepared=True,
    )  # fmt: skip
    return manifest, with_fitted(ref, fitted_to(store, manifest))


def test_a_training_begins_from_a_parent_that_was_prepared_otherwise_and_says_what_became_of_each_tensor(
    tmp_path: Path,
) -> None:
    schema = {**SHOP, "fields": {n: one for n, one in SHOP["fields"].items() if n not in ("weight", "day")}}
    parameters, store = {"schema": schema, "preparation": WORDS, "hidden": [16], "width": 8}, MemoryStore()
    states: list[TrainingState] = []
    for more in (False, True):
        manifest, ref = dataset_of(store, parameters, more=more)
        parent = states[-1] if states else None
        about = parent.workload.input_spec().example if parent is not None else None
        job = TrainJob(
            work_key=f"w{more}", epoch=1, dataset_id=manifest.id, workload=ref, processes=1, scratch=str(tmp_path),
            train=TrainConfig(mode="exact", shards=1, global_batch_size=16, seed=int(more)),
            parent_weights_key="weights" if parent is not None else None,
            parent_example=asdict(about) if about is not None else {},
        )  # fmt: skip
        if parent is not None:
            store.put("weights", save(parent.module.state_dict()))
        states.append(TrainingState(job, store, rank=0, world=1, device=torch.device("cpu"), around=Surroundings()))
    child = states[1]
    assert child.warm_start is not None
    assert "trunk.0.weight" in child.warm_start.reshaped
    assert child.warm_start.line().startswith("2 tensors taken; reshaped: encoders.1.tables.0.weight")
    answers = []
    for one in states:
        x = prepare_away(one.workload.input_spec().example, examples(schema, 40, more=True))  # type: ignore[arg-type]
        answers.append(outputs(one.workload, one.module.eval(), x))  # type: ignore[arg-type]
    assert answers[1] == pytest.approx(answers[0], abs=2e-5)

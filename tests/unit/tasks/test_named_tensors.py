"""Evaluate of a workload with several tensors: scored, perturbed, explained and compared by name, as any other."""

from __future__ import annotations

import json
from typing import Any

import torch
from mlratchet.models.artifact.signature import signature_of
from mlratchet.models.data.preprocess import read_dataset_records, write_dataset
from mlratchet.models.data.shards import load_split
from mlratchet.models.data.snapshot import take_snapshot
from mlratchet.models.identity.canonical import digest_bytes
from mlratchet.models.objectives.naming import compute_metrics
from mlratchet.models.serving.contract import load_requests
from mlratchet.models.tensors.batch import asked_by_name
from mlratchet.models.training.result import TrainResult
from mlratchet.tasks.steps.evaluate import evaluate
from mlratchet.tasks.steps.train import Trained
from mlratchet.tasks.support.examples import Examples
from safetensors.torch import save

from tests.unit.tensors.named_models import Readers, lines

from .conftest import Road

ATTRIBUTION = "{kind: attribution, maximum_shift: 0.9}"
DROPOUT = "{kind: robustness, metric: accuracy, maximum_drop: 0.9, perturbation: {kind: token_dropout, fraction: 0.5}}"


def readers(road: Road) -> tuple[Any, Any]:
    """A run of a workload that takes a whole number and a ragged tensor, and its dataset."""
    run = road.run(DROPOUT, ATTRIBUTION)
    ref = run.spec.workload.model_copy(update={"use": "tests.unit.tensors.named_models:Readers", "parameters": {}})
    run.spec, run.workload = run.spec.model_copy(update={"workload": ref}), Readers()
    rows = lines(run.workload.tensors(), 300)
    road.raw.put("t/rows.jsonl", "\n".join(map(json.dumps, rows)).encode())
    snapshot = take_snapshot(road.raw, road.store, prefix="t/")
    records, _ = read_dataset_records(road.store, snapshot, run.workload, run.spec.source)
    dataset = write_dataset(
        road.store, snapshot, records, "w", ref, run.spec.data, run.spec.source, class_names=("no", "yes"),
        tensors=run.workload.input_spec().tensors,
    )  # fmt: skip
    return run, dataset


def parity_module(seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    return Readers().build_model().eval()


def trained(road: Road, module: torch.nn.Module) -> Trained:
    data = save(module.state_dict())
    key = f"work/new/e000001/weights-{digest_bytes(data)}.safetensors"
    road.store.create(key, data)
    road.store.put("work/new/e000001/result.json", b"{}")
    result = TrainResult(
        weights_key=key, weights_sha256=digest_bytes(data), history=(), steps=10, resumed_from_step=0, seconds=2.0
    )
    return Trained(
        result=result, tracking_run=road.tracking_run, parent_version=None,
        tensorboard=road.scratch / "none", trace=road.scratch / "none",
    )  # fmt: skip


def test_candidate_and_champion_meet_on_the_same_rows_by_name(road: Road) -> None:
    run, dataset = readers(road)
    signature = signature_of(Readers())
    incumbent = road.version(asked_by_name(parity_module(1), Readers().tensors()), signature=signature)
    found = evaluate.fn(run, road.work(dataset, incumbent), dataset, trained(road, parity_module(0)))
    evidence = found.evidence()
    assert evidence.missing == {}
    assert evidence.candidate is not None
    assert evidence.champion is not None
    assert evidence.candidate.ids == evidence.champion.ids
    assert (evidence.candidate.output != evidence.champion.output).any()
    assert found.parity == 0
    (dropped,) = evidence.perturbed.values()
    assert (dropped.output != evidence.candidate.output).any()
    shift = evidence.attribution_shift
    assert shift is not None
    assert shift.method.startswith("total variation of mean |attribution| (feature ablation by input of 2 parts)")
    assert "user " in shift.detail
    assert "words " in shift.detail
    assert set(found.metrics) == set(compute_metrics(evidence.candidate, "classification", ("no", "yes")))
    assert found.sample_x.names == load_split(road.store, dataset, "test").x.names
    asked = load_requests(road.store, found.keys["requests"], 1)
    assert set(json.loads(asked[0].body)["instances"][0]) == {"user", "words"}


def test_a_version_that_takes_other_tensors_is_missing_with_the_reason(road: Road) -> None:
    run, dataset = readers(road)
    incumbent = road.version(torch.nn.Linear(3, 2))  # of the table that this pipeline once was
    found = evaluate.fn(run, road.work(dataset, incumbent), dataset, trained(road, parity_module(0)))
    assert "its inputs are x (float32 [3]), here they are user (int64 []), words" in found.missing["champion"]
    examples = Examples(road.store, run.spec, dataset, signature_of(Readers()))
    assert examples.rows.x.ragged == ("words",)

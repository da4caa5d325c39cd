"""The contract: what clients may send is answered as recorded, everything else is refused."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.artifact.signature import Signature, signature_of
from mlratchet.models.gates.checks.case import Case
from mlratchet.models.gates.checks.contract import ContractCheck
from mlratchet.models.gates.evidence import ContractReplay, Evidence, failing_columns
from mlratchet.models.gates.result import CheckResult
from mlratchet.models.ports.storage import DigestMismatch
from mlratchet.models.serving.contract import (
    StoredRequest,
    contract_requests,
    difference,
    load_requests,
    publish_requests,
    replay,
    signature_failures,
)
from mlratchet.models.serving.predictor import Predictor
from mlratchet.models.serving.schema import parse_request
from mlratchet.models.tensors.named import Inputs
from mlratchet.models.workloads.base import Workload
from mlratchet.models.workloads.tabular import TableClassifier, TableRegressor


def made(workload: Workload) -> tuple[Signature, torch.nn.Module, np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    torch.manual_seed(0)
    module = workload.build_model().eval()
    rng = np.random.default_rng(0)
    x = rng.random((20, *workload.input_spec().shape)).astype(np.float32)
    with torch.inference_mode():
        return signature_of(workload), module, x, module(torch.from_numpy(x)).numpy()


def predictor(signature: Signature, model: Any) -> Predictor:
    return Predictor(version=1, generation=0, signature=signature, model=model)


CLASSIFIER = TableClassifier(columns=["a", "b", "c"], classes=["no", "yes"], hidden=8)
REGRESSOR = TableRegressor(columns=["a", "b", "c"], hidden=8)


@pytest.mark.parametrize("kind", ["classifier", "regressor", "image"])
def test_a_model_that_answers_as_recorded_keeps_the_contract(kind: str, digits_workload: Workload) -> None:
    workload = {"classifier": CLASSIFIER, "regressor": REGRESSOR, "image": digits_workload}[kind]
    signature, module, x, output = made(workload)
    requests = contract_requests(signature, Inputs({"x": x}), output)
    assert {request.expect for request in requests} == {"answer", "refusal"}
    assert sum(request.predictions is not None for request in requests) >= 9
    assert replay(predictor(signature, module), requests) == []
    tried, failures = signature_failures(module, signature, Inputs({"x": x}))
    assert (tried, failures) == (3, [])


def test_every_answer_that_differs_is_named() -> None:
    signature, module, x, output = made(CLASSIFIER)
    requests = contract_requests(signature, Inputs({"x": x}), output)
    known = [request.name for request in requests if request.predictions is not None]
    failures = replay(predictor(signature, lambda rows: -module(rows)), requests)
    assert [line.split(":")[0] for line in failures] == known
    assert "prediction 0" in failures[0]
    flat = replay(predictor(signature, lambda rows: module(rows)[:1]), requests)
    assert any("expected 16 predictions, got 1" in line for line in flat)


def test_a_model_that_breaks_or_answers_nan_breaks_the_contract() -> None:
    signature, module, x, output = made(CLASSIFIER)
    requests = contract_requests(signature, Inputs({"x": x}), output)
    assert all("NaN" in line for line in replay(predictor(signature, lambda r: module(r) * torch.nan), requests))

    def broken(rows: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("index out of range")

    assert any("RuntimeError: index out of range" in line for line in replay(predictor(signature, broken), requests))


def test_a_server_that_accepts_what_it_must_refuse_breaks_the_contract() -> None:
    signature, module, x, output = made(CLASSIFIER)
    good = contract_requests(signature, Inputs({"x": x}), output)[0]
    swapped = StoredRequest(name="good", body=good.body, expect="refusal")
    assert replay(predictor(signature, module), [swapped]) == ["good: expected a refusal, got an answer"]


def test_requests_of_the_champions_clients_must_still_be_answered(store: MemoryStore) -> None:
    signature, module, x, output = made(CLASSIFIER)
    key = publish_requests(store, contract_requests(signature, Inputs({"x": x}), output))
    assert publish_requests(store, contract_requests(signature, Inputs({"x": x}), output)) == key
    stored = load_requests(store, key, 3)
    assert len(stored) == 10
    assert replay(predictor(signature, module), stored) == []
    renamed = TableClassifier(columns=["a", "b", "price"], classes=["no", "yes"], hidden=8)
    other, changed, _, _ = made(renamed)
    failures = replay(predictor(other, changed), stored)
    assert failures == [
        "columns c, price: request 9 of version 3: expected an answer, got 422: instances[0].price: missing column"
    ]
    store.put(key, b"[]")
    with pytest.raises(DigestMismatch):
        load_requests(store, key, 3)


def test_the_shapes_that_the_signature_promises_are_tried() -> None:
    signature, module, x, _ = made(CLASSIFIER)
    assert "expected float32 of shape [3]" in signature_failures(module, signature, Inputs({"x": x[:, :2]}))[1][0]
    assert len(signature_failures(lambda rows: module(rows)[:, :1], signature, Inputs({"x": x}))[1]) == 3
    frozen = signature_failures(lambda rows: module(rows)[:3], signature, Inputs({"x": x}))[1]
    assert frozen == ["signature: got torch.float32 of shape [3, 2], expected floats [20, 2]"]
    assert len(signature_failures(lambda rows: module(rows).long(), signature, Inputs({"x": x}))[1]) == 3


def test_a_class_on_the_edge_may_fall_to_either_side() -> None:
    edge = {"class": "no", "probability": 0.5001, "probabilities": {"no": 0.5001, "yes": 0.4999}}
    other = {"class": "yes", "probability": 0.5001, "probabilities": {"no": 0.4999, "yes": 0.5001}}
    assert difference(other, edge, 1e-3) == ""
    sure = {"class": "no", "probability": 0.9, "probabilities": {"no": 0.9, "yes": 0.1}}
    assert "class" in difference({**sure, "class": "yes"}, sure, 1e-3)
    assert "value" in difference({"value": float("nan")}, {"value": 1.0}, 1e-3)
    labels = {"labels": ["a"], "probabilities": {"a": 0.9, "b": 0.4999}}
    assert difference({**labels, "labels": ["a", "b"]}, labels, 1e-3) == ""
    assert "labels" in difference({**labels, "labels": []}, labels, 1e-3)


@pytest.mark.slow
def test_memory_is_the_childs_own_not_what_its_parent_held() -> None:
    ballast = bytearray(800_000_000)
    ballast[::4096] = b"1" * len(ballast[::4096])
    words = (
        "from mlratchet.infra.artifact.measure import resident_mb; print(resident_mb('VmRSS'), resident_mb('VmHWM'))"
    )
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)
    now, peak = map(float, done.stdout.split())
    assert 10 < now <= peak < 700


def clients(workload: Workload) -> list[StoredRequest]:
    """What the clients of a version send."""
    signature, _, x, output = made(workload)
    sent = [one for one in contract_requests(signature, Inputs({"x": x}), output) if one.expect == "answer"]
    return [one.model_copy(update={"predictions": None}) for one in sent]


def test_a_new_column_with_a_default_breaks_no_client_and_without_one_is_named() -> None:
    wider = TableClassifier(columns=["a", "b", "c", "d"], classes=["no", "yes"], hidden=8)
    _, module, _, _ = made(wider)
    asked = clients(CLASSIFIER)
    assert replay(predictor(signature_of(wider, {"d": 0.5}), module), asked) == []
    failures = tuple(replay(predictor(signature_of(wider), module), asked))
    assert len(failures) == len(asked)
    assert {failing_columns(line) for line in failures} == {("d",)}

    def judged(**more: Any) -> CheckResult:
        check = ContractCheck(kind="contract", **more)
        evidence = Evidence(contract=ContractReplay(n=20, failures=failures))
        return check.judge(Case(gate="staging", evidence=evidence, metrics={}))

    refused = judged()
    assert refused.verdict == "fail"
    assert "breaking: d: give what is new a value in serving.defaults" in refused.reason
    assert judged(breaking=("e",)).verdict == "fail"
    allowed = judged(breaking=("d",))
    assert (allowed.verdict, allowed.value) == ("pass", 0.0)
    assert "requests break, as `breaking` allows: d" in allowed.reason


def test_a_removed_column_is_named_and_a_default_fills_what_a_client_leaves_out() -> None:
    narrower = TableClassifier(columns=["a", "b"], classes=["no", "yes"], hidden=8)
    _, module, _, _ = made(narrower)
    failures = replay(predictor(signature_of(narrower), module), clients(CLASSIFIER))
    assert {failing_columns(line) for line in failures} == {("c",)}
    signature = Signature.from_json(signature_of(CLASSIFIER, {"b": 2.0, "c": 3.0}).to_json())
    for body in (b'{"instances": [{"a": 1}]}', b'{"instances": [[1]]}', b'{"instances": [{"a": 1, "c": 3}]}'):
        assert parse_request(body, signature).array.tolist() == [[1.0, 2.0, 3.0]]

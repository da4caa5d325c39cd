"""What the server needs to come up is asked of every artifact; a model that cannot give it is measured as failing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from mlratchet.infra.artifact.measure import measured
from mlratchet.models.artifact.signature import signature_of
from mlratchet.models.serving.contract import contract_requests
from mlratchet.models.tensors.named import Inputs
from mlratchet.models.workloads.tabular import TableClassifier

WORKLOAD = TableClassifier(columns=["a", "b"], classes=["no", "yes"])


def outcome(model: Any) -> dict[str, Any]:
    torch.manual_seed(0)
    module = WORKLOAD.build_model().eval()
    x = np.random.default_rng(0).normal(3, 0.1, (20, 2)).astype(np.float32)
    with torch.inference_mode():
        expected = module(torch.from_numpy(x))
    signature = signature_of(WORKLOAD)
    requests = contract_requests(signature, Inputs({"x": x}), expected.numpy())
    return measured(model(module), signature, Inputs({"x": x}), expected, requests)


def test_a_model_that_serves_is_measured() -> None:
    found = outcome(lambda module: module)
    assert found["contract_failures"] == []
    assert found["parity_max_difference"] == 0
    assert found["parity_n"] == 20
    assert found["latency_ms"]["p50"] > 0


def fixed(module: Any) -> Any:
    """As an export that made the number of rows a part of the program."""

    def program(x: torch.Tensor) -> torch.Tensor:
        if len(x) != 2:
            raise AssertionError("Guard failed: x.size()[0] == 2")
        output: torch.Tensor = module(x)
        return output

    return program


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (lambda module: lambda x: module(x).squeeze(0), "signature: got torch.float32 of shape [2], expected floats"),
        (fixed, "AssertionError: Guard failed"),
        (
            lambda module: lambda x: module(x) / x[:, :1],
            "the server would not come up: ",
        ),  # warms up on zeros
    ],
)
def test_a_model_that_the_server_could_not_bring_up_fails_its_contract_and_ends_no_process(
    model: Any, words: str
) -> None:
    found = outcome(model)
    assert [line for line in found["contract_failures"] if words in line]
    assert found["contract_n"] > len(found["contract_failures"])


def test_what_could_not_be_measured_is_missing_and_no_number() -> None:
    found = outcome(fixed)
    assert found["parity_max_difference"] is None
    assert (found["latency_ms"], found["latency_n"], found["parity_n"]) == ({}, 0, 0)

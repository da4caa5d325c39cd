"""From the trained module to the answer of a server, for models that take tensors by name, and ragged ones."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mlratchet.infra.artifact.exported import PROGRAM, load_exported
from mlratchet.infra.artifact.measure import measured
from mlratchet.infra.artifact.package import complete, export
from mlratchet.models.artifact.signature import Signature, signature_of
from mlratchet.models.errors import DataError
from mlratchet.models.serving.batcher import Batcher
from mlratchet.models.serving.contract import contract_requests, instances_of, replay, signature_failures
from mlratchet.models.serving.predictor import Predictor
from mlratchet.models.serving.reading.limits import MAX_ROW_BYTES
from mlratchet.models.serving.refusal import BadRequestError
from mlratchet.models.serving.schema import parse_request
from mlratchet.models.serving.slot import Slot
from mlratchet.models.tensors.batch import ByName, Model, asked_by_name, batch_of
from mlratchet.models.tensors.named import Inputs
from mlratchet.models.workloads.loading import load_workload
from safetensors.torch import save_file
from starlette.testclient import TestClient

from tests.unit.serving.conftest import BASE, app_of
from tests.unit.tensors.conftest import HERE
from tests.unit.tensors.named_models import lines

PARITY = 1e-5


@dataclass(frozen=True, kw_only=True)
class Served:
    """A version of a workload, packaged as the road does it."""

    directory: Path
    signature: Signature
    trained: Model
    program: Model
    rows: Inputs

    def predictor(self) -> Predictor:
        return Predictor(version=3, generation=3, signature=self.signature, model=self.program)


@pytest.fixture(scope="module", params=["TwoTowers", "Texts", "Readers"])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Served:
    workload = load_workload(f"{HERE}:{request.param}", {})
    specs = workload.tensors()
    examples = [{s.name: np.asarray(row[s.name]) for s in specs} for row in lines(specs, 40, seed=1)]
    rows = Inputs.stack(examples, specs)
    torch.manual_seed(0)
    module = workload.prepared_model().eval()
    trained, out = asked_by_name(module, specs), tmp_path_factory.mktemp("served") / "model"
    export(trained, rows.rows(slice(2)), out)
    assert [file.name for file in out.rglob("*") if file.is_file()] == ["model.pt2"]
    weights = out.parent / "w.safetensors"
    save_file(module.state_dict(), weights)
    complete(out, signature_of(workload), rows.rows(slice(2)), card="card", weights_file=weights)
    assert (out / PROGRAM).is_file()
    signature = Signature.from_json((out / "signature.json").read_text())
    assert signature == signature_of(workload)
    return Served(directory=out, signature=signature, trained=trained, program=load_exported(out), rows=rows)


@pytest.fixture
def client(served: Served) -> Iterator[TestClient]:
    slot = Slot()
    slot.swap(served.predictor())
    app = app_of(slot)
    with TestClient(app, base_url=BASE, raise_server_exceptions=True) as found:
        yield found


@pytest.mark.parametrize("count", [1, 2, 7, 40])
def test_the_program_answers_as_the_module_for_any_number_of_rows_and_any_length(served: Served, count: int) -> None:
    rows = served.rows.rows(slice(3, 3 + count))
    with torch.inference_mode():
        difference = served.program(batch_of(rows)) - served.trained(batch_of(rows))
        longer = served.program(batch_of(rows, least=23)) - served.trained(batch_of(rows))
    assert float(difference.abs().max()) <= PARITY
    assert float(longer.abs().max()) <= PARITY
    assert isinstance(served.program, ByName)


def test_an_answer_does_not_depend_on_what_else_is_in_the_batch(served: Served) -> None:
    predictor = served.predictor()
    together = predictor.predict(served.rows)
    for at in range(len(served.rows)):
        (alone,) = predictor.predict(served.rows.rows(slice(at, at + 1)))
        assert alone["probabilities"] == pytest.approx(together[at]["probabilities"], abs=PARITY)
    assert predictor.predict(served.rows) == together  # and the same batch has the same bits

    async def at_once() -> list[Any]:
        batcher = Batcher(max_batch_rows=16)
        single = [served.rows.rows(slice(at, at + 1)) for at in range(len(served.rows))]
        answers = await asyncio.gather(*(batcher.predict(predictor, row) for row in single))
        await batcher.stop()
        return [one.predictions[0] for one in answers]

    for found, expected in zip(asyncio.run(at_once()), together, strict=True):
        assert found["probabilities"] == pytest.approx(expected["probabilities"], abs=PARITY)


def test_the_server_answers_by_name_and_its_contract_holds(served: Served, client: TestClient) -> None:
    instances = instances_of(served.rows.rows(slice(5)))
    reply = client.post("/predict", json={"instances": instances})
    assert reply.status_code == 200, reply.text
    with torch.inference_mode():
        expected = torch.softmax(served.trained(batch_of(served.rows.rows(slice(5)))), dim=1)[:, 1].tolist()
    answered = [one["probabilities"]["yes"] for one in reply.json()["predictions"]]
    assert answered == pytest.approx(expected, abs=PARITY)
    with torch.inference_mode():
        output = served.trained(batch_of(served.rows))
    requests = contract_requests(served.signature, served.rows, output.numpy())
    assert {one.expect for one in requests} == {"answer", "refusal"}
    assert replay(served.predictor(), requests) == []
    found = measured(served.program, served.signature, served.rows, output, requests)
    assert found["contract_failures"] == []
    assert found["parity_max_difference"] <= PARITY
    assert found["latency_ms"]["p50"] > 0


def test_another_output_or_other_inputs_fail_the_contract(served: Served) -> None:
    with torch.inference_mode():
        output = served.trained(batch_of(served.rows)).numpy()
    requests = contract_requests(served.signature, served.rows, -output)
    assert any("row 0: prediction 0:" in line for line in replay(served.predictor(), requests))
    strange = Inputs({"age": np.zeros(3, np.int64)})
    assert "signature: got inputs age, expected" in signature_failures(served.program, served.signature, strange)[1][0]


def test_a_wrong_field_is_named(served: Served, client: TestClient) -> None:
    (good,) = instances_of(served.rows.rows(slice(1)))
    first = served.signature.tensors[0]
    other: Any = [5, 999] if first.ragged else 999
    place = f"instances[0].{first.name}"
    for instance, field, words in (
        ({name: one for name, one in good.items() if name != first.name}, place, "missing input"),
        ({**good, "age": 3}, "instances[0].age", "unknown input"),
        ({**good, first.name: other}, f"{place}[1]" if first.ragged else place, "got 999, expected 0 to"),
        ({**good, first.name: "3"}, place, "got text, expected a"),
        ([3, 4], "instances[0]", "got a list, expected an object with"),
        (
            {**good, first.name: [1.5] if first.ragged else 1.5},
            f"{place}[0]" if first.ragged else place,
            "whole number",
        ),
    ):
        reply = client.post("/predict", json={"instances": [instance]})
        assert reply.status_code == 422, (instance, reply.text)
        assert reply.json()["field"] == field
        assert words in reply.json()["error"]


def test_what_a_long_row_pads_is_bounded() -> None:
    workload = load_workload(f"{HERE}:Texts", {})
    signature = signature_of(workload)
    longest = MAX_ROW_BYTES // 8 // 8 * 3
    body = json.dumps({"instances": [{"words": [1] * longest}, *({"words": [1]} for _ in range(5))]}).encode()
    with pytest.raises(BadRequestError, match="each as long as the longest"):
        parse_request(body, signature)
    seen: list[int] = []

    def model(batch: dict[str, torch.Tensor]) -> torch.Tensor:
        seen.append(batch["words"].numel())
        return torch.zeros(len(batch["words"]), 2)

    async def many() -> None:
        batcher = Batcher(max_batch_rows=64)
        predictor = Predictor(version=1, generation=1, signature=signature, model=model)
        short, long = (Inputs.stack([{"words": np.ones(n, np.int64)}], signature.tensors) for n in (1, longest))
        await asyncio.gather(*(batcher.predict(predictor, long if n == 20 else short) for n in range(60)))
        await batcher.stop()

    asyncio.run(many())
    assert max(seen) * 8 <= MAX_ROW_BYTES


def test_it_is_described_by_name(served: Served, client: TestClient) -> None:
    described = client.get("/openapi.json").json()
    content = described["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]
    items = content["schema"]["anyOf"][0]["properties"]["instances"]["items"]
    names = [spec.name for spec in served.signature.tensors]
    assert items["required"] == list(items["properties"]) == names
    for spec in served.signature.tensors:
        told = items["properties"][spec.name]
        number = told["items"] if spec.ragged else told
        assert (number["type"], number["minimum"]) == ("integer", 0)
        assert number["maximum"] < 60
    assert client.post("/predict", json=content["example"]).status_code == 200


def test_mlflow_answers_as_the_server(served: Served) -> None:
    import mlflow.pyfunc
    import pandas as pd

    loaded = mlflow.pyfunc.load_model(str(served.directory))
    instances = instances_of(served.rows.rows(slice(4)))
    frame = pd.DataFrame(instances)
    expected = served.predictor().predict(served.rows.rows(slice(4)))
    assert loaded.predict(frame) == expected
    assert len(loaded.predict(loaded.input_example)) == 2
    first = served.signature.tensors[0].name
    with pytest.raises(Exception, match=first):
        loaded.predict(frame.drop(columns=[first]))
    wrong = frame.copy()
    wrong[first] = [[999]] * 4 if served.signature.tensors[0].ragged else [999] * 4
    with pytest.raises(DataError, match=rf"instances\[0\]\.{first}.*got 999"):
        loaded.predict(wrong)

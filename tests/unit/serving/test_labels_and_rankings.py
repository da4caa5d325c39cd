"""Several labels, and rankings, over a schema: JSON, CSV, OpenAPI and MLflow's model answer alike."""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
import torch
from mlratchet.infra.artifact.exported import load_exported
from mlratchet.infra.artifact.package import complete, export
from mlratchet.models.artifact.signature import Signature, signature_of
from mlratchet.models.preparation.composed import PreparationPlan
from mlratchet.models.schema.fields import Schema
from mlratchet.models.schema.request import parse_examples
from mlratchet.models.serving.predictor import Predictor
from mlratchet.models.serving.schema import rows_of
from mlratchet.models.serving.slot import Slot
from mlratchet.models.tensors.batch import asked_by_name
from mlratchet.models.workloads.fields import SchemaWorkload
from safetensors.torch import save_file
from starlette.testclient import TestClient

from tests.unit.serving.conftest import BASE, app_of

YES_OR_NO = {"kind": "category", "values": ["no", "yes"]}
INPUTS = {"words": {"kind": "text"}, "plan": {"kind": "category"}, "hours": {"kind": "number", "nullable": True}}
SEVERAL: dict[str, Any] = {"schema": {"fields": {**INPUTS, "urgent": YES_OR_NO, "bug": {"kind": "number"}},
                                      "labels": ["urgent", "bug"]}}  # fmt: skip
TAGS = {"kind": "category", "several": True, "values": ["urgent", "bug"]}
IN_ONE: dict[str, Any] = {"schema": {"fields": {**INPUTS, "tags": TAGS}, "label": "tags"}}
RANKED: dict[str, Any] = {
    "schema": {"fields": {**INPUTS, "who": {"kind": "entity", "input": False}, "stars": {"kind": "number"}},
               "label": "stars", "group": "who"},
    "task": "ranking",
}  # fmt: skip
ROWS = [
    {"words": f"please {one}", "plan": plan, "hours": hours}
    for one, plan, hours in (("help", "free", 1.5), ("now, it broke", "pro", 20), ("", "new", None))
]


@dataclass(frozen=True, kw_only=True)
class Version:
    """As a server and as MLflow have it."""

    directory: Path
    predictor: Predictor
    task: str


@pytest.fixture(scope="module", params=[SEVERAL, IN_ONE, RANKED], ids=["labels", "one column", "ranking"])
def version(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Version:
    known = Schema.model_validate(request.param["schema"])
    table = parse_examples(ROWS * 4, known)
    fitted = PreparationPlan(known).fit(lambda: iter([table])).to_bytes()
    workload = SchemaWorkload(**request.param, fitted=base64.b64encode(fitted).decode())
    signature = signature_of(workload)
    torch.manual_seed(0)
    module = workload.prepared_model().eval()
    model, out = asked_by_name(module, workload.tensors()), tmp_path_factory.mktemp("version") / "model"
    rows = rows_of(ROWS, signature)
    export(model, rows.rows(slice(2)), out)
    weights = out.parent / "w.safetensors"
    save_file(module.state_dict(), weights)
    complete(out, signature, rows.rows(slice(2)), card="card", weights_file=weights, instances=ROWS[:2])
    stored = Signature.from_json((out / "signature.json").read_text())
    predictor = Predictor(version=3, generation=3, signature=stored, model=load_exported(out))
    return Version(directory=out, predictor=predictor, task=str(workload.task))


@pytest.fixture
def client(version: Version) -> Iterator[TestClient]:
    slot = Slot()
    slot.swap(version.predictor)
    with TestClient(app_of(slot), base_url=BASE) as found:
        yield found


def as_json(client: TestClient) -> list[dict[str, Any]]:
    reply = client.post("/predict", json={"instances": ROWS})
    assert reply.status_code == 200, reply.text
    return list(reply.json()["predictions"])


def test_each_label_has_its_probability_and_each_row_of_a_query_its_score(version: Version, client: TestClient) -> None:
    for one in as_json(client):
        if version.task == "ranking":
            assert set(one) == {"score"}
        else:
            assert set(one["probabilities"]) == {"urgent", "bug"}
            assert one["labels"] == [name for name, share in one["probabilities"].items() if share > 0.5]


def test_a_table_is_answered_as_json_is(client: TestClient) -> None:
    sink = io.StringIO()
    rows = csv.DictWriter(sink, ["hours", "plan", "words"])
    rows.writeheader()
    rows.writerows(ROWS)
    reply = client.post("/predict", content=sink.getvalue(), headers={"content-type": "text/csv"})
    assert reply.status_code == 200, reply.text
    assert reply.json()["predictions"] == as_json(client)


def test_what_is_learnt_and_the_query_are_no_input(version: Version, client: TestClient) -> None:
    for name in ("who", "stars") if version.task == "ranking" else ("urgent", "tags", "bug"):
        reply = client.post("/predict", json={"instances": [{**ROWS[0], name: 1}]})
        assert (reply.status_code, reply.json()["field"]) == (422, f"instances[0].{name}")


def test_openapi_describes_the_example_and_the_answer(version: Version, client: TestClient) -> None:
    post = client.get("/openapi.json").json()["paths"]["/predict"]["post"]
    content = post["requestBody"]["content"]
    items = content["application/json"]["schema"]["anyOf"][0]["properties"]["instances"]["items"]
    assert set(items["properties"]) == set(INPUTS)
    assert "text/csv" in content
    answer = post["responses"]["200"]["content"]["application/json"]["schema"]["properties"]["predictions"]["items"]
    assert set(answer["required"]) == set(as_json(client)[0])
    if version.task != "ranking":
        assert answer["properties"]["labels"]["items"]["enum"] == ["urgent", "bug"]


def test_mlflow_s_model_answers_the_same(version: Version, client: TestClient) -> None:
    loaded = mlflow.pyfunc.load_model(str(version.directory))
    told = loaded.predict(pd.DataFrame(ROWS))
    assert json.loads(json.dumps(told)) == as_json(client)

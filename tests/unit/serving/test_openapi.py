"""What `/openapi.json` promises holds: requests are made from it, and every answer is one that it describes."""

from __future__ import annotations

from typing import Any

import hypothesis
import pytest
import schemathesis
import torch
from mlratchet.models.artifact.signature import Signature
from mlratchet.models.serving.app import ServingApp
from mlratchet.models.serving.config import ServingConfig
from mlratchet.models.serving.endpoint import Endpoint
from mlratchet.models.serving.metrics import Metrics
from mlratchet.models.serving.openapi import instance
from mlratchet.models.serving.predictor import Predictor
from mlratchet.models.serving.slot import Slot
from mlratchet.models.serving.tokens import Access, new_token
from mlratchet.models.sources.record import InputSpec
from starlette.testclient import TestClient

from tests.unit.serving.by_contract import A_SERVER_ERROR, UNSAYABLE, check
from tests.unit.serving.conftest import BASE, IMAGE, app_of

NAMED = Signature(
    task="classification",
    classes=("no", "yes"),
    input=InputSpec(
        kind="table", shape=(3,), dtype="float32", columns=("price", "stock", "age"), defaults=(("age", 1.0),)
    ),
    ranges=(("price", 0.0, 1e6),),
)
PIXELS = Signature(task="regression", classes=(), input=InputSpec(kind="tensor", shape=(2, 2), dtype="uint8"))
WHOLE = Signature(
    task="regression", classes=(), input=InputSpec(kind="table", shape=(2,), dtype="int64", columns=("a", "b"))
)
NUMBERS = Signature(
    task="classification",
    classes=("no", "yes"),
    input=InputSpec(kind="tensor", shape=(1, 2, 2), dtype="float32", value_range=(0.0, 1.0)),
)


def steady(signature: Signature) -> Predictor:
    """Answers every row with a finite number."""

    def model(x: torch.Tensor) -> torch.Tensor:
        total = torch.tanh(x.flatten(1).float()).sum(1)
        return total if signature.task == "regression" else torch.stack([-total, total], 1)

    return Predictor(version=3, generation=1, signature=signature, model=model)


def server_of(signature: Signature | None) -> ServingApp:
    slot = Slot()
    if signature is not None:
        slot.swap(steady(signature))
    return app_of(slot)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["named", "uint8", "int64", "range", "none"])
def test_schemathesis_finds_nothing(kind: str) -> None:
    signature = {"named": NAMED, "uint8": PIXELS, "int64": WHOLE, "range": NUMBERS, "none": None}[kind]
    schema = schemathesis.openapi.from_asgi("/m/openapi.json", server_of(signature), headers={"host": "localhost"})
    operations = [operation.ok() for operation in schema.get_all_operations()]
    assert {operation.path for operation in operations} == {"/predict", "/explain", "/health", "/ready"}
    modes = [schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE]
    for operation in operations:
        for mode in modes if operation.path in ("/predict", "/explain") else modes[:1]:

            @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
            @hypothesis.settings(max_examples=12, suppress_health_check=list(hypothesis.HealthCheck), deadline=None)
            def holds(case: schemathesis.Case) -> None:
                check(case, *([A_SERVER_ERROR] if signature is None else []))

            holds()


class NoRoomNow:
    """A log without room for every third label, and a reload that somebody asked for."""

    lost, asked = 0, 0

    def offer_labels(self, labels: list[list[Any]]) -> bool:
        self.asked += 1
        return self.asked % 3 != 0

    def facts(self) -> dict[str, Any]:
        return {}


@pytest.mark.slow
def test_schemathesis_finds_nothing_in_what_needs_a_token() -> None:
    text, held = new_token("clinic", ("feedback", "admin"), now_s=0.0)
    slot, log, reloads = Slot(), NoRoomNow(), []
    slot.swap(steady(NAMED))
    app = ServingApp(Metrics(), access=Access(lambda: {held.id: held}))
    app.take_up(Endpoint("m", slot, ServingConfig(), metrics=app.metrics, log=log, reload=lambda: reloads.append(1)))
    schema = schemathesis.openapi.from_asgi("/m/openapi.json", app, headers={"host": "localhost"})
    operations = {operation.ok().path: operation.ok() for operation in schema.get_all_operations()}
    assert {"/feedback", "/reload"} < set(operations)
    for path in ("/feedback", "/reload"):
        for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE):
            if path == "/reload" and mode == schemathesis.GenerationMode.NEGATIVE:
                continue  # nothing of it can be wrong

            @hypothesis.given(case=operations[path].as_strategy(generation_mode=mode))
            @hypothesis.settings(max_examples=20, suppress_health_check=list(hypothesis.HealthCheck), deadline=None)
            def holds(case: schemathesis.Case) -> None:
                check(case, A_SERVER_ERROR, *UNSAYABLE[:1], token=text)

            holds()
    assert log.asked > 3
    assert reloads


@pytest.mark.parametrize("signature", [NAMED, PIXELS, WHOLE, NUMBERS, IMAGE], ids=lambda one: one.input.dtype)
def test_the_example_is_answered(signature: Signature) -> None:
    with TestClient(server_of(signature), base_url=BASE) as client:
        body = client.get("/openapi.json").json()["paths"]["/predict"]["post"]["requestBody"]["content"]
        reply = client.post("/predict", json=body["application/json"]["example"])
    assert (reply.status_code, len(reply.json()["predictions"])) == (200, 1)


def test_rows_are_described_by_name_with_limits_and_defaults() -> None:
    by_name, by_position = instance(NAMED)["oneOf"]
    assert by_name["required"] == ["price", "stock"]
    assert (by_name["properties"]["price"]["minimum"], by_name["properties"]["price"]["maximum"]) == (0.0, 1e6)
    assert by_name["properties"]["age"]["default"] == 1.0
    assert (by_position["minItems"], by_position["maxItems"]) == (2, 3)
    assert instance(WHOLE)["oneOf"][0]["properties"]["a"] == {
        "type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1,
    }  # fmt: skip
    assert "image_base64" in instance(IMAGE)["oneOf"][1]["properties"]

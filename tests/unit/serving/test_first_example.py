"""What a description of a server shows to begin with is answered as it stands; fields stand as in the table."""

from __future__ import annotations

from typing import Any

import pytest
from mlratchet.models.serving.config import ServingConfig
from mlratchet.models.serving.slot import Slot
from starlette.testclient import TestClient

from tests.unit.serving.conftest import BASE, app_of
from tests.unit.serving.six_schemas import KINDS, Kind, predictor_of, predictor_over
from tests.unit.serving.test_openapi import NAMED, steady

BOUNDED = Kind(
    fields={
        "zone": {"kind": "number", "minimum": 2.5, "maximum": 9},
        "floor": {"kind": "number", "maximum": -3, "whole": True},
        "day": {"kind": "time", "minimum": "2031-01-01"},
        "plan": {"kind": "category"},
    },
    example={"zone": 3, "floor": -4, "day": "2031-02-01T00:00:00Z", "plan": "b"},
)


def client_of(predictor: Any, order: tuple[str, ...] = ()) -> TestClient:
    slot = Slot()
    slot.swap(predictor)
    return TestClient(app_of(slot, ServingConfig(form=order)), base_url=BASE)


def content_in(client: TestClient, path: str = "/predict") -> dict[str, Any]:
    found: dict[str, Any] = client.get("/openapi.json").json()["paths"][path]["post"]["requestBody"]["content"]
    return found


@pytest.mark.parametrize("kind", [*KINDS, "bounded"])
def test_first_example_of_a_schema_is_answered(kind: str) -> None:
    with client_of(predictor_over(BOUNDED) if kind == "bounded" else predictor_of(kind)) as client:
        example = content_in(client)["application/json"]["example"]
        reply = client.post("/predict", json=example)
    assert (reply.status_code, len(reply.json().get("predictions", []))) == (200, 1), reply.text
    fields = (BOUNDED if kind == "bounded" else KINDS[kind]).fields
    assert set(example["instances"][0]) == set(fields)


def test_every_body_tells_fields_in_the_order_of_the_table() -> None:
    order = ("town", "size", "note", "day")
    with client_of(predictor_of("shop"), order) as client:
        for path in ("/predict", "/explain"):
            content = content_in(client, path)
            listed, alone = content["application/json"]["schema"]["anyOf"]
            instance = listed["properties"]["instances"]["items"]
            for told in (instance, alone, content["multipart/form-data"]["schema"]):
                assert tuple(told["properties"]) == order
                assert told["required"] == ["town", "note"]
            (example,) = content["application/json"]["example"]["instances"]
            assert tuple(example) == order
            for media in ("text/csv", "application/vnd.apache.arrow.stream"):
                assert ", ".join(order) in content[media]["schema"]["description"]


def test_order_is_of_names_and_never_of_a_row_by_position() -> None:
    with client_of(steady(NAMED), ("age",)) as client:
        listed, _ = content_in(client)["application/json"]["schema"]["anyOf"]
    by_name, by_position = listed["properties"]["instances"]["items"]["oneOf"]
    assert list(by_name["properties"]) == ["age", "price", "stock"]
    assert by_position["description"] == "values of price, stock, age, in this order"

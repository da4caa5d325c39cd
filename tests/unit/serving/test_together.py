"""Examples of several requests, prepared as one table: the same bits as alone, and a wrong one fails alone."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from mlratchet.models.artifact.signature import Signature, signature_of
from mlratchet.models.preparation.composed import PreparationPlan
from mlratchet.models.schema.fields import Schema
from mlratchet.models.schema.request import parse_examples
from mlratchet.models.serving import together
from mlratchet.models.serving.predictor import Predictor
from mlratchet.models.serving.refusal import BadRequestError
from mlratchet.models.serving.schema import rows_of
from mlratchet.models.serving.slot import Slot
from mlratchet.models.serving.together import PreparedTogether
from mlratchet.models.tensors.batch import asked_by_name
from mlratchet.models.workloads.fields import SchemaWorkload

from tests.unit.serving.conftest import app_of, served

FIELDS: dict[str, Any] = {
    "size": {"kind": "number", "nullable": True},
    "town": {"kind": "category"},
    "note": {"kind": "text"},
    "left": {"kind": "category", "values": ["no", "yes"]},
}


def example(at: int) -> dict[str, Any]:
    return {"size": None if at % 5 == 0 else at / 7, "town": f"town {at % 4}", "note": "good " * (at % 6) + "end"}


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    schema = {"fields": FIELDS, "label": "left"}
    known = Schema.model_validate(schema)
    table = parse_examples([example(at) for at in range(60)], known)
    fitted = PreparationPlan(known).fit(lambda: iter([table])).to_bytes()
    workload = SchemaWorkload(schema=schema, fitted=base64.b64encode(fitted).decode())
    torch.manual_seed(0)
    model = asked_by_name(workload.prepared_model().eval(), workload.tensors())
    return Predictor(version=1, generation=1, signature=signature_of(workload), model=model)


def ask(together: PreparedTogether, asked: list[list[Any]], signature: Signature) -> list[Any]:
    async def all_at_once() -> list[Any]:
        return await asyncio.gather(*(together.rows(one, signature) for one in asked), return_exceptions=True)

    return asyncio.run(all_at_once())


def test_rows_are_the_bits_that_each_request_gives_alone(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def counted(instances: list[Any], signature: Signature) -> Any:
        calls.append(len(instances))
        return rows_of(instances, signature)

    monkeypatch.setattr(together, "rows_of", counted)
    asked = [[example(at)] if at % 3 else [example(at), example(at + 1)] for at in range(40)]
    found = ask(PreparedTogether(), asked, predictor.signature)
    assert calls == [sum(map(len, asked))], "they were not prepared together"
    for instances, rows in zip(asked, found, strict=True):
        alone = rows_of(instances, predictor.signature)
        assert rows.names == alone.names
        assert len(rows) == len(instances)
        for name, values in alone.arrays().items():
            np.testing.assert_array_equal(rows.arrays()[name], values)


def test_what_is_wrong_with_one_is_said_to_it_alone(predictor: Predictor) -> None:
    asked = [[{**example(at), "size": "tall"}] if at in (3, 17) else [example(at)] for at in range(24)]
    found = ask(PreparedTogether(), asked, predictor.signature)
    wrong = {at: one for at, one in enumerate(found) if isinstance(one, Exception)}
    assert sorted(wrong) == [3, 17]
    for error in wrong.values():
        assert isinstance(error, BadRequestError)
        assert error.field == "instances[0].size", "numbered within its own request"


def test_a_table_has_no_more_rows_than_it_may(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def counted(instances: list[Any], signature: Signature) -> Any:
        calls.append(len(instances))
        return rows_of(instances, signature)

    monkeypatch.setattr(together, "rows_of", counted)
    monkeypatch.setattr(together, "MOST_ROWS", 8)
    ask(PreparedTogether(), [[example(0)] * 3, [example(1)] * 5, [example(2)] * 20, [example(3)]], predictor.signature)
    assert calls == [8, 20, 1]


def test_versions_are_not_mixed_and_a_client_that_went_is_no_trouble(predictor: Predictor) -> None:
    other = Signature.from_json(predictor.signature.to_json())

    async def one_leaves() -> list[Any]:
        preparing = PreparedTogether()
        tasks = [
            asyncio.create_task(preparing.rows([example(at)], (predictor.signature, other)[at % 2])) for at in range(4)
        ]
        await asyncio.sleep(0)
        tasks[1].cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    found = asyncio.run(one_leaves())
    assert isinstance(found[1], asyncio.CancelledError)
    assert [len(one) for at, one in enumerate(found) if at != 1] == [1, 1, 1]


def test_over_http_each_client_reads_its_own_answer(predictor: Predictor) -> None:
    slot = Slot()
    slot.swap(predictor)
    app = app_of(slot)

    async def answers() -> list[httpx.Response]:
        async with served(app) as client:
            bodies = [{"instances": [{**example(at), **({"town": 7} if at == 5 else {})}]} for at in range(12)]
            return await asyncio.gather(*(client.post("/predict", json=body) for body in bodies))

    found = asyncio.run(answers())
    assert [one.status_code for one in found] == [422 if at == 5 else 200 for at in range(12)]
    for at, one in enumerate(found):
        if at != 5:
            (expected,) = predictor.predict(rows_of([example(at)], predictor.signature))
            (answer,) = one.json()["predictions"]
            assert answer["class"] == expected["class"]
            assert answer["probabilities"] == pytest.approx(expected["probabilities"], abs=1e-6)

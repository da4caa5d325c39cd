"""What is said to speak for an answer does: a model that is known to the last bit is explained as it computes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
import pytest
import torch
from mlratchet.models.artifact.signature import Signature
from mlratchet.models.serving.explaining.answering import MOST_AT_ONCE
from mlratchet.models.serving.explaining.asking import UnwantedError
from mlratchet.models.serving.explaining.by_word import MOST_PARTS, WordSpan, texts_without, words_of
from mlratchet.models.serving.explaining.explanation import explanation
from mlratchet.models.serving.predictor import Predictor
from mlratchet.models.serving.reading.media import read_request
from mlratchet.models.serving.schema import rows_of_content
from mlratchet.models.serving.slot import Slot
from mlratchet.models.sources.record import InputSpec
from mlratchet.models.tensors.spec import TensorSpec
from mlratchet.models.workloads.base import MEAN
from starlette.testclient import TestClient
from torch import nn

from tests.unit.serving.conftest import IMAGE, TABLE, app_of, served, sum_of
from tests.unit.serving.six_schemas import KINDS, png, predictor_of


def why(predictor: Predictor, example: Any, wanted: Callable[[], bool] = lambda: True) -> dict[str, Any]:
    content = read_request(orjson.dumps(example), predictor.signature)
    rows = rows_of_content(content, predictor.signature)
    return explanation(predictor, content.instances, rows, wanted)


def effects(told: dict[str, Any]) -> dict[str, float]:
    return {one["field"]: pytest.approx(one["effect"], abs=1e-5) for one in told["fields"]}


def test_columns_add_what_they_are_more_than_their_mean() -> None:
    class Weighted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer(MEAN, torch.tensor([1.0, 10.0]))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[:, 0] * 2 - x[:, 1]

    known = Predictor(version=1, generation=1, signature=TABLE, model=Weighted())
    told = why(known, {"a": 4, "b": 7})
    assert effects(told) == {"a": 6.0, "b": 3.0}
    assert (told["quantity"], told["prediction"]) == ("the value", {"value": 1.0})
    assert effects(why(sum_of(3, TABLE), [4, 7])) == {"a": 4.0, "b": 7.0}


def test_pixels_add_up_to_the_change_of_the_answer() -> None:
    told = why(sum_of(3), [[[1, 0], [0.5, 1]]])
    (grid,) = told["pixels"].values()
    assert (grid["rows"], grid["columns"]) == (2, 2)
    total = torch.tensor([-2.5, 2.5]).log_softmax(0)[1] - torch.tensor([0.0, 0.0]).log_softmax(0)[1]
    assert np.sum(grid["effects"]) == pytest.approx(float(total), rel=0.02)
    assert grid["effects"][0][1] == 0
    assert grid["effects"][0][0] == pytest.approx(2 * grid["effects"][1][0], rel=0.01)


def test_named_tensors_are_explained_by_their_values() -> None:
    words = TensorSpec(name="w", shape=(), dtype="int64", ragged=True)
    specs = (TensorSpec(name="a", shape=(2,), dtype="float32"), words)
    signature = Signature(
        task="regression", classes=(), input=InputSpec(kind="named", shape=(), dtype="float32", tensors=specs)
    )

    def model(batch: Any) -> torch.Tensor:
        return batch["a"][:, 0] * 3 + batch["a"][:, 1] + batch["w"].float().sum(1)

    known = Predictor(version=1, generation=1, signature=signature, model=model)
    assert effects(why(known, {"a": [1, 2], "w": [5, 6]})) == {"a[0]": 3.0, "a[1]": 2.0, "w": 11.0}


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_of_a_schema_is_explained(kind: str) -> None:
    told = why(predictor_of(kind), KINDS[kind].example)
    assert [one["field"] for one in told["fields"]] == list(KINDS[kind].fields)
    numbers = [one["effect"] for one in told["fields"]]
    for held in told.get("words", {}).values():
        numbers += [one["effect"] for one in held]
    assert np.isfinite(numbers).all()
    expected = {"text": "words", "letters": "words", "shop": "words", "picture": "pixels", "sound": "stretches"}
    assert kind not in expected or expected[kind] in told


def test_a_field_that_is_what_the_model_takes_for_nothing_adds_nothing() -> None:
    shop = KINDS["shop"].example
    told = effects(why(predictor_of("shop"), {**shop, "size": 3.5}))  # its mean in training
    assert told["size"] == pytest.approx(0, abs=1e-6)
    assert told["note"] != pytest.approx(0, abs=1e-4)


def test_the_effect_of_a_word_is_that_of_the_text_without_it() -> None:
    known = predictor_of("text")
    told = why(known, {"review": "a very good thing"})
    word = told["words"]["review"][1]
    rows = [
        rows_of_content(read_request(orjson.dumps({"review": text}), known.signature), known.signature)
        for text in ("a very good thing", "a  good thing")
    ]
    index = known.signature.classes.index(told["prediction"]["class"])
    whole, without = (np.log(known.predict(one)[0]["probabilities"][known.signature.classes[index]]) for one in rows)
    assert (word["start"], word["end"]) == (2, 6)
    assert word["effect"] == pytest.approx(whole - without, abs=1e-5)


def test_words_of_a_long_text_are_taken_together() -> None:
    text = " ".join(f"w{at}" for at in range(500))
    spans = words_of(text)
    assert len(spans) == MOST_PARTS
    assert (spans[0].start, spans[-1].end) == (0, len(text))
    assert texts_without("one two", [WordSpan(start=0, end=3)]) == [" two"]
    assert words_of("  ") == []


def test_it_ends_as_soon_as_nobody_waits_for_it() -> None:
    asked = iter([True, False])
    with pytest.raises(UnwantedError):
        why(predictor_of("shop"), KINDS["shop"].example, lambda: next(asked))


def client_of(predictor: Predictor) -> TestClient:
    slot = Slot()
    slot.swap(predictor)
    return TestClient(app_of(slot), base_url="http://localhost/m/")


def test_over_http() -> None:
    with client_of(predictor_of("shop")) as client:
        reply = client.post("explain", json=KINDS["shop"].example)
        assert (reply.status_code, reply.headers["x-model-version"]) == (200, "1")
        assert reply.json()["prediction"] == client.post("predict", json=KINDS["shop"].example).json()["predictions"][0]
        two = client.post("explain", json={"instances": [KINDS["shop"].example] * 2})
        assert (two.status_code, two.json()["field"]) == (422, "instances")
        wrong = client.post("explain", json={**KINDS["shop"].example, "size": "tall"})
        assert (wrong.status_code, wrong.json()["field"]) == (422, "size")
        assert client.get("explain").status_code == 405


def test_explanations_take_no_place_of_predictions() -> None:
    inside, go = threading.Event(), threading.Event()

    def slow(x: torch.Tensor) -> torch.Tensor:
        if threading.current_thread().name.startswith("explain"):
            inside.set()
            assert go.wait(120)
        return x.sum(1)

    slot = Slot()
    slot.swap(Predictor(version=3, generation=3, signature=TABLE, model=slow))
    app = app_of(slot)

    async def scenario() -> list[int]:
        async with served(app) as client:
            asked = [asyncio.create_task(client.post("/explain", json=[1, 2])) for _ in range(MOST_AT_ONCE)]
            await asyncio.get_running_loop().run_in_executor(None, inside.wait, 30)
            refused = await client.post("/explain", json=[1, 2])
            predicted = await client.post("/predict", json=[1, 2])
            go.set()
            answered = [await one for one in asked]
            late = await client.post("/explain", json=[1, 2], headers={"x-timeout-ms": "60000"})
            return [
                refused.status_code,
                predicted.status_code,
                late.status_code,
                *(one.status_code for one in answered),
            ]

    assert asyncio.run(scenario()) == [503, 200, 200, *([200] * MOST_AT_ONCE)]


def test_the_picture_of_a_model_is_explained_from_its_file() -> None:
    with client_of(sum_of(3, IMAGE)) as client:
        reply = client.post("explain", content=png(), headers={"content-type": "image/png"})
    assert (reply.status_code, list(reply.json()["pixels"])) == (200, ["image_base64"])

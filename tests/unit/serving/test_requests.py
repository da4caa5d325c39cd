"""Bad requests are refused with the field that is wrong; none is a server error."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mlratchet.models.artifact.signature import Signature
from mlratchet.models.serving.answering import VERSION_HEADER
from mlratchet.models.serving.batcher import Batcher
from mlratchet.models.serving.predictor import Predictor
from mlratchet.models.serving.refusal import BadRequestError
from mlratchet.models.serving.schema import parse_request
from mlratchet.models.serving.slot import Slot
from mlratchet.models.tensors.named import Inputs
from PIL import Image
from starlette.testclient import TestClient

from tests.unit.serving.conftest import IMAGE, TABLE, sum_of


def png(size: tuple[int, int] = (2, 2)) -> str:
    sink = io.BytesIO()
    Image.new("L", size, 255).save(sink, "PNG")
    return base64.b64encode(sink.getvalue()).decode()


def test_a_good_request_is_answered_with_class_probability_and_version(client: TestClient) -> None:
    reply = client.post("/predict", json={"instances": [[[[1, 1], [1, 1]]], {"image_base64": png((9, 5))}]})
    assert reply.status_code == 200
    assert reply.headers[VERSION_HEADER] == "3"
    assert [one["class"] for one in reply.json()["predictions"]] == ["yes", "yes"]
    assert sum(reply.json()["predictions"][0]["probabilities"].values()) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b"{", 400, "body"),
        (b"\xff\xfe", 400, "body"),
        (b"[]", 422, "body"),
        (b"{}", 422, "instances"),
        (b'{"instances": []}', 422, "instances"),
        (b'{"instances": 3}', 422, "instances"),
        (b'{"inputs": []}', 422, "inputs"),
        (b'{"instances": [[[[1, 2], [1, 1]]]]}', 422, "instances[0][0][0][1]"),
        (b'{"instances": [[[[1, 1], [1]]]]}', 422, "instances[0][0][1]"),
        (b'{"instances": [[1, 1]]}', 422, "instances[0]"),
        (b'{"instances": [[[["1", 1], [1, 1]]]]}', 422, "instances[0][0][0][0]"),
        (b'{"instances": [[[[true, 1], [1, 1]]]]}', 422, "instances[0][0][0][0]"),
        (b'{"instances": [[[[null, 1], [1, 1]]]]}', 422, "instances[0][0][0][0]"),
        (b'{"instances": [[[[NaN, 1], [1, 1]]]]}', 422, "instances[0][0][0][0]"),
        (b'{"instances": [[[[1e400, 1], [1, 1]]]]}', 422, "instances[0][0][0][0]"),
        (b'{"instances": [[[[1e400, 1], [1, 1]]]', 400, "body"),
        (b'{"instances": ' + b"[" * 900 + b"1" + b"]" * 900 + b"}", 422, "instances[0][0]"),
        (b"[" * 1500 + b"]" * 499, 400, "body"),
        (b'{"instances": [{"image_base64": "%%%"}]}', 422, "instances[0].image_base64"),
        (b'{"instances": [{"image_base64": "aGVsbG8="}]}', 422, "instances[0].image_base64"),
        (b'{"instances": [{"image_base64": 3}]}', 422, "instances[0].image_base64"),
        (b'{"instances": [{"pixels": 3}]}', 422, "instances[0]"),
        (b'{"instances": [' + b"1," * 3000 + b"1]}", 413, "body"),
    ],
)
def test_a_bad_request_names_its_field(client: TestClient, body: bytes, status: int, field: str) -> None:
    reply = client.post("/predict", content=body)
    assert (reply.status_code, reply.json()["field"]) == (status, field)
    assert reply.json()["error"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "image_base64", "x"]), inner),
    max_leaves=10,
)


@given(st.one_of(JSON, st.builds(lambda rows: {"instances": rows}, st.lists(JSON, max_size=3))))
def test_no_json_whatever_breaks_the_parser(document: Any) -> None:
    for signature in (IMAGE, TABLE):
        try:
            body = orjson.dumps(document)
        except TypeError:  # an integer beyond 64 bits has no JSON of orjson's
            body = json.dumps(document).encode()
        refused: BadRequestError | None = None
        try:
            rows = parse_request(body, signature).array
        except BadRequestError as error:
            refused = error
        if refused is None:
            assert rows.shape[1:] == signature.input.shape
            assert np.isfinite(rows).all()
        else:
            assert refused.field
            assert 400 <= refused.status < 500


def test_rows_of_a_table_may_be_named() -> None:
    rows = parse_request(b'{"instances": [{"b": 2, "a": 1}, [3, 4]]}', TABLE).array
    assert rows.tolist() == [[1, 2], [3, 4]]
    for body, field in (
        (b'{"instances": [{"a": 1}]}', "instances[0].b"),
        (b'{"instances": [{"a": 1, "b": 2, "c": 3}]}', "instances[0].c"),
        (b'{"instances": [[1, 1e39]]}', "instances[0][1]"),
        (b'{"instances": [{"a": 1e39, "b": 2}]}', "instances[0].a"),
    ):
        with pytest.raises(BadRequestError) as caught:
            parse_request(body, TABLE)
        assert caught.value.field == field


def test_a_model_that_answers_nan_is_a_422_not_a_prediction(client: TestClient, slot: Slot) -> None:
    slot.swap(sum_of(4, factor=float("nan")))
    reply = client.post("/predict", json={"instances": [[[[1, 1], [1, 1]]]]})
    assert reply.status_code == 422
    assert "NaN or infinity" in reply.json()["error"]


def test_without_a_champion_it_lives_but_is_not_ready(serve: Callable[..., TestClient]) -> None:
    slot = Slot()
    slot.load_error = "SECURITY: the manifest was changed"
    client = serve(slot)
    assert client.get("/health").json()["load_error"].startswith("SECURITY")
    assert client.get("/ready").status_code == 503
    refused = client.post("/predict", json={"instances": [[1]]})
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert client.get("/health").json()["server_errors"] == {"count": 0, "last": None, "unavailable": 1}


def test_the_pages_for_people_and_machines(client: TestClient) -> None:
    client.post("/predict", json={"instances": [[[[1, 1], [1, 1]]]]})
    metrics = client.get("http://localhost/metrics").text
    assert 'ratchet_requests_total{pipeline="m",status="200",variant="champion",version="3"} 1.0' in metrics
    assert 'ratchet_model_version{pipeline="m"} 3.0' in metrics
    assert client.get("/ready").json() == {"ready": True, "version": 3}
    description = client.get("/openapi.json").json()
    assert "/predict" in description["paths"]
    page = client.get("/docs")
    assert "m, version 3" in page.text
    assert "//" not in page.text.replace("<!doctype", "")  # nothing from elsewhere
    for name in ("swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png", "start.js"):
        assert f"docs/{name}" in page.text
        assert client.get(f"/docs/{name}").status_code == 200


def test_a_swap_loses_no_request_and_answers_with_the_version_that_parsed_it() -> None:
    async def scenario() -> list[float]:
        batcher = Batcher(max_batch_rows=8)
        predictors = [sum_of(version, TABLE, factor=float(version)) for version in (1, 2, 3)]
        rows = Inputs({"x": np.ones((1, 2), dtype=np.float32)})
        answers = await asyncio.gather(*(batcher.predict(predictors[n % 3], rows) for n in range(200)))
        await batcher.stop()
        return [one.predictions[0]["value"] for one in answers]

    assert asyncio.run(scenario()) == [2.0 * (n % 3 + 1) for n in range(200)]


def test_one_broken_request_does_not_stop_the_batcher() -> None:
    def explode(x: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("kernel")

    async def scenario() -> list[dict[str, Any]]:
        batcher = Batcher(max_batch_rows=4)
        bad = Predictor(version=1, generation=1, signature=TABLE, model=explode)
        rows = Inputs({"x": np.ones((1, 2), dtype=np.float32)})
        with pytest.raises(RuntimeError, match="kernel"):
            await batcher.predict(bad, rows)
        answers = await batcher.predict(sum_of(2, TABLE), rows)
        await batcher.stop()
        return answers.predictions

    assert asyncio.run(scenario()) == [{"value": 2.0}]


def test_a_signature_reads_back() -> None:
    for signature in (IMAGE, TABLE):
        assert Signature.from_json(signature.to_json()) == signature

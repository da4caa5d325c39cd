"""A server among strangers: what one client does is nobody else's affair, and what goes wrong is counted and named."""

from __future__ import annotations

import asyncio
import base64
import io
import logging
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from mlratchet.models.artifact.signature import Signature
from mlratchet.models.serving.admission import Admission
from mlratchet.models.serving.app import ID_HEADER
from mlratchet.models.serving.batcher import Batcher
from mlratchet.models.serving.config import ServingConfig
from mlratchet.models.serving.hosts import AllowedHosts
from mlratchet.models.serving.predictor import Answers, NoFiniteAnswerError, Predictor
from mlratchet.models.serving.refusal import BadRequestError
from mlratchet.models.serving.slot import Slot
from mlratchet.models.tensors.named import Inputs
from PIL import Image, ImageFile
from starlette.testclient import TestClient

from tests.unit.serving.conftest import IMAGE, TABLE, app_of, served, sum_of

POISON = 3e38  # finite in float32; a sum of two is not


def serving(model: Callable[[torch.Tensor], torch.Tensor], signature: Signature = TABLE) -> Slot:
    slot = Slot()
    slot.swap(Predictor(version=5, generation=1, signature=signature, model=model))
    return slot


def fragile(x: torch.Tensor) -> torch.Tensor:
    """Of a row with 13 in it nothing can be said, and with -13 it answers too few rows."""
    if (x == 13).any():
        raise IndexError("index out of range in self")
    return x.sum(1)[: len(x) - int((x == -13).sum())]


@pytest.mark.parametrize("bad", [[POISON, POISON], [13.0, 0.0], [-13.0, 0.0]])
def test_a_bad_request_fails_alone_however_many_come_at_once(bad: list[float]) -> None:
    app = app_of(serving(fragile), ServingConfig())

    async def ask() -> Counter[tuple[str, int]]:
        async with served(app) as client:

            async def one(number: int) -> tuple[str, int]:
                row = bad if number % 10 == 0 else [number + 0.5, 1.0]
                reply = await client.post("/predict", json={"instances": [row]})
                if reply.status_code == 200:
                    assert reply.json()["predictions"] == [{"value": sum(row)}]
                return "bad" if number % 10 == 0 else "good", reply.status_code

            return Counter(await asyncio.gather(*map(one, range(200))))

    found = asyncio.run(ask())
    refused = 422 if bad[0] == POISON else 500
    assert found == {("good", 200): 180, ("bad", refused): 20}


def test_of_a_request_the_row_without_an_answer_is_named(serve: Callable[..., TestClient]) -> None:
    client = serve(serving(lambda x: x.sum(1)), max_batch_rows=2)
    reply = client.post("/predict", json={"instances": [[1, 1]] * 3 + [[POISON, POISON]]})
    assert (reply.status_code, reply.json()["field"]) == (422, "instances[3]")


def test_a_forward_never_has_more_rows_than_a_batch_may() -> None:
    seen: list[int] = []

    def model(x: torch.Tensor) -> torch.Tensor:
        seen.append(len(x))
        return x.sum(1)

    async def scenario() -> Answers:
        batcher = Batcher(max_batch_rows=4)
        predictor = Predictor(version=1, generation=1, signature=TABLE, model=model)
        found = await batcher.predict(predictor, Inputs({"x": np.arange(20, dtype=np.float32).reshape(10, 2)}))
        await batcher.stop()
        return found

    answers = asyncio.run(scenario())
    assert [one["value"] for one in answers.predictions] == [4.0 * n + 1 for n in range(10)]
    assert answers.output.tolist() == [4.0 * n + 1 for n in range(10)]
    assert seen == [4, 4, 2]


def test_every_error_of_ours_is_counted_logged_under_an_id_and_shown(
    serve: Callable[..., TestClient], caplog: pytest.LogCaptureFixture
) -> None:
    client = serve(serving(fragile))
    forged = "forged\nERROR somebody else"
    with caplog.at_level(logging.ERROR):
        replies = [
            client.post("/predict", json={"instances": [[13, 0]]}, headers={ID_HEADER: forged.replace("\n", " ")})
            for _ in range(3)
        ]
    identities = [reply.headers[ID_HEADER] for reply in replies]
    assert [reply.status_code for reply in replies] == [500] * 3
    assert [reply.json()["request_id"] for reply in replies] == identities
    assert len(set(identities)) == 3
    assert [sum(one in record.getMessage() for record in caplog.records) for one in identities] == [1, 1, 1]
    assert [record.exc_info is not None for record in caplog.records] == [True, False, False]  # one traceback a kind
    assert "forged" not in caplog.text
    told = client.get("http://localhost/metrics").text
    assert 'ratchet_server_errors_total{pipeline="m",status="500"} 3.0' in told
    assert 'ratchet_requests_total{pipeline="m",status="500",variant="champion",version="5"} 3.0' in told
    errors = client.get("/health").json()["server_errors"]
    assert (errors["count"], errors["last"]["request_id"], errors["last"]["error"]) == (3, identities[2], "IndexError")


def test_what_a_client_sends_cannot_break_a_line_of_the_log(
    serve: Callable[..., TestClient], caplog: pytest.LogCaptureFixture
) -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        raise ValueError("bad value 1\n2026-11-26 ERROR forged")

    client = serve(serving(model))
    with caplog.at_level(logging.ERROR):
        assert client.post("/predict", json={"instances": [[1, 1]]}).status_code == 500
    assert "\n" not in caplog.records[0].getMessage()


def test_errors_elsewhere_than_in_predictions_leave_a_trace_too(
    serve: Callable[..., TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Any) -> bytes:
        raise RuntimeError("registry")

    client = serve(serving(fragile))
    monkeypatch.setattr("mlratchet.models.serving.metrics.generate_latest", broken)
    assert client.get("http://localhost/metrics").status_code == 500
    last = client.get("http://localhost/health").json()["server_errors"]["last"]
    assert (last["asked"], last["error"]) == ("/metrics", "RuntimeError")


def test_a_full_server_says_when_to_ask_again(serve: Callable[..., TestClient]) -> None:
    app = app_of(serving(lambda x: x.sum(1)), ServingConfig(max_waiting_requests=5))

    async def ask() -> list[httpx.Response]:
        async with served(app) as client:
            body = {"instances": [[1, 2]]}
            return await asyncio.gather(*(client.post("/predict", json=body) for _ in range(50)))

    replies = asyncio.run(ask())
    refused = [reply for reply in replies if reply.status_code != 200]
    assert len(replies) - len(refused) >= 5
    assert refused
    assert {(reply.status_code, reply.headers["retry-after"]) for reply in refused} == {(503, "1")}


def test_room_is_given_back_whatever_happens() -> None:
    room = Admission(max_requests=2, max_bytes=100)
    with room.arrival() as first, room.arrival() as third:
        first.take(90)
        first.wait()
        with room.arrival() as second:
            with pytest.raises(BadRequestError, match="90 bytes"):
                second.take(11)
            second.take(10)
            second.wait()
            with pytest.raises(BadRequestError, match="2 requests"):
                third.wait()
        first.take(10)
        third.wait()
    with suppress(KeyError), room.arrival() as alone:
        alone.take(1000)  # another limit says how large one may be
        assert room.bytes == 1000
        raise KeyError
    assert (room.requests, room.bytes) == (0, 0)


SCOPE = {
    "type": "http", "method": "POST", "path": "/m/predict", "query_string": b"", "http_version": "1.1",
    "headers": [(b"host", b"localhost")],
}  # fmt: skip


def test_headers_whose_body_does_not_come_take_nobodys_place() -> None:
    app = app_of(serving(lambda x: x.sum(1)), ServingConfig(max_waiting_requests=2))

    async def ask() -> int:
        asked = 0
        all_wait = asyncio.Event()

        async def receive() -> dict[str, Any]:
            nonlocal asked
            asked += 1
            if asked == 5:
                all_wait.set()
            await asyncio.Event().wait()
            raise AssertionError

        async def send(_: Any) -> None:
            raise AssertionError

        async with served(app) as client:
            idle = [asyncio.create_task(app(SCOPE | {"state": {}}, receive, send)) for _ in range(5)]  # type: ignore[arg-type]
            await asyncio.wait_for(all_wait.wait(), 120)
            reply = await client.post("/predict", json={"instances": [[1, 2]]})
            for one in idle:
                one.cancel()
            await asyncio.gather(*idle, return_exceptions=True)
        return reply.status_code

    assert asyncio.run(ask()) == 200


def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    app = app_of(serving(fragile), ServingConfig(read_seconds=0.05))

    async def ask() -> dict[str, Any]:
        sent: list[dict[str, Any]] = []
        part = {"type": "http.request", "body": b'{"instances":', "more_body": True}
        parts = iter([part])

        async def receive() -> dict[str, Any]:
            for one in parts:
                return one
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: Any) -> None:
            sent.append(dict(message))

        async with served(app):
            await app(SCOPE | {"state": {}}, receive, send)  # type: ignore[arg-type]
        return sent[0]

    start = asyncio.run(ask())
    assert start["status"] == 408
    assert (b"connection", b"close") in start["headers"]


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("localhost", True), ("LocalHost:8000", True), ("127.0.0.1:1", True), ("[::1]:80", True), ("10.1.2.3", True),
        (None, True), ("models.example.org", True), ("evil.example.org", False), ("localhost.evil.org:80", False),
        ("127.0.0.1.nip.io", False), ("", False), ("a:b:c", False), ("127.0.0.1:80.evil.org", False),
        ("127.0.0.1:80@evil.org", False), ("localhost:", True), ("[::1]:", True), ("[::1]", True), ("[::1]:80x", False),
        ("[::1]80", False), ("[::1", False), ("localhost:\u0663", False), ("127.0.0.1:\u00b2", False), ("::1", True),
    ],
)  # fmt: skip
def test_a_page_that_had_its_name_point_here_is_not_answered(host: str | None, allowed: bool) -> None:
    assert AllowedHosts(["models.example.org"]).allows(host) is allowed
    assert AllowedHosts("*").allows(host)


def test_the_host_is_checked_on_every_path(serve: Callable[..., TestClient]) -> None:
    client = serve(serving(fragile))
    for path in ("/predict", "/health", "/docs", "/nothing"):
        reply = client.get(path, headers={"host": "evil.example.org"})
        assert (reply.status_code, reply.json()["field"]) == (421, "host")


@pytest.mark.parametrize("name", ["host", "origin"])
@pytest.mark.parametrize("method", ["POST", "GET"])
def test_two_headers_that_name_who_is_asked_or_asks_are_refused(
    serve: Callable[..., TestClient], name: str, method: str
) -> None:
    client, mine = serve(serving(fragile)), {"host": "localhost", "origin": "http://localhost"}[name]
    path = "/predict" if method == "POST" else "/health"
    for second in ("http://evil.example.org", mine):
        headers = [(name, mine), (name, second), ("content-type", "application/json")]
        reply = client.request(method, path, content=b'{"instances": [[1, 1]]}', headers=headers)
        assert (reply.status_code, reply.json()["field"], reply.headers["connection"]) == (400, name, "close")


def test_a_form_of_a_page_is_no_request(serve: Callable[..., TestClient]) -> None:
    client = serve(serving(fragile))
    for kind, status in (("text/plain", 415), ("application/json; charset=utf-8", 200)):
        reply = client.post("/predict", content=b'{"instances": [[1, 1]]}', headers={"content-type": kind})
        assert reply.status_code == status


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        (None, "127.0.0.1:8000", True), ("http://127.0.0.1:8000", "127.0.0.1:8000", True),
        ("https://models.example.org", "models.example.org:443", True), ("http://[::1]:80", "[::1]", True),
        ("https://models.example.org", "10.0.0.7:8000", True), ("http://evil.example.org", "127.0.0.1:8000", False),
        ("http://127.0.0.1:3000", "127.0.0.1:8000", False), ("http://6.6.6.6", "127.0.0.1:8000", False),
        ("null", "127.0.0.1:8000", False), ("null", None, False), ("", "", False), ("://", "", False),
    ],
)  # fmt: skip
def test_a_page_of_another_site_has_nothing_done(origin: str | None, host: str | None, allowed: bool) -> None:
    assert AllowedHosts(["models.example.org"]).allows_page(origin, host) is allowed
    assert AllowedHosts("*").allows_page(origin, host)


def test_a_form_of_another_site_writes_no_row(serve: Callable[..., TestClient]) -> None:
    client = serve(serving(fragile))
    body, site = b'{"instances": [[1, 1]]}', {"origin": "http://evil.example.org"}
    for kind in ("application/json", "multipart/form-data; boundary=x", ""):
        reply = client.post("/predict", content=body, headers={**site, "content-type": kind})
        assert (reply.status_code, reply.json()["field"]) == (403, "origin")
    assert client.get("/health", headers=site).status_code == 200
    own = {"origin": "http://127.0.0.1:8000", "host": "127.0.0.1:8000", "content-type": "application/json"}
    assert client.post("/predict", content=body, headers=own).status_code == 200


@pytest.mark.parametrize("packing", ["gzip", "br", "identity, gzip"])
def test_a_packed_body_is_refused_by_name(serve: Callable[..., TestClient], packing: str) -> None:
    client = serve(serving(fragile))
    headers = {"content-type": "application/json", "content-encoding": packing}
    reply = client.post("/predict", content=b'{"instances": [[1, 1]]}', headers=headers)
    assert (reply.status_code, reply.json()["field"]) == (415, "content-encoding")
    headers["content-encoding"] = "identity"
    assert client.post("/predict", content=b'{"instances": [[1, 1]]}', headers=headers).status_code == 200


def test_paths_and_methods_that_are_not_there_are_refused_as_all_else_is(serve: Callable[..., TestClient]) -> None:
    client = serve(serving(fragile))
    assert client.get("/nothing").json()["field"] == "path"
    refused = client.get("/predict")
    assert (refused.status_code, refused.headers["allow"], refused.json()["field"]) == (405, "POST", "path")


def picture(form: str, size: tuple[int, int] = (4, 4), **how: Any) -> str:
    sink = io.BytesIO()
    Image.new("RGB" if form == "JPEG" else "L", size, 90).save(sink, form, **how)
    return base64.b64encode(sink.getvalue()).decode()


@pytest.mark.parametrize("exif", [b"garbagegarbage", b"Exif\0\0garbagegarbage", b"Exif\0\0II*\0\xff\xff\xff\xff"])
def test_rubbish_in_a_picture_is_never_a_server_error(serve: Callable[..., TestClient], exif: bytes) -> None:
    client = serve(serving(lambda x: torch.stack([-x.sum((1, 2, 3)), x.sum((1, 2, 3))], 1), IMAGE))
    for form in ("PNG", "WEBP", "JPEG"):
        reply = client.post("/predict", json={"instances": [{"image_base64": picture(form, exif=exif)}]})
        assert reply.status_code in (200, 422), form


def test_whatever_a_decoder_raises_is_the_clients_field(
    serve: Callable[..., TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Any) -> None:
        raise ZeroDivisionError("in a decoder")

    client = serve(serving(fragile, IMAGE))
    monkeypatch.setattr(ImageFile.ImageFile, "load", broken)
    reply = client.post("/predict", json={"instances": [{"image_base64": picture("PNG")}]})
    assert (reply.status_code, reply.json()["field"]) == (422, "instances[0].image_base64")


def test_pictures_of_one_request_unfold_to_no_more_than_one_may(serve: Callable[..., TestClient]) -> None:
    client = serve(serving(fragile, IMAGE))
    large = {"image_base64": picture("PNG", size=(6000, 6000))}  # 36 megapixels in some kB
    reply = client.post("/predict", json={"instances": [large, large]})
    assert (reply.status_code, reply.json()["field"]) == (413, "instances[1].image_base64")


def test_a_row_without_an_answer_is_told_by_number() -> None:
    with pytest.raises(NoFiniteAnswerError) as caught:
        sum_of(1, TABLE).predict(Inputs({"x": np.array([[1, 1], [POISON, POISON]], dtype=np.float32)}), first=10)
    assert caught.value.row == 11

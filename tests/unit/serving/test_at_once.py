"""A request that is here whole is answered without ASGI: the same bytes and figures, and the same told who observes."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from mlratchet.infra.machine.free_ports import find_port
from mlratchet.infra.serving.connections import configured
from mlratchet.models.serving import batcher
from mlratchet.models.serving.app import ServingApp
from mlratchet.models.serving.config import ServingConfig
from mlratchet.models.serving.direct import LEAST
from mlratchet.models.serving.endpoint import Endpoint
from mlratchet.models.serving.metrics import Metrics
from mlratchet.models.serving.observing import Answered, AnsweredTogether, Observer
from mlratchet.models.serving.predictor import Predictor
from mlratchet.models.serving.reply import Headers, Reply
from mlratchet.models.serving.slot import Beside, Slot
from starlette.types import Message

from tests.listening import served
from tests.unit.serving.conftest import TABLE, sum_of
from tests.unit.serving.six_schemas import KINDS, predictor_of

TOO_MUCH = 1e6


def fragile(x: torch.Tensor) -> torch.Tensor:
    """A model that a row can break: by raising, or by what it says."""
    if bool((x > TOO_MUCH).any()):
        raise RuntimeError("the model is broken")
    return x.sum(1).log()  # not finite for a row of sum 0 or below


@dataclass
class Kept(Observer):
    told: list[Answered] = field(default_factory=list)

    def answered(self, answered: Answered) -> None:
        self.told.append(answered)


@dataclass
class Server:
    """One application, and what it told."""

    app: ServingApp
    kept: Kept


def server_of(predictor: Predictor | None) -> Server:
    slot, kept = Slot(), Kept()
    if predictor is not None:
        slot.swap(predictor)
    app = ServingApp(Metrics())
    config = ServingConfig(max_request_bytes=4096, max_batch_rows=2)
    app.take_up(Endpoint("m", slot, config, metrics=app.metrics, observer=kept))
    return Server(app, kept)


@dataclass
class Line:
    """A connection in memory."""

    told: asyncio.Future[tuple[int, list[Any], bytes]]
    gone: bool = False

    def is_gone(self) -> bool:
        return self.gone

    def answer(self, reply: Reply, added: Headers) -> None:
        self.told.set_result((reply.status, [*reply.headers, *added], reply.body))


Said = tuple[int, list[Any], bytes]


def scope_of(headers: dict[str, str], method: str = "POST", path: str = "/m/predict") -> dict[str, Any]:
    told = [(name.encode(), one.encode("latin-1")) for name, one in headers.items()]
    return {"type": "http", "method": method, "path": path, "headers": told, "client": ("127.0.0.1", 1), "state": {}}


async def by_asgi(app: ServingApp, scope: dict[str, Any], body: bytes) -> Said:
    sent: list[Message] = []
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Any:
        return waiting.pop() if waiting else await asyncio.get_running_loop().create_future()

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent[0]["status"], sent[0]["headers"], sent[1]["body"]


async def at_once(app: ServingApp, scope: dict[str, Any], body: bytes) -> Said | None:
    line = Line(asyncio.get_running_loop().create_future())
    return await asyncio.wait_for(line.told, 120) if app.answer_at_once(scope, body, line) else None


def plain(said: Said) -> Any:
    """Without the id that each request has of its own, which has its place and form."""
    status, headers, body = said
    at = next(at for at, (name, _) in enumerate(headers) if name == b"x-request-id")
    own = headers[at][1]
    assert re.fullmatch(rb"[0-9a-f]{32}", own)
    return status, [one for one in headers if one[0] != b"x-request-id"], at, body.replace(own, b"ID")


def kept_of(server: Server) -> list[Any]:
    """What was told, but for ids and times."""
    return [
        (one.pipeline, one.version, one.generation, one.variant, one.status, one.error, one.client_key, one.instances,
         one.written, one.predictions, None if one.rows is None else one.rows.arrays().__repr__(), one.replayed,
         None if one.output is None else one.output.tobytes(), None if one.said is None else bytes(one.said))
        for one in server.kept.told
    ]  # fmt: skip


def counted(server: Server) -> list[str]:
    """Figures that are no times."""
    lines = server.app.metrics.text().decode().splitlines()
    return [one for one in lines if one.startswith("ratchet") and "duration" not in one and "_created" not in one]


def check(predictor: Predictor | None, headers: dict[str, str], body: bytes) -> bool:
    """Whether the request was taken over; it is answered alike in any case."""
    ours, theirs = server_of(predictor), server_of(predictor)

    async def both() -> tuple[Said | None, Said]:
        before = counted(ours)
        found = await at_once(ours.app, scope_of(headers), body)
        if found is None:  # nothing has happened
            assert (counted(ours), ours.kept.told) == (before, [])
            assert ours.app.endpoints["m"].waiting == 0
        return found, await by_asgi(theirs.app, scope_of(headers), body)

    found, expected = asyncio.run(both())
    if found is None:
        return False
    assert plain(found) == plain(expected)
    assert (counted(ours), kept_of(ours)) == (counted(theirs), kept_of(theirs))
    return True


HEADERS = st.fixed_dictionaries(
    {"host": st.sampled_from(["localhost", "127.0.0.1:80", "evil.example"])},
    optional={
        "content-type": st.sampled_from(["application/json", "Application/JSON; charset=utf-8", "text/csv", "x"]),
        "content-encoding": st.sampled_from(["", "gzip"]),
        "x-timeout-ms": st.sampled_from(["5000", "no"]),
        "x-client-key": st.sampled_from(["", "me"]),
        "x-request-key": st.just("k"),
        "x-ratchet-replayed": st.just("1"),
        "origin": st.sampled_from(["http://localhost", "http://evil.example"]),
    },
)
VALUE = st.one_of(st.floats(-10, 2e6), st.integers(-3, 9), st.none(), st.booleans(), st.text(max_size=2))
ROW = st.one_of(st.lists(VALUE, max_size=3), st.fixed_dictionaries({"a": VALUE, "b": VALUE}, optional={"c": VALUE}))
DOCUMENT = st.one_of(st.fixed_dictionaries({"instances": st.lists(ROW, max_size=5)}, optional={"x": VALUE}), ROW, VALUE)
BODIES = st.one_of(DOCUMENT.map(lambda one: json.dumps(one).encode()), st.binary(max_size=20))
WHOLE = {"host": "localhost", "content-type": "application/json"}


@settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(headers=HEADERS, body=BODIES)
@example(headers=WHOLE, body=b'{"instances": [[1, 2]]}')
@example(headers=WHOLE, body=b'{"instances": [[0, 0], [1, 1]]}')
@example(headers=WHOLE, body=b'{"instances": [[1, 1], [1, 1], [1, 1], [2e6, 0]]}')
@example(headers=WHOLE, body=b'{"a": 1, "b": 2}')
@example(headers=WHOLE, body=b'{"a": 1, "b": true}')
def test_the_same_is_answered_counted_and_told(headers: dict[str, str], body: bytes) -> None:
    check(Predictor(version=3, generation=3, signature=TABLE, model=fragile), headers, body)


@pytest.mark.parametrize("kind", ["shop", "ratings"])
def test_examples_by_a_schema_too(kind: str) -> None:
    predictor, good = predictor_of(kind), KINDS[kind].example
    rows = [good, {**good, "@": 0}, 7, {name: one for name, one in good.items() if name != "note"}]
    taken = [check(predictor, WHOLE, json.dumps(one).encode()) for one in rows]
    taken += [check(predictor, WHOLE, json.dumps({"instances": [one, good]}).encode()) for one in rows]
    assert taken[0]
    assert taken[4]


def test_what_may_be_refused_or_takes_waiting_is_left_alone() -> None:
    body, predictor = b'{"instances": [[1, 2]]}', sum_of(3, TABLE)
    assert check(predictor, WHOLE, body)
    assert check(predictor, {}, body)
    for headers in ({"x-timeout-ms": "50"}, {"host": "evil.example"}, {"content-type": "text/csv"}):
        assert not check(predictor, WHOLE | headers, body)
    assert not check(None, WHOLE, body)
    assert not check(predictor, WHOLE, body + b" " * 4096)
    assert not check(predictor, WHOLE, b'{"instances": [[1]]}')
    assert not server_of(predictor).app.answer_at_once(scope_of(WHOLE, "GET"), body, Line(None))  # type: ignore[arg-type]
    assert not server_of(predictor).app.answer_at_once(scope_of(WHOLE, path="/m/x"), body, Line(None))  # type: ignore[arg-type]


def test_one_that_breaks_the_model_breaks_no_other() -> None:
    server = server_of(Predictor(version=3, generation=3, signature=TABLE, model=fragile))

    async def ask() -> list[Said | None]:
        bodies = [json.dumps({"instances": [row]}).encode() for row in ([1, 2], [2e6, 0], [0, 0], [3, 4])]
        return await asyncio.gather(*(at_once(server.app, scope_of(WHOLE), body) for body in bodies))

    found = asyncio.run(ask())
    assert [one and one[0] for one in found] == [200, 500, 422, 200]
    said = [json.loads(one[2])["predictions"][0]["value"] for one in found if one and one[0] == 200]
    assert said == pytest.approx([math.log(3), math.log(7)])


def test_what_one_forward_answers_is_told_at_once_and_before_anybody_has_it() -> None:
    order: list[Any] = []

    class Told(Observer):
        def answered(self, answered: Answered) -> None:
            order.append(answered.status)

        def answered_together(self, together: AnsweredTogether) -> None:
            order.append([one.request_id for one in together.each()])

    class Noted(Line):
        def answer(self, reply: Reply, added: Headers) -> None:
            order.append(dict(added)[b"x-request-id"].decode())
            super().answer(reply, added)

    slot, app = Slot(), ServingApp(Metrics())
    slot.swap(Predictor(version=3, generation=3, signature=TABLE, model=fragile))
    app.take_up(Endpoint("m", slot, ServingConfig(), metrics=app.metrics, observer=Told()))

    async def ask(*rows: list[float]) -> None:
        lines = [Noted(asyncio.get_running_loop().create_future()) for _ in rows]
        for row, line in zip(rows, lines, strict=True):
            assert app.answer_at_once(scope_of(WHOLE), json.dumps([*row]).encode(), line)
        await asyncio.wait_for(asyncio.gather(*(line.told for line in lines)), 120)

    good = [[1.0, at] for at in range(LEAST)]
    asyncio.run(ask(*good))
    told, *sent = order
    assert told == sent
    assert len(sent) == LEAST

    order.clear()
    asyncio.run(ask([0, 0], *good))  # the first is refused, and the others are asked anew
    refused, told, *sent = order
    assert (refused, told) == (422, sent[1:])

    order.clear()
    asyncio.run(ask(*good[1:]))  # few are told of one by one
    assert order[: LEAST - 1] == [200] * (LEAST - 1)
    assert len(order) == 2 * (LEAST - 1)


@pytest.mark.parametrize("rows", [1, 2])
def test_who_is_answered_together_with_the_ordinary_road_is_told_what_is_its_own(rows: int) -> None:
    joined: list[int] = []

    class Counted(Kept):
        def answered_together(self, together: AnsweredTogether) -> None:
            joined.append(len(together.request_ids))
            super().answered_together(together)

    kept, slot, app = Counted(), Slot(), ServingApp(Metrics())
    slot.swap(Predictor(version=3, generation=3, signature=TABLE, model=fragile))
    app.take_up(Endpoint("m", slot, ServingConfig(), metrics=app.metrics, observer=kept))

    async def ask() -> list[Said | None]:
        asked: list[Any] = []
        for at in range(12):
            body = json.dumps({"instances": [[at + 1, row] for row in range(rows)]}).encode()
            scope = scope_of(WHOLE | {"x-client-key": str(at)} | ({"x-timeout-ms": "60000"} if at % 3 == 1 else {}))
            asked.append(by_asgi(app, scope, body) if at % 3 == 1 else at_once(app, scope, body))
        return await asyncio.gather(*asked)

    said = asyncio.run(ask())
    told = sorted(kept.told, key=lambda one: int(one.client_key or -1))
    assert [one.client_key for one in told] == [str(at) for at in range(12)]
    assert joined == [8]
    for at, one in enumerate(told):
        assert one.rows is not None
        assert one.output is not None
        assert one.rows.array.tolist() == [[at + 1, row] for row in range(rows)]
        assert one.output.tolist() == pytest.approx([math.log(at + 1 + row) for row in range(rows)])
        assert one.said == (said[at] or ("", [], b""))[2]


def test_of_a_canary_each_is_told_with_who_answered_it() -> None:
    kept, slot, app = Kept(), Slot(), ServingApp(Metrics())
    slot.swap(sum_of(3, TABLE))
    candidate = sum_of(4, TABLE, factor=2.0)
    slot.put_beside(Beside(predictor=candidate, share=0.5, shadow=False, salt="s", expires_s=math.inf, record="r"))
    app.take_up(Endpoint("m", slot, ServingConfig(), metrics=app.metrics, observer=kept))

    async def ask() -> list[Said | None]:
        scopes = [scope_of(WHOLE | {"x-client-key": str(at)}) for at in range(24)]
        return await asyncio.gather(*(at_once(app, scope, b"[1, 2]") for scope in scopes))

    said = asyncio.run(ask())
    assert {one.variant for one in kept.told} == {"champion", "canary"}
    for one in kept.told:
        _, headers, body = said[int(one.client_key or -1)] or (0, [], b"")
        version = {"champion": 3, "canary": 4}[str(one.variant)]
        assert (one.version, dict(headers)[b"x-model-version"]) == (version, b"%d" % version)
        assert one.predictions == json.loads(body)["predictions"]
        assert one.predictions == [{"value": 3.0 * (version - 2)}]


def test_what_nobody_waits_for_any_more_is_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batcher, "LONG_S", -1.0)  # asked of everybody
    asked: list[int] = []
    server = server_of(
        Predictor(version=3, generation=3, signature=TABLE, model=lambda x: asked.append(len(x)) or x.sum(1))
    )

    async def ask() -> Said:
        line = Line(asyncio.get_running_loop().create_future(), gone=True)
        assert server.app.answer_at_once(scope_of(WHOLE), b"[1, 2]", line)
        return await asyncio.wait_for(line.told, 120)

    asyncio.run(ask())
    assert asked == []
    assert [one.status for one in server.kept.told] == [499]
    assert server.app.endpoints["m"].waiting == 0


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    slot = Slot()
    slot.swap(Predictor(version=3, generation=3, signature=TABLE, model=fragile))
    app = ServingApp(Metrics())
    app.take_up(Endpoint("m", slot, ServingConfig(), metrics=app.metrics))
    port = find_port(set())
    config = configured(app, host="127.0.0.1", port=port, header_s=lambda: 30.0)
    with served(config):
        yield port


def written(body: bytes, more: bytes = b"", version: bytes = b"1.1") -> bytes:
    head = b"POST /m/predict HTTP/%b\r\nhost: localhost\r\n%bcontent-length: %d\r\n\r\n"
    return head % (version, more, len(body)) + body


def answered(port: int, parts: list[bytes]) -> bytes:
    """All that comes until the server ends the connection; between two parts an answer to another is awaited."""
    with socket.create_connection(("127.0.0.1", port), timeout=120) as line:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for part in parts:
            line.sendall(part)
            if part is not parts[-1]:
                answered(port, [written(b"[1, 2]", b"connection: close\r\n")])
        found = b""
        while more := line.recv(65536):
            found += more
    return re.sub(rb"[0-9a-f]{32}", b"ID", found)


@pytest.mark.parametrize("body", [b'{"instances": [[1, 2]]}', b"[0, 0]", b"[2e6, 1]", b"[1]", b"rubbish"])
@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
def test_in_one_piece_or_two_the_answer_has_the_same_bytes(port: int, body: bytes, version: bytes) -> None:
    whole = written(body, b"host: localhost\r\nconnection: close\r\n", version).replace(b"host: localhost\r\n", b"")
    head, _, rest = whole.partition(b"\r\n\r\n")
    found = answered(port, [whole])
    assert found.startswith(b"HTTP/1.1 ")
    assert found == answered(port, [head + b"\r\n\r\n", rest])


@pytest.mark.parametrize("name", [b"host", b"origin"])
def test_a_second_header_that_names_who_is_asked_or_asks_is_refused_on_both_roads(port: int, name: bytes) -> None:
    two = b"%b: localhost\r\n%b: http://evil.example\r\nconnection: close\r\n" % (name, name)
    whole = written(b"[1, 2]", two)
    head, _, rest = whole.partition(b"\r\n\r\n")
    found = answered(port, [whole])
    assert found.startswith(b"HTTP/1.1 400 ")
    assert found == answered(port, [head + b"\r\n\r\n", rest])


def test_what_comes_behind_a_body_is_no_header_whenever_it_comes(port: int) -> None:
    head = b"POST /m/predict HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
    rest = b"6\r\n[1, 2]\r\n0\r\ncontent-type: text/csv\r\nx-timeout-ms: no\r\nhost: evil.example\r\n\r\n"
    found = answered(port, [head + rest])
    assert found.startswith(b"HTTP/1.1 200 ")
    assert found == answered(port, [head, rest])


@pytest.mark.parametrize("offered", [b"h2c", b"websocket"])
def test_an_offer_of_another_protocol_is_not_taken_and_the_body_is_read(port: int, offered: bytes) -> None:
    offer = b"connection: upgrade, http2-settings\r\nupgrade: %b\r\nhttp2-settings: AAEAAEAA\r\n" % offered
    last = b"connection: close\r\n"
    asked = written(b"[1, 2]", offer)
    head, _, rest = asked.partition(b"\r\n\r\n")
    found = answered(port, [asked * 3 + written(b"[1, 2]", last)])
    assert re.findall(rb"HTTP/1.1 (\d+)", found) == [b"200"] * 4
    assert found == answered(port, [asked * 2 + head + b"\r\n\r\n", rest + written(b"[1, 2]", last)])
    assert answered(port, [written(b"[1]", offer) + written(b"[1]", last)]).count(b"HTTP/1.1 422") == 2


def test_who_is_gone_before_the_first_of_several_answers_is_no_error(
    port: int, caplog: pytest.LogCaptureFixture
) -> None:
    for more in (b"", b"x-timeout-ms: 60000\r\n"):  # by the one road and the other
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", port), timeout=120) as line:
                line.sendall(written(b"[1, 2]", more) * 3)
        answered(port, [written(b"[1, 2]", b"connection: close\r\n")])
    assert [one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR] == []


def test_what_goes_wrong_before_a_request_is_taken_over_leaves_it_to_the_ordinary_road(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> bool:
        raise LookupError("nobody thought of this")

    monkeypatch.setattr(ServingApp, "answer_at_once", broken)
    found = answered(port, [written(b"[1, 2]") + written(b"[3, 4]", b"connection: close\r\n")])
    assert re.findall(rb"HTTP/1.1 (\d+)", found) == [b"200", b"200"]


def test_requests_in_one_piece_are_answered_in_turn(port: int) -> None:
    bodies = [b"[1, 2]", b"[3, 4]", b"[0, 0]", b"[5, 6]"]
    one = [written(body) for body in bodies]
    last = written(b"[7, 8]", b"connection: close\r\n")
    found = answered(port, [b"".join(one) + last])
    assert re.findall(rb"HTTP/1.1 (\d+)", found) == [b"200", b"200", b"422", b"200", b"200"]
    values = [float(value) for value in re.findall(rb'"value":([0-9.e-]+)', found)]
    assert values == pytest.approx([math.log(total) for total in (3, 7, 11, 15)])
    assert found.count(b"connection: close") == 1

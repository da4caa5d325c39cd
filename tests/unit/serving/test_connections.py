"""Clients that are slow on purpose: their connections end, and others are answered."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import httpx
import pytest
import uvicorn
from mlratchet.infra.machine.free_ports import find_port
from mlratchet.infra.serving.connections import MOST_HEADER_BYTES, with_deadline
from mlratchet.models.serving.config import ServingConfig
from mlratchet.models.serving.slot import Slot

from tests.conftest import wait_for
from tests.unit.serving.conftest import TABLE, app_of, sum_of

HEADER_S = 0.3


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Of a server that waits a third of a second for a header and half a second for a body."""
    slot = Slot()
    slot.swap(sum_of(3, TABLE))
    port = find_port(set())
    app = app_of(slot, ServingConfig(read_seconds=0.5))
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            host="127.0.0.1",
            port=port,
            http=with_deadline(lambda: HEADER_S),
            h11_max_incomplete_event_size=MOST_HEADER_BYTES,
            timeout_keep_alive=1,
            log_level="critical",
        )
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_for("the server", lambda: server.started, 30)
    yield port
    server.should_exit = True
    thread.join(10)


HEAD = b"POST /m/predict HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 400\r\n"


def all_that_comes(line: socket.socket) -> bytes:
    """Until the other side ends."""
    found = b""
    try:
        while more := line.recv(65536):
            found += more
    except ConnectionResetError:
        pass
    return found


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"", b""),
        (b"GET /hea", b""),
        (HEAD, b""),
        (HEAD + b"\r\n", b"HTTP/1.1 408"),
        (HEAD + b'\r\n{"instances"', b"HTTP/1.1 408"),
        (b"GET /m/ready HTTP/1.1\r\nhost: localhost\r\n\r\nGET /re", b"HTTP/1.1 200"),
        (b"GET / HTTP/1.1\r\nx: " + b"a" * (MOST_HEADER_BYTES + 10), b"HTTP/1.1 400"),
    ],
    ids=["nothing", "half a line", "half a header", "no body", "half a body", "half a second request", "long header"],
)
def test_who_does_not_come_to_the_point_is_ended(port: int, sent: bytes, answer: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as line:
        line.sendall(sent)
        began = time.monotonic()
        found = all_that_comes(line)
        assert time.monotonic() - began < 15
    assert found.startswith(answer)
    assert bool(found) == bool(answer)


def test_one_byte_at_a_time_does_not_buy_time(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as line:
        sent = 0
        with suppress(OSError):
            while not ended(line, 0.02):
                line.sendall(HEAD[sent % len(HEAD) :][:1])
                sent += 1
        assert 0 < sent < len(HEAD)
        assert httpx.get(f"http://127.0.0.1:{port}/m/ready").status_code == 200


def ended(line: socket.socket, wait_s: float) -> bool:
    """Whether the other side ended it within `wait_s`."""
    line.settimeout(wait_s)
    try:
        return not line.recv(1)
    except TimeoutError:
        return False


def test_who_is_quick_keeps_the_connection(port: int) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{port}/m") as client:
        replies = [client.post("/predict", json={"instances": [[1, n]]}) for n in range(20)]
    assert {reply.status_code for reply in replies} == {200}

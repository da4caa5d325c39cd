"""Clients that are slow on purpose: their connections end, and others are answered."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from mlratchet.infra.machine.free_ports import find_port
from mlratchet.infra.serving import connections
from mlratchet.infra.serving.connections import MOST_HEADER_BYTES, OTHER_FILES, configured
from mlratchet.models.serving.config import ServingConfig
from mlratchet.models.serving.slot import Slot
from uvicorn.server import ServerState

from tests.conftest import REPOSITORY, wait_for
from tests.left_out import most_slow
from tests.listening import served
from tests.unit.serving.conftest import TABLE, app_of, sum_of

HEADER_S = 0.3


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Of a server that waits a third of a second for a header and half a second for a body."""
    slot = Slot()
    slot.swap(sum_of(3, TABLE))
    port = find_port(set())
    app = app_of(slot, ServingConfig(read_seconds=0.5))
    config = configured(app, host="127.0.0.1", port=port, header_s=lambda: HEADER_S)
    config.timeout_keep_alive = 1
    with served(config):
        yield port


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
    most_slow(
        [
            (b"", b""),
            (b"GET /hea", b""),
            (HEAD, b""),
            (HEAD + b"\r\n", b"HTTP/1.1 408"),
            (HEAD + b'\r\n{"instances"', b"HTTP/1.1 408"),
            (b"GET /m/ready HTTP/1.1\r\nhost: localhost\r\n\r\nGET /re", b"HTTP/1.1 200"),
            (b"GET / HTTP/1.1\r\nx: " + b"a" * (MOST_HEADER_BYTES + 10), None),
            (b"GET / HTTP/1.1\r\nx: " + b"a" * (MOST_HEADER_BYTES + 10) + b"\r\n", None),
            (b"GET / HTTP/1.1\r\n" + b"x: abcdefgh\r\n" * (MOST_HEADER_BYTES // 9 + 1), None),
            (b"GET /" + b"a" * (MOST_HEADER_BYTES + 10) + b" HTTP/1.1\r\n", None),
            (b"\r\n", b""),
            (b"GET /m/ready HTTP/1.1\r\nhost: localhost\r\n\r\n\r\n", b"HTTP/1.1 200"),
            (HEAD + b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n", b"HTTP/1.1 400"),
            (b"GET /m/ready HTTP/1.1\r\nhost: localhost\r\na\x00b: c\r\n\r\n", b"HTTP/1.1 400"),
            (b"rubbish\r\n\r\n", b"HTTP/1.1 400"),
        ],
        keep=6,
    ),
    ids=[
        "nothing",
        "half a line",
        "half a header",
        "no body",
        "half a body",
        "half a second request",
        "a line too long",
        "a long line",
        "a long header",
        "a long path",
        "an empty line",
        "an empty line later",
        "two lengths",
        "a forbidden sign",
        "rubbish",
    ],
)
def test_who_does_not_come_to_the_point_is_ended(port: int, sent: bytes, answer: bytes | None) -> None:
    """`answer`: how it begins; None: a refusal, if it comes before the connection is reset."""
    with socket.create_connection(("127.0.0.1", port), timeout=120) as line:
        line.sendall(sent)
        began = time.monotonic()
        found = all_that_comes(line)
        assert time.monotonic() - began < 120
    assert found.startswith(b"HTTP/1.1 400" if answer is None and found else answer or b"")
    assert bool(found) == bool(answer) or answer is None


def test_one_byte_at_a_time_does_not_buy_time(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=120) as line:
        sent = 0
        with suppress(OSError):
            while not ended(line, 0.02):
                line.sendall(HEAD[sent % len(HEAD) :][:1])
                sent += 1
        assert 0 < sent < len(HEAD)
        assert httpx.get(f"http://127.0.0.1:{port}/m/ready", timeout=120).status_code == 200


def ended(line: socket.socket, wait_s: float) -> bool:
    """Whether the other side ended it within `wait_s`."""
    line.settimeout(wait_s)
    try:
        return not line.recv(1)
    except TimeoutError:
        return False


def test_who_is_quick_keeps_the_connection(port: int) -> None:
    """A client that this machine keeps waiting is not quick, and asks again."""

    def asked() -> bool:
        began, statuses = time.monotonic(), set[int]()
        with suppress(httpx.TransportError), httpx.Client(base_url=f"http://127.0.0.1:{port}/m", timeout=120) as client:
            statuses = {client.post("/predict", json={"instances": [[1, n]]}).status_code for n in range(20)}
        assert statuses == {200} or time.monotonic() - began > HEADER_S
        return statuses == {200}

    wait_for("twenty quick requests", asked)


def test_a_line_that_never_ends_is_not_collected(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=120) as line:
        line.sendall(b"GET / HTTP/1.1\r\nx: ")
        sent = 0
        with suppress(OSError):
            while not ended(line, 0.001):
                line.sendall(b"a" * 1000)
                sent += 1000
        assert sent < 50 * MOST_HEADER_BYTES


FEW = f"""
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, ({OTHER_FILES + 40}, {OTHER_FILES + 40}))
import uvicorn
from mlratchet.infra.serving.connections import configured, run_loop
async def app(scope, receive, send):
    await send({{"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]}})
    await send({{"type": "http.response.body", "body": b""}})
config = configured(app, host="127.0.0.1", port=int(sys.argv[1]), header_s=lambda: 60.0)
config.lifespan = "off"
config.timeout_keep_alive = 600  # a busy machine comes late
run_loop(uvicorn.Server(config).serve())
"""


def test_whoever_takes_all_connections_takes_no_other_file_of_the_server() -> None:
    """Fault 40: with none left, it could load no champion and reach no log writer."""
    port = find_port(set())
    with subprocess.Popen([sys.executable, "-c", FEW, str(port)], cwd=REPOSITORY) as server:
        try:
            wait_for("the server", lambda: is_open(port))
            with httpx.Client(base_url=f"http://127.0.0.1:{port}/m", timeout=120) as client, ExitStack() as idle:
                assert client.get("/ready").status_code == 200
                for _ in range(400):
                    line = idle.enter_context(socket.create_connection(("127.0.0.1", port), timeout=120))
                line.settimeout(60)
                refused = line.recv(200)
                assert refused.startswith(b"HTTP/1.1 503 ")
                assert b"retry-after: 1\r\n" in refused
                assert len([*Path(f"/proc/{server.pid}/fd").iterdir()]) < OTHER_FILES
                assert client.get("/ready").status_code == 200  # who has a connection is answered
            with httpx.Client(base_url=f"http://127.0.0.1:{port}/m", timeout=120) as client:
                wait_for("room", lambda: client.get("/ready").status_code == 200)
        finally:
            server.terminate()


class Unread(asyncio.Transport):
    """To a client that reads all of an answer but its last bytes: so few that no protocol is told to pause."""

    def __init__(self) -> None:
        super().__init__()
        self.closing, self.aborted = False, asyncio.Event()

    def write(self, data: Any) -> None:
        """Some of it stays here."""

    def get_write_buffer_size(self) -> int:
        return 100

    def close(self) -> None:
        self.closing = True  # as soon as all was read

    def is_closing(self) -> bool:
        return self.closing

    def abort(self) -> None:
        self.aborted.set()

    def resume_reading(self) -> None:
        """Nothing more comes."""


@pytest.mark.parametrize("ends", ["idle", "asked to", "refused", "drained to the mark", "shut down"])
def test_an_answer_that_is_read_but_for_its_last_bytes_holds_no_connection(
    monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    monkeypatch.setattr(connections, "UNREAD_S", 0.01)

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"3")]})
        await send({"type": "http.response.body", "body": b"yes"})

    async def scenario() -> None:
        config = configured(app, host="127.0.0.1", port=1, header_s=lambda: 60.0)
        config.timeout_keep_alive = 0 if ends == "idle" else 60
        config.load()
        state, transport = ServerState(), Unread()
        line = config.http_protocol_class(config=config, server_state=state, app_state={})  # type: ignore[call-arg]  # as uvicorn's server makes it
        line.connection_made(transport)
        asked = "connection: close\r\n" if ends in ("asked to", "drained to the mark") else ""
        line.data_received(b"no\r\n\r\n" if ends == "refused" else f"GET / HTTP/1.1\r\nhost: a\r\n{asked}\r\n".encode())
        if ends == "drained to the mark":
            line.pause_writing()
            transport.closing = True
            line.resume_writing()
        await asyncio.gather(*state.tasks)
        if ends == "shut down":
            line.shutdown()
        async with asyncio.timeout(60):
            await transport.aborted.wait()
        line.connection_lost(None)

    asyncio.run(scenario())


def is_open(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0

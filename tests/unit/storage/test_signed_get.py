"""The plain GET answers only where all went well; for anything else boto3 asks again, with its retries and errors."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

import pytest
from mlratchet.infra.storage.s3 import S3Store
from mlratchet.models.ports.storage import DigestMismatch, ObjectNotFound


class Server(ThreadingHTTPServer):
    """Objects by path, and what is wrong with the next answers, one word each."""

    objects: dict[str, bytes]
    wrong: list[str]
    asked: list[tuple[str, str]]  # path, authorization


class Handler(BaseHTTPRequestHandler):
    """As S3 answers, or badly."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server: Any = self.server
        server.asked.append((self.path, self.headers.get("Authorization", "")))
        path = unquote(self.path.partition("?")[0])
        wrong = server.wrong.pop(0) if server.wrong else ""
        data = server.objects.get(path)
        if wrong == "hangs up":
            self.close_connection = True
            self.connection.close()
            return
        if wrong == "fails" or data is None:
            body = b"" if wrong else b"<Error><Code>NoSuchKey</Code></Error>"
            self.send_response(500 if wrong else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return
        sent = data[::-1] if wrong == "flips" else data
        begin, _, end = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
        if int(begin) >= len(data) > 0:
            self.send_response(416)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        sent = sent[int(begin) : int(end) + 1 if end else None]
        self.send_response(206 if end else 200)
        if end:
            self.send_header("Content-Range", f"bytes {begin}-{int(begin) + len(sent) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(sent)))
        self.send_header("Last-Modified", "Thu, 26 Nov 2026 10:00:00 GMT")
        self.send_header("ETag", '"e"')
        self.end_headers()
        if wrong == "stops half way":
            self.wfile.write(sent[: len(sent) // 2])
            self.close_connection = True
            return
        self.wfile.write(sent)

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.objects[self.path])))  # type: ignore[attr-defined]  # ours
        self.send_header("Last-Modified", "Thu, 26 Nov 2026 10:00:00 GMT")
        self.send_header("ETag", '"e"')
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Quiet."""


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server(("127.0.0.1", 0), Handler)
    made.objects, made.wrong, made.asked = {"/b/k": b"good", "/b/a b/ü+~%.bin": b"strange", "/b/empty": b""}, [], []
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def opened(server: Server, **more: Any) -> S3Store:
    facts = {"region": "us-east-1", "access_key": "a", "secret_key": "s", **more}
    return S3Store("b", endpoint_url=f"http://127.0.0.1:{server.server_address[1]}", **facts)


@pytest.mark.parametrize(("key", "data"), [("k", b"good"), ("a b/ü+~%.bin", b"strange"), ("empty", b"")])
def test_one_signed_request_is_enough(server: Server, key: str, data: bytes) -> None:
    assert opened(server).get(key) == data
    ((path, authorization),) = server.asked
    assert path.isascii()
    assert authorization.startswith("AWS4-HMAC-SHA256 Credential=a/")


@pytest.mark.parametrize("wrong", ["fails", "stops half way", "hangs up"])
def test_a_bad_answer_is_asked_for_again(server: Server, wrong: str) -> None:
    server.wrong = [wrong]
    assert opened(server).get("k") == b"good"
    assert len(server.asked) == 2


def test_bytes_that_do_not_fit_are_read_once_more_and_then_refused(server: Server) -> None:
    sha256 = "770e607624d689265ca6c44884d0807d9b054d23c473c106c72be9de08b7376c"  # of b"good"
    server.wrong = ["flips"]
    assert opened(server).get("k", sha256=sha256) == b"good"
    server.wrong = ["flips", "flips"]
    with pytest.raises(DigestMismatch):
        opened(server).get("k", sha256=sha256)


def test_a_missing_object_is_said_by_boto3(server: Server) -> None:
    with pytest.raises(ObjectNotFound, match="b/absent"):
        opened(server).get("absent")


def test_keys_that_boto3_finds_by_itself_are_left_to_it(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "found")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    assert opened(server, access_key=None, secret_key=None).get("k") == b"good"
    ((_, authorization),) = server.asked
    assert "Credential=found/" in authorization


def taken(server: Server, key: str, start: int, length: int, **more: Any) -> tuple[int, bytes]:
    with opened(server, **more).stream(key, start, length) as arriving:
        return arriving.total, b"".join(bytes(part) for part in arriving)


@pytest.mark.parametrize(("start", "length"), [(0, 8), (3, 700_000), (0, 1 << 20), (999_990, 50), (2_000_000, 5)])
def test_a_range_arrives_in_parts_by_one_request(server: Server, start: int, length: int) -> None:
    data = bytes(range(256)) * 3_907
    server.objects["/b/large"] = data
    assert taken(server, "large", start, length) == (max(len(data), start), data[start : start + length])
    if start < len(data):
        assert len(server.asked) == 1


@pytest.mark.parametrize("wrong", ["fails", "stops half way", "hangs up"])
def test_what_of_a_range_does_not_arrive_is_asked_for_again(server: Server, wrong: str) -> None:
    data = bytes(range(256)) * 4_000
    server.objects["/b/large"] = data
    server.wrong = [wrong]
    assert taken(server, "large", 10, 900_000) == (len(data), data[10:900_010])
    assert len(server.asked) == 2
    assert taken(server, "large", 0, 10) == (len(data), data[:10])


def test_a_stream_that_is_left_serves_nobody_the_rest_of_it(server: Server) -> None:
    server.objects["/b/large"] = bytes(1 << 20)
    store = opened(server)
    with store.stream("large", 0, 1 << 20) as arriving:
        assert len(next(iter(arriving))) < 1 << 20
    assert store._quick is not None
    assert store._quick("k") == b"good"  # nothing is left on the connection that it would be refused for
    with pytest.raises(ObjectNotFound, match="b/absent"):
        store.stream("absent", 0, 10)

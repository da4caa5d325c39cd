"""A small HTTP proxy that stands in front of a server and does to replies what networks do.

It forwards the Host header of a signed S3 request as it came, and names the server to MLflow, which looks at it.
"""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import urlsplit

Kind = Literal[
    "error after",  # done by the server, answered with 500
    "drop reply",  # done by the server, then the connection is cut
    "slow reply",  # done by the server, answered after `seconds`
    "slow request",  # reaches the server after `seconds`, whether or not the client still waits
    "conflict",  # not done; 409 as S3 sends it
    "cut",  # not done; the connection is cut
]
CONFLICT = b"<Error><Code>ConditionalRequestConflict</Code><Message>try again</Message></Error>"
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "expect"}


@dataclass
class Fault:
    """What happens to the next `times` requests of a method and path."""

    kind: Kind
    method: str = ""  # any
    path: str = ""  # a part of it
    times: int = 1
    skip: int = 0  # matching requests that pass first
    seconds: float = 0.0
    met: int = 0

    def strikes(self, method: str, path: str) -> bool:
        """Whether this request is one of them. Called under the proxy's lock."""
        if self.times <= 0 or (self.method and method != self.method) or self.path not in path:
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        self.times -= 1
        self.met += 1
        return True


@dataclass
class Proxy:
    """In front of `upstream`."""

    upstream: str
    url: str = ""
    faults: list[Fault] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)  # "METHOD path", in order of arrival
    under_way: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def arm(self, kind: Kind, **where: object) -> Fault:
        """Add a fault; `met` of it tells how often it struck."""
        fault = Fault(kind, **where)  # type: ignore[arg-type]  # keywords of the dataclass
        with self.lock:
            self.faults.append(fault)
        return fault

    def heal(self) -> None:
        """No faults from now on."""
        with self.lock:
            self.faults.clear()

    def fault_of(self, method: str, path: str) -> Fault | None:
        """The fault that strikes this request."""
        with self.lock:
            self.requests.append(f"{method} {path}")
            return next((fault for fault in self.faults if fault.strikes(method, path)), None)

    def forward(self, method: str, path: str, headers: dict[str, str], body: bytes) -> http.client.HTTPResponse:
        """Ask the server behind."""
        place = urlsplit(self.upstream)
        connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=60)
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        signed = headers.get("Authorization", "").startswith("AWS4")
        for name, value in headers.items():
            connection.putheader(name, value if signed or name.lower() != "host" else place.netloc)
        connection.endheaders(body)
        return connection.getresponse()


def handler_of(proxy: Proxy) -> type[BaseHTTPRequestHandler]:
    """The class that http.server wants."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Silent."""

        def meet(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {k: v for k, v in self.headers.items() if k.lower() not in HOP_BY_HOP}
            fault = proxy.fault_of(self.command, self.path)
            kind = fault.kind if fault else None
            if kind == "conflict":
                self.answer(409, {"Content-Type": "application/xml"}, CONFLICT)
                return
            if kind == "cut":
                self.cut()
                return
            if kind == "slow request":
                time.sleep(fault.seconds if fault else 0)
            with proxy.lock:
                proxy.under_way += 1
            try:
                reply = proxy.forward(self.command, self.path, headers, body)
                data = reply.read()
            finally:
                with proxy.lock:
                    proxy.under_way -= 1
            if kind == "error after":
                self.answer(500, {}, b"the server fell over after the commit")
            elif kind == "drop reply":
                self.cut()
            else:
                if kind == "slow reply":
                    time.sleep(fault.seconds if fault else 0)
                kept = {k: v for k, v in reply.getheaders() if k.lower() not in {*HOP_BY_HOP, "content-length"}}
                length = reply.getheader("Content-Length") if self.command == "HEAD" else None
                self.answer(reply.status, kept, data, length)

        def answer(self, status: int, headers: dict[str, str], body: bytes, length: str | None = None) -> None:
            with suppress(OSError):  # a client that gave up
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                if status not in (204, 304):
                    self.send_header("Content-Length", length or str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        def cut(self) -> None:
            self.close_connection = True
            with suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)

        do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = meet

    return Handler


@contextmanager
def proxy_of(upstream: str) -> Iterator[Proxy]:
    """A proxy on a free port, gone at the end."""
    proxy = Proxy(upstream.rstrip("/"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(proxy))
    server.daemon_threads = True
    proxy.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


Armer = Callable[[Proxy], Fault]

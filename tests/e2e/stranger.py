"""What somebody without a file of ours gets from a port or a socket of the stack; standard library alone, as it is run
another account: ``python stranger.py`` with ``{"uid", "ports", "sockets"}`` as JSON on its standard input."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import ssl
import sys
from collections.abc import Iterator

PATHS = (
    "/", "/status", "/dir/assign", "/dir/status", "/vol/grow?count=1", "/col/delete?collection=x", "/submit",
    "/cluster/status", "/ui/index.html", "/stats/memory", "/buckets/ratchet-store/?limit=9",
    "/ratchet-store/?list-type=2", "/ratchet-store/planted", "/buckets/ratchet-store/planted", "/etc/iam/identity.json",
    "/1,01", "/admin/status", "/api/health", "/api/flows/count", "/api/admin/settings", "/docs", "/openapi.json",
    "/ui-settings", "/health", "/version", "/api/2.0/mlflow/experiments/search", "/graphql", "/data/runs", "/metrics",
    "/ajax-api/2.0/mlflow/experiments/search", "/debug/pprof/", "/ratchet-open?token=~~",
)  # fmt: skip
METHODS = ("GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS")
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])  # of HTTP/2, and so of gRPC
WAIT_S = 2.0


def stranger_tls() -> ssl.SSLContext:
    """Believes everybody, and has no certificate."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


def over_http(port: int, *, tls: bool) -> Iterator[str]:
    """The requests that were answered with less than 400."""
    for path in PATHS:
        for method in METHODS:
            made = (
                http.client.HTTPSConnection("127.0.0.1", port, timeout=WAIT_S, context=ssl._create_unverified_context())
                if tls
                else http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_S)
            )
            with contextlib.closing(made):
                headers = {"Content-Type": "application/json"}
                if method == "OPTIONS":  # as a browser asks for a page
                    headers |= {"Origin": "http://evil.example", "Access-Control-Request-Method": "PUT"}
                try:
                    made.request(method, path, body=b"{}", headers=headers)
                    status = made.getresponse().status
                except (OSError, http.client.HTTPException):
                    if tls:
                        return  # no handshake: nothing of it is answered
                    continue
            if status < 400:
                yield f"{method} {path}"


def over_grpc(port: int, *, tls: bool) -> Iterator[str]:
    """Whether an HTTP/2 server greets."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=WAIT_S) as plain:
        speaking = stranger_tls().wrap_socket(plain) if tls else plain
        speaking.sendall(PREFACE)
        greeting = speaking.recv(64)
        if len(greeting) > 3 and greeting[3] == 4:  # a SETTINGS frame
            yield "gRPC"


def main() -> None:
    """Print every answer as ``[port or socket, how, what]``."""
    asked = json.load(sys.stdin)
    if asked["uid"] is not None:
        list(over_http(asked["ports"][0], tls=True))  # what is imported at the first use may be out of its reach
        os.setgroups([])
        os.setgid(asked["uid"])
        os.setuid(asked["uid"])
    found: list[tuple[int | str, str, str]] = []
    for port in asked["ports"]:
        for tls in (False, True):
            how = "tls" if tls else "plain"
            found += [(port, how, what) for attempt in (over_http, over_grpc) for what in attempt(port, tls=tls)]
    for path in asked["sockets"]:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as one:
            one.settimeout(WAIT_S)
            one.connect(path)
            found.append((path, "socket", "connected"))
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()

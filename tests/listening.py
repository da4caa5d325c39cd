"""An application that listens, for tests that ask it over HTTP."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from mlratchet.infra.serving.connections import run_loop
from starlette.types import ASGIApp


@contextmanager
def listening(app: ASGIApp) -> Iterator[str]:
    """Host and port, once it answers there."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
        thread.start()
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield f"127.0.0.1:{sock.getsockname()[1]}"
        server.should_exit = True
        thread.join(30)


@contextmanager
def served(config: uvicorn.Config) -> Iterator[None]:
    """A server as the product configures and runs it, once it answers."""
    server = uvicorn.Server(config)
    thread = threading.Thread(target=run_loop, args=(server.serve(),), daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    yield
    server.should_exit = True
    thread.join(10)

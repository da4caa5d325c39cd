"""A stage of the warm process whose next one, or whoever asked for it, ended before it served."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from mlratchet.infra.child import nursery
from mlratchet.infra.warm.protocol import Request, connect, listen, receive, send_request
from mlratchet.infra.warm.server import Server


def ended() -> int:
    process = subprocess.Popen([sys.executable, "-I", "-S", "-c", ""])
    process.wait()
    return process.pid


def test_a_server_serves_out_at_once_where_the_next_has_ended_before_it(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    listener = listen(tmp_path, "calls")
    server = Server(listener, refuse=lambda _: "", worn=lambda: False, next_stage=ended())
    assert server.serve() is None
    assert listener.fileno() == -1


def test_a_machine_that_forks_no_more_ends_no_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And with it no fork of before: whoever asks starts a new interpreter."""
    (tmp_path / "run").mkdir()
    server = Server(listen(tmp_path, "calls"), refuse=lambda _: "", worn=lambda: False, next_stage=None)
    monkeypatch.setattr(os, "fork", refuse)
    threading.Thread(target=server.serve, daemon=True).start()
    for _ in range(2):
        with connect(tmp_path, "calls") as asks, Path(os.devnull).open("r+b") as nothing:
            request = Request(module="m", arguments=(), directory="/", environment={}, when_gone=signal.SIGTERM)
            send_request(asks, request, [nothing.fileno()] * 3)
            assert receive(asks) == {"refused": "[Errno 11] no more processes"}


def refuse() -> int:
    raise BlockingIOError(errno.EAGAIN, "no more processes")


def test_a_nursery_takes_no_other_process_for_the_one_that_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its id was given to another one during the imports: that one would be waited for, for ever."""
    read, write = socket.socketpair()
    with (
        read,
        write,
        subprocess.Popen(["cat"], stdin=subprocess.PIPE) as other,
    ):
        monkeypatch.setattr(nursery, "IMPORTED", ())
        monkeypatch.setattr(nursery, "collect_seldom", lambda: None)
        monkeypatch.setattr(nursery, "Server", Never)
        monkeypatch.setattr(nursery.gc, "disable", lambda: None)
        monkeypatch.setattr(nursery.gc, "freeze", lambda: None)
        monkeypatch.setattr(nursery.sys, "path", list(sys.path))
        monkeypatch.setattr(nursery.os, "dup", lambda _: read.detach())
        nursery.main(other.pid)
        other.communicate()


class Never:
    """A server that must not serve."""

    def __init__(self, listener: socket.socket, **_: object) -> None:
        listener.close()

    def serve(self) -> None:
        raise AssertionError("it serves a process that did not ask")

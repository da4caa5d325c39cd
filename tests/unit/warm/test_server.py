"""A stage of the warm process whose next one, or whoever asked for it, ended before it served."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest
from mlratchet.infra.child import nursery
from mlratchet.infra.warm.protocol import listen
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

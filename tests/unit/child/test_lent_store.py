"""Whoever asks through a channel that has ended is told so: nobody waits for an answer that cannot come."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest
from mlratchet.infra.child import lent_store, store_server
from mlratchet.infra.child.lent_store import BorrowedStore, Lender
from mlratchet.infra.child.store_server import StoreServer, borrow
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.ports.children import Rights
from mlratchet.models.ports.storage import StorageError


def asked(store: BorrowedStore, key: str) -> Any:
    """What a get gives or raises; "nothing" where it waits for longer than a busy machine explains."""
    found: list[Any] = []

    def ask() -> None:
        try:
            found.append(store.get(key))
        except Exception as error:
            found.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(20)
    return found[0] if found else "nothing"


def no_room(_source: socket.socket) -> Any:
    raise MemoryError("cannot allocate 300000000 bytes")


def test_an_answer_for_which_there_is_no_memory_is_told_to_who_asked_and_to_who_asks_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lent_store, "receive_frame", no_room)
    ours, _theirs = socket.socketpair()
    store = BorrowedStore(ours, "store")
    assert isinstance(asked(store, "shards/a"), MemoryError)  # as `training/run.py` explains it
    assert isinstance(asked(store, "shards/b"), MemoryError)


def test_who_lends_and_has_no_memory_for_a_request_hangs_up(monkeypatch: pytest.MonkeyPatch) -> None:
    held = MemoryStore("store")
    held.put("shards/a", b"bytes")
    with StoreServer(Lender(held, Rights(read=("shards/",)))) as served:
        store = borrow(served.channel.fileno(), "store")
        assert asked(store, "shards/a") == b"bytes"
        monkeypatch.setattr(store_server, "receive_frame", no_room)
        monkeypatch.setattr(threading, "excepthook", lambda _told: None)
        asked(store, "shards/a")  # answered still: the server was waiting for it
        assert isinstance(asked(store, "shards/a"), StorageError | OSError)

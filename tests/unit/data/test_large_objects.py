"""An object of any size is copied, verified and mended piece by piece."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import pytest
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.data.raw_objects import RawObjects, raw_objects
from mlratchet.models.data.snapshot import Snapshot, take_snapshot
from mlratchet.models.errors import DataError
from mlratchet.models.ports.storage import DigestMismatch
from mlratchet.models.sources.ranged import opening
from mlratchet.models.sources.record import PIECE_BYTES

DATA = bytes(range(256)) * ((2 * PIECE_BYTES) // 256) + b"the end"
SHA = hashlib.sha256(DATA).hexdigest()


class Watched(MemoryStore):
    """Counts what is read and written whole."""

    def __init__(self) -> None:
        super().__init__("watched")
        self.whole: list[str] = []
        self.streamed: list[str] = []

    def get(self, key: str, *, sha256: str | None = None) -> bytes:
        self.whole.append(key)
        return super().get(key, sha256=sha256)

    def put_stream(self, key: str, parts: Iterable[bytes]) -> None:
        self.streamed.append(key)
        super().put_stream(key, parts)


class Changing(Watched):
    """Its object changes behind its first piece."""

    def get_range(self, key: str, start: int, length: int, *, sha256: str | None = None) -> bytes:
        data = super().get_range(key, start, length, sha256=sha256)
        self.put(key, DATA[:-7])
        return data


def copied() -> tuple[Watched, Watched, Snapshot]:
    raw, store = Watched(), Watched()
    raw.put("t/large.bin", DATA)
    raw.put("t/small.bin", b"small")
    return raw, store, take_snapshot(raw, store, prefix="t/")


def test_a_large_object_is_never_held_whole() -> None:
    raw, store, snapshot = copied()
    large = snapshot.objects[0]
    assert (large.sha256, large.size_bytes) == (SHA, len(DATA))
    pieces = [DATA[at : at + PIECE_BYTES] for at in range(0, len(DATA), PIECE_BYTES)]
    assert large.pieces == tuple(hashlib.sha256(piece).hexdigest() for piece in pieces)
    assert "t/large.bin" not in raw.whole
    assert store.streamed == [f"raw/{SHA}"]
    assert store.get(f"raw/{SHA}", sha256=SHA) == DATA


def test_what_is_there_already_is_not_sent_again_and_what_is_not_those_bytes_is() -> None:
    raw, store, _ = copied()
    raw.put("t/again.bin", DATA)
    take_snapshot(raw, store, prefix="t/")
    assert store.streamed == [f"raw/{SHA}"]
    store.put(f"raw/{SHA}", DATA[:-1] + b"!")
    raw.put("t/more.bin", DATA)
    take_snapshot(raw, store, prefix="t/")
    assert store.get(f"raw/{SHA}", sha256=SHA) == DATA


def test_an_object_that_changes_meanwhile_is_said() -> None:
    raw, store = Changing(), Watched()
    raw.put("t/large.bin", DATA)
    with pytest.raises(DataError, match="source changed during the read"):
        take_snapshot(raw, store, prefix="t/")
    assert not list(store.list("snapshots/"))


def test_a_reader_fetches_the_pieces_that_it_reads_and_each_is_mended_from_the_delivery() -> None:
    raw, store, snapshot = copied()
    item = snapshot.raw_objects()[0]
    fetch = raw_objects(store, snapshot, raw)
    store.whole.clear()
    with opening(fetch)(item) as source:
        source.seek(PIECE_BYTES)
        assert source.read(4) == DATA[PIECE_BYTES : PIECE_BYTES + 4]
    assert not store.whole
    store.put(f"raw/{SHA}", b"x" * len(DATA))
    with opening(fetch)(item) as source:
        assert source.read() == DATA
    assert store.get(f"raw/{SHA}") == DATA


def test_what_neither_holds_any_more_is_an_error_that_names_both() -> None:
    raw, store, snapshot = copied()
    store.delete(f"raw/{SHA}")
    raw.put("t/large.bin", DATA[::-1])
    fetch = raw_objects(store, snapshot, raw)
    with pytest.raises(Exception, match=r"is gone, the copy of what was delivered as t/large\.bin"):
        fetch.read_range(snapshot.raw_objects()[0], 0, 4, None)
    store.put(f"raw/{SHA}", b"other")
    with pytest.raises(DigestMismatch, match=r"holds other bytes than what was delivered as t/large\.bin"):
        RawObjects(store, snapshot, None)(snapshot.raw_objects()[0])

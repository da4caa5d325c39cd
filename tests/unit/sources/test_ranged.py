"""A large object is read in ranges, each verified against what its snapshot recorded, or against the whole."""

from __future__ import annotations

import hashlib
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.data import large_objects
from mlratchet.models.data import snapshot as snapshots
from mlratchet.models.data.snapshot import Snapshot, load_snapshot, take_snapshot
from mlratchet.models.errors import SecurityError
from mlratchet.models.ports.storage import DigestMismatch
from mlratchet.models.sources import ranged
from mlratchet.models.sources.ranged import RangedFile, opening_ranges, piece_digests
from mlratchet.models.sources.record import RawObject

PIECE = 1000
DATA = bytes(n * 7 % 251 for n in range(10 * PIECE + 17))


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranged, "PIECE_BYTES", PIECE)


class Bucket:
    """A raw bucket that counts, and may have been written to."""

    def __init__(self, data: bytes) -> None:
        self.store, self.asked = MemoryStore(), 0
        self.store.put("raw/x", data)

    def read_range(self, item: RawObject, start: int, length: int, sha256: str | None) -> bytes:
        self.asked += length
        return self.store.get_range("raw/x", start, length, sha256=sha256)


def item(*, recorded: bool = True) -> RawObject:
    pieces = piece_digests(DATA) if recorded else ()
    return RawObject(key="x", size_bytes=len(DATA), sha256=hashlib.sha256(DATA).hexdigest(), pieces=pieces)


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(st.tuples(st.integers(0, len(DATA) + 50), st.integers(0, 3000)), max_size=12))
def test_it_reads_as_a_file_in_memory_does(steps: list[tuple[int, int]]) -> None:
    ranged.PIECE_BYTES = PIECE  # hypothesis runs many examples per fixture
    ours, theirs = opening_ranges(Bucket(DATA).read_range)(item()), io.BytesIO(DATA)
    for place, size in steps:
        assert ours.seek(place) == theirs.seek(place)
        assert ours.read(size) == theirs.read(size)
        assert ours.tell() == theirs.tell()
    assert ours.seek(-10, io.SEEK_END) == len(DATA) - 10
    assert ours.read() == DATA[-10:]


def test_only_the_pieces_that_are_read_are_fetched() -> None:
    bucket = Bucket(DATA)
    with opening_ranges(bucket.read_range)(item()) as source:
        source.seek(5 * PIECE)
        assert source.read(10) == DATA[5 * PIECE : 5 * PIECE + 10]
    assert bucket.asked <= 3 * PIECE


@pytest.mark.parametrize("recorded", [True, False])
def test_changed_bytes_are_never_given(recorded: bool) -> None:
    changed = bytearray(DATA)
    changed[7 * PIECE] ^= 1
    file = RangedFile(item(recorded=recorded), Bucket(bytes(changed)).read_range)
    if recorded:
        assert file.read(100) == DATA[:100]  # of another piece
        file.seek(7 * PIECE)
    with pytest.raises((DigestMismatch, SecurityError), match=r"x: got SHA-256"):
        file.read(100)


def test_an_object_without_recorded_pieces_is_read_once_before_and_held_against_its_digest() -> None:
    bucket = Bucket(DATA)
    file = RangedFile(item(recorded=False), bucket.read_range)
    file.seek(2 * PIECE)
    assert file.read(5) == DATA[2 * PIECE : 2 * PIECE + 5]
    assert bucket.asked == len(DATA) + PIECE


def test_a_snapshot_records_the_pieces_of_large_objects_and_its_id_tells_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ids = []
    for size in (PIECE, 10 * len(DATA)):
        for module in (ranged, snapshots, large_objects):
            monkeypatch.setattr(module, "PIECE_BYTES", size)
        raw, store = MemoryStore(), MemoryStore()
        raw.put("p/large", DATA)
        raw.put("p/small", b"x")
        taken = take_snapshot(raw, store, prefix="p/")
        assert load_snapshot(store, taken.id) == taken
        ids.append(taken.id)
        large, small = taken.raw_objects()
        assert large.pieces == (piece_digests(DATA) if size == PIECE else ())
        assert small.pieces == ()
        assert (b"pieces" in store.get(f"snapshots/{taken.id}.json")) == (size == PIECE)
    assert ids[0] != ids[1]


def test_pieces_are_believed_as_far_as_the_id_tells_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (ranged, snapshots, large_objects):
        monkeypatch.setattr(module, "PIECE_BYTES", PIECE)
    raw, store = MemoryStore(), MemoryStore()
    raw.put("p/large", DATA)
    taken = take_snapshot(raw, store, prefix="p/")
    (large,) = taken.objects
    other = large.model_copy(update={"pieces": tuple(one[::-1] for one in large.pieces)})
    planted = taken.model_copy(update={"objects": (other,)})
    store.put(f"snapshots/{taken.id}.json", planted.model_dump_json().encode())
    with pytest.raises(SecurityError, match="its objects do not match its id"):
        load_snapshot(store, taken.id)
    whole = large.model_copy(update={"pieces": ()})  # as an earlier release gave the id, whatever it recorded beside
    earlier = Snapshot(id=snapshots.snapshot_id((whole,)), prefix="p/", objects=(other,))
    store.put(f"snapshots/{earlier.id}.json", earlier.model_dump_json().encode())
    assert load_snapshot(store, earlier.id).objects == (whole,)

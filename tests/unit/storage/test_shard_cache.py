"""Copies of shards: verified, shared, bounded, and never believed when somebody changed them."""

from __future__ import annotations

import fcntl
import hashlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from mlratchet.infra.child.lent_store import Lender
from mlratchet.infra.storage import shard_cache
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.infra.storage.shard_cache import ShardCache
from mlratchet.models.errors import ConfigurationError, SecurityError
from mlratchet.models.ports.children import Rights
from mlratchet.models.ports.storage import DigestMismatch, ObjectNotFound, StorageError


class Counting(MemoryStore):
    """Counts reads; the first ones may be spoilt on their way."""

    def __init__(self) -> None:
        super().__init__("counting")
        self.reads: list[str] = []
        self.spoilt: list[str] = []  # how each of the next readings is spoilt
        self.slow: threading.Barrier | None = None

    def get_range(self, key: str, start: int, length: int, *, sha256: str | None = None) -> bytes:
        self.reads.append(key)
        data = super().get_range(key, start, length, sha256=sha256)
        how = self.spoilt.pop(0) if self.spoilt else ""
        if how == "cut":
            return data[: len(data) // 2]
        if how == "flip":
            return bytes([data[0] ^ 1]) + data[1:]
        if how == "swap":  # another object by now, of another size
            return data + b"more" if len(data) < length else data[:-1] + b"!"
        return data


@pytest.fixture
def store() -> Counting:
    return Counting()


def put(store: MemoryStore, data: bytes) -> tuple[str, str]:
    sha256 = hashlib.sha256(data).hexdigest()
    key = f"shards/{sha256}.safetensors"
    store.put(key, data)
    return key, sha256


def cache(tmp_path: Path, store: MemoryStore, bound: int = 1 << 20) -> ShardCache:
    return ShardCache(tmp_path / "shards", store, bound_bytes=bound)


def held(tmp_path: Path) -> int:
    return sum(one.stat().st_size for one in (tmp_path / "shards").iterdir() if len(one.name) == 64)


def test_a_copy_is_downloaded_once_and_is_the_owners_alone(tmp_path: Path, store: Counting) -> None:
    one = put(store, b"rows" * 100)
    for _ in range(3):
        file = cache(tmp_path, store).file(*one)  # another process begins anew
        assert file.read_bytes() == b"rows" * 100
    assert store.reads == [one[0]]
    assert file.stat().st_mode & 0o777 == 0o400
    assert file.parent.stat().st_mode & 0o777 == 0o700
    (tmp_path / "shards").chmod(0o755)
    with pytest.raises(SecurityError, match="0700"):
        cache(tmp_path, store).file(*one)


@pytest.mark.parametrize("pieces", ["one", "many"])
@pytest.mark.parametrize("how", ["cut", "flip", "swap"])
def test_what_was_spoilt_on_the_way_is_read_again(
    tmp_path: Path, store: Counting, how: str, pieces: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if pieces == "many":
        monkeypatch.setattr(shard_cache, "PIECE_BYTES", 64)
    data = bytes(range(256)) * 4
    one = put(store, data)
    store.spoilt = ["", "", how] if pieces == "many" else [how]
    assert cache(tmp_path, store).file(*one).read_bytes() == data
    store.spoilt = [how] * 100
    (tmp_path / "shards" / one[1]).unlink()
    with pytest.raises(DigestMismatch, match="twice"):
        cache(tmp_path, store).file(*one)
    assert not [entry.name for entry in (tmp_path / "shards").iterdir() if entry.suffix == ".part"]
    assert held(tmp_path) == 0


@pytest.mark.parametrize("how", ["flip", "cut", "replace", "remove"])
def test_a_copy_that_somebody_changed_is_downloaded_again(tmp_path: Path, store: Counting, how: str) -> None:
    data = b"rows" * 100
    one = put(store, data)
    file = cache(tmp_path, store).file(*one)
    if how == "remove":
        file.unlink()
    elif how == "replace":
        other = file.with_name("other")
        other.write_bytes(b"x" * len(data))
        other.replace(file)
    else:
        file.chmod(0o600)
        with file.open("r+b") as copy:
            copy.truncate(100) if how == "cut" else copy.write(b"X")
    assert cache(tmp_path, store).file(*one).read_bytes() == data
    assert len(store.reads) == 2
    file.touch()  # touched and whole: hashed, not downloaded
    assert cache(tmp_path, store).file(*one).read_bytes() == data
    assert len(store.reads) == 2


def test_many_who_ask_at_once_share_one_download(tmp_path: Path, store: Counting) -> None:
    one = put(store, b"rows" * 1000)
    both = [cache(tmp_path, store), cache(tmp_path, store)]
    with ThreadPoolExecutor(8) as pool:
        files = list(pool.map(lambda number: both[number % 2].file(*one), range(32)))
    assert {file.read_bytes() for file in files} == {b"rows" * 1000}
    assert store.reads == [one[0]]


def test_what_was_used_least_recently_makes_room_and_the_bound_is_never_passed(tmp_path: Path, store: Counting) -> None:
    shards = [put(store, bytes([number]) * 1000) for number in range(6)]
    copies = cache(tmp_path, store, bound=3200)
    for at, one in enumerate(shards[:3]):
        os.utime(copies.file(*one).with_name(f"{one[1]}.seen"), (at, at))
    copies.file(*shards[0])  # used again
    for one in shards[3:]:
        copies.file(*one)
        assert held(tmp_path) <= 3200
    kept = {one[1] for one in shards if (tmp_path / "shards" / one[1]).exists()}
    assert shards[1][1] not in kept
    assert shards[5][1] in kept
    with pytest.raises(ConfigurationError, match="RATCHET_SHARD_CACHE_BYTES"):
        copies.file(*put(store, b"x" * 4000))


def test_nobody_makes_room_of_what_is_read(tmp_path: Path, store: Counting) -> None:
    first, second, third = (put(store, bytes([number]) * 1000) for number in range(3))
    copies = cache(tmp_path, store, bound=2100)
    with copies.file(*first).open() as reader, copies.file(*second).open() as other:
        fcntl.flock(reader, fcntl.LOCK_SH)
        fcntl.flock(other, fcntl.LOCK_SH)
        with pytest.raises(StorageError, match="in use"):
            copies.file(*third)
        fcntl.flock(other, fcntl.LOCK_UN)
        copies.file(*third)
        assert (tmp_path / "shards" / first[1]).exists()
        assert not (tmp_path / "shards" / second[1]).exists()


def test_a_smaller_bound_holds_at_once_and_what_a_killed_process_had_begun_goes(
    tmp_path: Path, store: Counting
) -> None:
    for number in range(4):
        cache(tmp_path, store).file(*put(store, bytes([number]) * 1000))
    (tmp_path / "shards" / ("a" * 64 + ".part")).write_bytes(b"x" * 500)
    cache(tmp_path, store, bound=2200).trim()
    assert held(tmp_path) <= 2200
    assert not list((tmp_path / "shards").glob("*.part"))


def test_downloads_ahead_are_met_by_who_asks(tmp_path: Path, store: Counting) -> None:
    shards = [put(store, bytes([number]) * 1000) for number in range(8)]
    copies = cache(tmp_path, store)
    copies.ahead(shards)
    copies.ahead([*shards, ("shards/" + "0" * 64, "0" * 64)])
    assert [copies.file(*one).read_bytes()[0] for one in shards] == list(range(8))
    with pytest.raises(ObjectNotFound):
        copies.file("shards/" + "0" * 64, "0" * 64)
    assert sorted(key for key in store.reads if "0" * 64 not in key) == sorted(key for key, _ in shards)
    copies.close()


def test_a_child_is_told_of_copies_of_what_it_may_read_and_no_other_path(tmp_path: Path, store: Counting) -> None:
    ours, other = put(store, b"ours"), put(store, b"other")
    store.files = cache(tmp_path, store)  # type: ignore[attr-defined]  # as an adapter has it
    lender = Lender(store, Rights(read=("shards/",), create=()))

    def asked(**what: object) -> dict[str, object]:
        return lender.answer(what, b"")[0]

    assert asked(do="files")["found"] == [1 << 20, 64 << 20]
    assert Path(str(asked(do="file", key=ours[0], sha256=ours[1])["found"])).read_bytes() == b"ours"
    for key, sha256 in ((ours[0], other[1]), (ours[0], "../../etc/passwd"), ("shards/x", "a" * 64)):
        assert asked(do="file", key=key, sha256=sha256)["refused"] == "security"
    assert asked(do="file", key=f"models/{ours[1]}", sha256=ours[1])["refused"] == "security"
    assert asked(do="ahead", keys=[f"models/{ours[1]}"])["refused"] == "security"
    assert asked(do="ahead", keys=[other[0]]).keys() == {"to"}
    assert Lender(MemoryStore("x"), Rights(read=("shards/",), create=())).answer({"do": "files"}, b"")[0] == {
        "to": None,
        "found": None,
    }


def test_who_waits_for_a_download_is_not_held_up_by_who_reads_the_copy(
    tmp_path: Path, store: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file that is written becomes the copy, and a rank that maps it keeps a lock on it for hours."""
    key, sha256 = put(store, b"s" * 5000)
    copies = cache(tmp_path, store)
    file = copies.folder / sha256
    part = file.with_name(sha256 + shard_cache.PART)
    waits, flock = threading.Event(), fcntl.flock

    def told(descriptor: int, kind: int) -> None:
        if threading.current_thread().name.startswith("waits"):
            waits.set()
        flock(descriptor, kind)

    with part.open("wb") as sink, ThreadPoolExecutor(1, "waits") as pool:
        fcntl.flock(sink, fcntl.LOCK_EX)  # another process's download
        monkeypatch.setattr(fcntl, "flock", told)
        found = pool.submit(copies.file, key, sha256)
        assert waits.wait(60)
        with part.open("rb") as mapped:
            sink.write(b"s" * 5000)
            sink.flush()
            part.rename(file)
            flock(sink, fcntl.LOCK_SH)  # in one step, so nobody comes between
            flock(mapped, fcntl.LOCK_SH)  # as a rank that has mapped it
            sink.close()
            assert found.result(timeout=120) == file
    assert file.read_bytes() == b"s" * 5000

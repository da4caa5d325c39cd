"""One contract over every store: memory, a folder, moto and SeaweedFS."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError
from mlratchet.infra.storage.folder import FolderStore
from mlratchet.infra.storage.memory import MemoryStore, VersionedMemoryStore
from mlratchet.infra.storage.s3 import S3Store
from mlratchet.models.errors import ConfigurationError, SecurityError
from mlratchet.models.ports.storage import (
    DigestMismatch,
    ObjectExists,
    ObjectNotFound,
    ObjectStore,
    StorageError,
)
from mlratchet.models.ports.versions import VersionedStore

from tests.moto_in_turn import mock_s3


@pytest.fixture
def moto_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Store]:
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    with mock_s3():
        store = S3Store("contract", endpoint_url=None, region="us-east-1", access_key="a", secret_key="b")
        store.ensure_bucket()
        yield store


@pytest.fixture(
    params=[
        "memory",
        "folder",
        "moto",
        pytest.param("seaweedfs", marks=pytest.mark.stack),
    ]
)
def bucket(request: pytest.FixtureRequest) -> Iterator[ObjectStore]:
    if request.param == "memory":
        yield MemoryStore("contract")
    elif request.param == "folder":
        yield FolderStore(request.getfixturevalue("tmp_path_factory").mktemp("contract"))
    elif request.param == "moto":
        yield request.getfixturevalue("moto_store")
    else:
        with bucket_of_its_own(request) as store:
            yield store


@contextmanager
def bucket_of_its_own(request: pytest.FixtureRequest) -> Iterator[S3Store]:
    """Of SeaweedFS, and gone with the test: each holds volumes, of which a server has only so many."""
    store: S3Store = request.getfixturevalue("stack").adapters.bucket(f"contract-{uuid.uuid4().hex[:12]}")
    store.ensure_bucket()
    yield store
    for info in list(store.list()):
        store.delete(info.key)
    with suppress(ClientError):  # versions that are kept keep the bucket
        store._client.delete_bucket(Bucket=store.bucket)


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_what_is_put_is_read_back(bucket: ObjectStore) -> None:
    for data in (b"", b"x", bytes(range(256)) * 1000):
        bucket.put("a/b c/ü.bin", data)
        assert bucket.get("a/b c/ü.bin", sha256=sha(data)) == data
        assert bucket.head("a/b c/ü.bin").size_bytes == len(data)


def test_a_range_holds_its_bytes_and_no_others(bucket: ObjectStore) -> None:
    data = bytes(range(256)) * 100
    bucket.put("k", data)
    for start, length in ((0, 10), (5, 1), (25_590, 10), (25_590, 999), (0, len(data)), (7, 0)):
        piece = data[start : start + length]
        assert bucket.get_range("k", start, length, sha256=sha(piece)) == piece
    assert bucket.get_range("k", len(data), 10) == b""
    bucket.put("empty", b"")
    assert bucket.get_range("empty", 0, 10) == b""
    with pytest.raises(DigestMismatch, match="k"):
        bucket.get_range("k", 0, 10, sha256=sha(data))
    with pytest.raises(ObjectNotFound, match="absent"):
        bucket.get_range("absent", 0, 10)
    with pytest.raises(SecurityError):
        bucket.get_range("../up", 0, 10)
    for start, length in ((-1, 5), (0, -5)):
        with pytest.raises(ValueError, match="a range begins at 0 or later"):
            bucket.get_range("k", start, length)


def test_replace_writes_over_the_very_object_alone(bucket: ObjectStore) -> None:
    bucket.put("k", b"one")
    seen = bucket.head("k")
    bucket.replace("k", b"two", etag=seen.etag)
    assert bucket.get("k") == b"two"
    with pytest.raises(ObjectExists, match="k: holds other bytes"):
        bucket.replace("k", b"three", etag=seen.etag)
    bucket.replace("k", b"two", etag=seen.etag)  # a lost reply that is asked again
    assert bucket.get("k") == b"two"
    with pytest.raises(ObjectNotFound):
        bucket.replace("absent", b"x", etag=seen.etag)
    assert [info.key for info in bucket.list()] == ["k"]


def test_an_absent_object_is_not_found(bucket: ObjectStore, tmp_path: Path) -> None:
    assert not bucket.exists("absent")
    for call in (bucket.get, bucket.head):
        with pytest.raises(ObjectNotFound, match="absent"):
            call("absent")
    with pytest.raises(ObjectNotFound):
        bucket.download_file("absent", tmp_path / "x")
    assert list(tmp_path.iterdir()) == []
    bucket.delete("absent")


def test_a_changed_object_is_refused(bucket: ObjectStore, tmp_path: Path) -> None:
    bucket.put("k", b"good")
    bucket.put("k", b"evil")
    with pytest.raises(DigestMismatch, match="k"):
        bucket.get("k", sha256=sha(b"good"))
    with pytest.raises(DigestMismatch):
        bucket.download_file("k", tmp_path / "x", sha256=sha(b"good"))
    assert list(tmp_path.iterdir()) == []


def test_create_wins_once_and_may_be_repeated(bucket: ObjectStore) -> None:
    bucket.create("k", b"first")
    bucket.create("k", b"first")
    with pytest.raises(ObjectExists):
        bucket.create("k", b"second")
    assert bucket.get("k") == b"first"


def test_of_eight_creates_at_once_one_wins(bucket: ObjectStore) -> None:
    def attempt(number: int) -> bool:
        try:
            bucket.create("race", str(number).encode())
        except ObjectExists:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(attempt, range(8)))
    assert sum(won) == 1
    assert bucket.get("race") == str(won.index(True)).encode()


def test_a_listing_is_sorted_and_goes_over_pages(bucket: ObjectStore) -> None:
    keys = [f"p/{number:05d}" for number in range(1050)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda key: bucket.put(key, key.encode()), reversed(keys)))
    bucket.put("q/other", b"")
    found = list(bucket.list("p/"))
    assert [info.key for info in found] == keys
    assert all(info.size_bytes == 7 for info in found)
    assert all(info.etag and info.modified_s > 1e9 for info in found)
    assert list(bucket.list("nothing/")) == []
    assert [info.key for info in bucket.list("p/", after="p/00005")] == keys[6:]
    assert [info.key for info in bucket.list("p/", after="p/01048x")] == keys[1049:]
    assert list(bucket.list("p/", after=keys[-1])) == []


def test_an_etag_changes_with_the_bytes(bucket: ObjectStore) -> None:
    bucket.put("k", b"one")
    first = bucket.head("k").etag
    bucket.put("k", b"two")
    assert bucket.head("k").etag != first


def test_files_go_up_and_come_down_whole(bucket: ObjectStore, tmp_path: Path) -> None:
    data = bytes(range(256)) * (40 << 12)  # 40 MiB: multipart on S3
    (tmp_path / "up").write_bytes(data)
    assert bucket.upload_file("big", tmp_path / "up") == sha(data)
    assert bucket.download_file("big", tmp_path / "down", sha256=sha(data)) == sha(data)
    assert (tmp_path / "down").read_bytes() == data
    assert sorted(path.name for path in tmp_path.iterdir()) == ["down", "up"]


def test_deleting_is_idempotent(bucket: ObjectStore) -> None:
    bucket.put("k", b"x")
    bucket.delete("k")
    bucket.delete("k")
    assert not bucket.exists("k")


@pytest.mark.parametrize("key", ["../up", "a/../b", "/root", "a\\b", "a\0b", "", "./a"])
def test_a_key_that_could_leave_its_place_is_refused(bucket: ObjectStore, key: str) -> None:
    for call in (bucket.get, bucket.head, bucket.delete):
        with pytest.raises(SecurityError):
            call(key)
    for write in (bucket.put, bucket.create):
        with pytest.raises(SecurityError):
            write(key, b"")


def on_event(store: S3Store, event: str, handler: Callable[..., Any]) -> None:
    store._client.meta.events.register_first(event, handler)


def test_a_create_whose_reply_was_lost_is_recognised_as_ours(moto_store: S3Store) -> None:
    """botocore's retry of a create that succeeded gets 412: the bytes tell whose it was."""
    lost = []

    def repeat(request: Any, **_: Any) -> AWSResponse | None:
        if request.method == "PUT" and not lost:
            lost.append(request)
            moto_store._client.put_object(Bucket="contract", Key="k", Body=b"mine")  # the server did it
            return AWSResponse(request.url, 500, {}, _Body())  # and its reply was lost
        return None

    on_event(moto_store, "before-send.s3.PutObject", repeat)
    moto_store.create("k", b"mine")
    assert lost
    assert moto_store.get("k") == b"mine"
    with pytest.raises(ObjectExists):
        moto_store.create("k", b"theirs")


class _Body:
    """An empty reply."""

    def read(self, *_: Any) -> bytes:
        return b""

    def stream(self, *_: Any, **__: Any) -> Iterator[bytes]:
        return iter(())


@pytest.mark.parametrize(
    ("status", "body"), [(409, b"ConditionalRequestConflict"), pytest.param(503, b"SlowDown", marks=pytest.mark.slow)]
)
def test_a_server_that_asks_to_try_again_is_asked_again(moto_store: S3Store, status: int, body: bytes) -> None:
    answers = []

    def refuse(request: Any, **_: Any) -> AWSResponse | None:
        if len(answers) >= 2:
            return None
        answers.append(status)
        text = b"<Error><Code>" + body + b"</Code></Error>"
        return AWSResponse(request.url, status, {"content-type": "application/xml"}, _Text(text))

    on_event(moto_store, "before-send.s3.PutObject", refuse)
    moto_store.create("k", b"x")
    assert len(answers) == 2
    assert moto_store.get("k") == b"x"


class _Text(_Body):
    """A reply with text."""

    def __init__(self, text: bytes) -> None:
        self._parts = [text]

    def read(self, *_: Any) -> bytes:
        return self._parts.pop() if self._parts else b""

    def stream(self, *_: Any, **__: Any) -> Iterator[bytes]:
        while self._parts:
            yield self._parts.pop()


def test_a_flipped_bit_on_the_way_is_read_again(moto_store: S3Store) -> None:
    moto_store.put("k", b"good")
    flips = []

    def flip(parsed: dict[str, Any], **_: Any) -> None:
        if not flips:
            flips.append(1)
            parsed["Body"] = _Text(b"gpod")

    on_event(moto_store, "after-call.s3.GetObject", flip)
    assert moto_store.get("k", sha256=sha(b"good")) == b"good"
    assert flips


def test_a_flipped_bit_of_a_range_is_read_again(moto_store: S3Store) -> None:
    moto_store.put("k", b"a good one")
    flips = []

    def flip(parsed: dict[str, Any], **_: Any) -> None:
        if not flips:
            flips.append(1)
            parsed["Body"] = _Text(b"gpod")

    on_event(moto_store, "after-call.s3.GetObject", flip)
    assert moto_store.get_range("k", 2, 4, sha256=sha(b"good")) == b"good"
    assert flips


def test_a_server_that_knows_no_ranges_is_understood(moto_store: S3Store) -> None:
    moto_store.put("k", b"a good one")

    def whole(parsed: dict[str, Any], **_: Any) -> None:
        parsed.pop("ContentRange", None)
        parsed["Body"] = _Text(b"a good one")

    on_event(moto_store, "after-call.s3.GetObject", whole)
    assert moto_store.get_range("k", 2, 4) == b"good"


def test_a_server_that_is_not_there_is_one_clear_error() -> None:
    store = S3Store("b", endpoint_url="http://127.0.0.1:9", region="us-east-1", access_key="a", secret_key="s3cr3t")
    with pytest.raises(StorageError, match="is the server up") as caught:
        store.get("k")
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.stack
def test_a_missing_bucket_or_wrong_credentials_are_the_configurations_fault(stack: Any) -> None:
    absent = stack.adapters.bucket("no-such-bucket")  # SeaweedFS makes a bucket at its first write
    for read in (lambda: absent.get("k"), lambda: list(absent.list(""))):
        with pytest.raises(ConfigurationError, match=r"no-such-bucket.*no such bucket"):
            read()
    settings = stack.settings
    wrong = S3Store(
        "ratchet-store", endpoint_url=settings.s3_endpoint_url, region="us-east-1", access_key="x", secret_key="s3cr3t"
    )
    with pytest.raises(ConfigurationError, match="check the credentials") as caught:
        wrong.get("k")
    assert "s3cr3t" not in str(caught.value)


def test_a_stream_is_there_when_all_of_it_is(bucket: ObjectStore) -> None:
    parts = [bytes([number]) * (5 << 20) for number in range(3)]
    bucket.put("s/whole", b"before")
    bucket.put_stream("s/whole", iter([*parts, b"end"]))
    assert bucket.get("s/whole", sha256=sha(b"".join(parts) + b"end")).endswith(b"end")
    assert bucket.get_range("s/whole", (15 << 20) - 1, 9) == b"\x02end"

    def broken() -> Iterator[bytes]:
        yield parts[0]
        raise RuntimeError("its reader broke")

    with pytest.raises(RuntimeError, match="its reader broke"):
        bucket.put_stream("s/broken", broken())
    assert [info.key for info in bucket.list("s/")] == ["s/whole"]
    with pytest.raises(SecurityError):
        bucket.put_stream("../outside", [b"x"])


def test_a_version_is_read_as_it_was_whatever_comes_after(request: pytest.FixtureRequest) -> None:
    for made in (VersionedMemoryStore("contract"), request.getfixturevalue("moto_store")):
        versions_hold(made)


@pytest.mark.stack
def test_the_embedded_stack_keeps_versions(request: pytest.FixtureRequest) -> None:
    with bucket_of_its_own(request) as store:
        versions_hold(store)


def versions_hold(store: S3Store | VersionedMemoryStore) -> None:
    assert isinstance(store, VersionedStore)
    if isinstance(store, S3Store):
        assert not store.keeps_versions()
        enabled = {"Status": "Enabled"}
        store._client.put_bucket_versioning(Bucket=store.bucket, VersioningConfiguration=enabled)
    assert store.keeps_versions()
    for key in ("p/a", "p/b", "p/gone", "q"):
        store.put(key, f"first {key}".encode())
    first = {info.key: info for info in store.list_versions("p/")}
    assert list(first) == ["p/a", "p/b", "p/gone"]
    assert all(info.version for info in first.values())
    store.put("p/a", b"second")
    store.delete("p/gone")
    now = {info.key: info for info in store.list_versions("p/")}
    assert list(now) == ["p/a", "p/b"]
    assert now["p/a"].version != first["p/a"].version
    assert (now["p/b"].version, now["p/b"].size_bytes) == (first["p/b"].version, 9)
    held = [(info.key, info.version) for info in store.list_versions("p/", older=True) if not info.latest]
    assert held == [("p/a", first["p/a"].version), ("p/gone", first["p/gone"].version)]
    was = first["p/a"]
    assert store.get_version("p/a", was.version, 0, was.size_bytes, sha256=sha(b"first p/a")) == b"first p/a"
    assert store.get_version("p/gone", first["p/gone"].version, 6, 99) == b"p/gone"
    with pytest.raises(DigestMismatch):
        store.get_version("p/a", was.version, 0, 5, sha256=sha(b"other"))
    if isinstance(store, S3Store):
        store._client.delete_object(Bucket=store.bucket, Key="p/a", VersionId=was.version)
    else:
        store.delete_version("p/a", was.version)
    with pytest.raises(ObjectNotFound):
        store.get_version("p/a", was.version, 0, 5)

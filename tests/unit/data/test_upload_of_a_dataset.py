"""A dataset of many shards whose upload is cut off: by a crash (fault 9), by a server that says SlowDown (fault 31).

After each: no manifest that does not resolve, no object whose bytes are not those of its name, what was left behind is
garbage, and whoever runs again sends only what is not there and ends with the same dataset.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import botocore.endpoint
import pytest
from botocore.awsrequest import AWSResponse
from mlratchet.infra.keys.files import MemoryKeys
from mlratchet.infra.storage.folder import FolderStore
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.infra.storage.s3 import S3Store
from mlratchet.models.config import WorkloadRef
from mlratchet.models.data.config import DataConfig
from mlratchet.models.data.dataset import DatasetManifest, load_dataset
from mlratchet.models.data.kept_pieces import KeptPieces
from mlratchet.models.data.preprocess import FirstDelivery, read_dataset_records, write_dataset
from mlratchet.models.data.snapshot import take_snapshot
from mlratchet.models.garbage.reachable import Retention, survey
from mlratchet.models.identity.canonical import digest_bytes
from mlratchet.models.identity.signed_records import RecordStore
from mlratchet.models.ports.storage import ObjectStore, StorageError
from mlratchet.models.sources.csv import CsvOptions
from mlratchet.models.workloads.fields import SchemaWorkload
from moto import mock_aws

PARAMETERS: dict[str, Any] = {
    "schema": {
        "label": "y", "id": "id",
        "fields": {"a": {"kind": "number"}, "y": {"kind": "category", "values": ["no", "yes"]}},
    }
}  # fmt: skip
USE = "mlratchet.models.workloads.fields:SchemaWorkload"
SOURCE, FIRST = CsvOptions(prefix="t/", format="csv"), FirstDelivery(number_marks={"a": "."})
NAMED = re.compile(r"^(raw|shards|indexes|preparations|pieces)/([0-9a-f]{64})")
KEYS = MemoryKeys()


class Counting(FolderStore):
    """Objects that are sent and were not there; `crash(number)` is asked before and after each."""

    def __init__(self, folder: Path, crash: Callable[[int, str], bool] = lambda _number, _when: False) -> None:
        super().__init__(folder)
        self.sent: list[str] = []
        self._crash = crash

    def create(self, key: str, data: bytes | bytearray) -> None:
        if self.exists(key):
            super().create(key, data)
            return
        self.sent.append(key)
        number = len(self.sent)
        if self._crash(number, "before"):
            os._exit(137)
        super().create(key, data)
        if self._crash(number, "after"):
            os._exit(137)


def delivered() -> MemoryStore:
    raw = MemoryStore("raw")
    for part in range(3):
        rows = [f"r{n:05d},{n * 37 % 1000}.25,{'yes' if n % 3 else 'no'}" for n in range(part * 700, part * 700 + 700)]
        raw.put(f"t/{part}.csv", "\n".join(["id,a,y", *rows]).encode())
    return raw


def made(raw: ObjectStore, beneath: ObjectStore) -> DatasetManifest:
    """From the delivery to the dataset, as a run does it."""
    store = RecordStore(beneath, KEYS)
    workload = SchemaWorkload(**PARAMETERS)
    snapshot = take_snapshot(raw, store, prefix="t/")
    kept = KeptPieces(store, "reading", snapshot.id)
    records, _ = read_dataset_records(store, snapshot, workload, SOURCE, first=FIRST, kept=kept)
    return write_dataset(
        store, snapshot, records, "code", WorkloadRef(use=USE, parameters=PARAMETERS), DataConfig(rows_per_shard=64),
        SOURCE, class_names=("no", "yes"), tensors=workload.tensors(), prepared=True, first=FIRST,
    )  # fmt: skip


def holds(beneath: ObjectStore, *, whole: bool) -> None:
    """I4, I9."""
    store = RecordStore(beneath, KEYS)
    for info in store.list():
        named = NAMED.match(info.key)
        assert named is None or digest_bytes(store.get(info.key)) == named[2], info.key
    manifests = [info.key for info in store.list("datasets/")]
    assert len(manifests) == whole
    for key in manifests:
        found = load_dataset(store, key.removeprefix("datasets/").removesuffix(".json"))
        for refs in (*found.splits.values(), *found.examples.values()):
            for ref in refs:
                store.get(ref.key, sha256=ref.sha256)
    left = survey(beneath, retention=Retention(), now_s=time.time() + 10 * 86_400).garbage
    assert {info.key for info in left} == {info.key for info in store.list() if not info.key.startswith("aside/")}


def forked(work: Callable[[], object]) -> int:
    """The exit code of a process that does it."""
    child = os.fork()
    if not child:
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.slow
def test_an_upload_that_crashes_at_every_few_objects_goes_on_where_it_was(tmp_path: Path) -> None:
    raw, expected = delivered(), made(delivered(), whole := Counting(tmp_path / "whole"))
    shards = {key for key in whole.sent if key.startswith("shards/")}
    assert len(shards) > 60
    folder, crashes = tmp_path / "crashing", 0

    def dies(when: str) -> bool:
        return forked(lambda: made(raw, Counting(folder, lambda number, at: (number, at) == (9, when)))) == 137

    while dies("after" if crashes % 2 else "before"):
        crashes += 1
        holds(FolderStore(folder), whole=any(FolderStore(folder).list("datasets/")))
        assert crashes <= len(whole.sent)
    assert crashes > len(shards) // 9 - 1
    last = Counting(folder)
    assert made(raw, last) == expected
    assert [key for key in last.sent if key.startswith(("shards/", "raw/", "pieces/"))] == []
    holds(last, whole=True)


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Store]:
    monkeypatch.setattr(botocore.endpoint, "time", SimpleNamespace(sleep=lambda _: None, time=time.time))
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    with mock_aws():
        store = S3Store("bucket", endpoint_url=None, region="us-east-1", access_key="a", secret_key="b")
        store.ensure_bucket()
        yield store


class Slow:
    """The server says 503 SlowDown to some requests."""

    def __init__(self, store: S3Store, refuses: Callable[[int, str], bool]) -> None:
        self.asked = self.refused = 0
        self.refuses = refuses
        store._client.meta.events.register_first("before-send.s3", self)

    def __call__(self, request: Any, **_: Any) -> AWSResponse | None:
        self.asked += 1
        if not self.refuses(self.asked, request.method):
            return None
        self.refused += 1
        text = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
        raw = SimpleNamespace(read=lambda *_: text, stream=lambda *_, **__: iter([text]))
        return AWSResponse(request.url, 503, {"content-type": "application/xml"}, raw)


@pytest.mark.slow
def test_a_server_that_says_slow_down_gets_the_whole_dataset(s3: S3Store, tmp_path: Path) -> None:
    expected = made(delivered(), FolderStore(tmp_path))
    slow = Slow(s3, lambda number, _: number % 3 == 0)
    assert made(delivered(), s3) == expected
    assert slow.refused > 100
    slow.refuses = lambda *_: False
    holds(s3, whole=True)


@pytest.mark.slow
def test_a_server_that_says_nothing_else_any_more_ends_the_run_and_the_next_goes_on(s3: S3Store) -> None:
    slow = Slow(s3, lambda number, method: number > 80 and method == "PUT")
    with pytest.raises(StorageError, match="the server said SlowDown; try again"):
        made(delivered(), s3)
    slow.refuses = lambda *_: False
    holds(s3, whole=False)
    there = {info.key for info in s3.list("shards/")}
    assert there
    sent: list[str] = []
    create = s3.create
    s3.create = lambda key, data: (sent.append(key), create(key, data))[1]  # type: ignore[method-assign]
    made(delivered(), s3)
    assert not there & set(sent)
    holds(s3, whole=True)

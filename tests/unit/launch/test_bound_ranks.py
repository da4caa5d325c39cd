"""A training over a store in memory: ranks have no credential, reach their dataset and their own epoch alone, and are
bound to the attempt's folders."""

from __future__ import annotations

import json
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlratchet.infra.child.confine import not_held
from mlratchet.infra.child.lent_store import Lender
from mlratchet.infra.keys.files import MemoryKeys
from mlratchet.infra.launch import local
from mlratchet.infra.launch.attempt import Room, rights_of
from mlratchet.infra.launch.local import LocalLauncher, Tail
from mlratchet.infra.machine.processes import wait_until_gone
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.data.preprocess import read_dataset_records, write_dataset
from mlratchet.models.data.snapshot import take_snapshot
from mlratchet.models.identity.canonical import digest_bytes
from mlratchet.models.identity.signed_records import RecordStore
from mlratchet.models.pipeline.loading import parse_pipeline
from mlratchet.models.ports.children import Rights
from mlratchet.models.training.job import TrainJob
from mlratchet.models.workloads.loading import load_workload

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(not_held()), reason=f"not held here: {not_held()}")]

PIPELINE = """
name: table
workload:
  use: shop:Curious
  parameters: {columns: [a, b], classes: ["no", "yes"]}
source: {prefix: t/}
data: {split: {test: 0.3}}
train: {epochs: 2, global_batch_size: 64, processes: 2, loader_workers: 1}
gates:
  data: [{kind: data, measure: rows, minimum: 1}]
  candidate: [{kind: absolute, metric: accuracy, minimum: 0.5}]
  staging: [{kind: parity, maximum_difference: 0.1}]
  champion: [{kind: absolute, metric: accuracy, minimum: 0.5}]
"""
SHOP = '''
import json, os, socket, subprocess, sys
from pathlib import Path
from mlratchet.infra.child.store_server import borrow
from mlratchet.models.training.job import TrainJob
from mlratchet.models.workloads.tabular import TableClassifier

class Curious(TableClassifier):
    """It tries what it may not, and writes down what came of it."""

    def build_model(self):
        scratch = Path(os.environ["HOME"])
        job = TrainJob.model_validate_json((scratch / "job.json").read_text())
        found = {"environment": {k: v for k, v in os.environ.items() if "secret" in v}}
        store = borrow(sys.modules["mlratchet.infra.launch.bound"].CHANNEL, job.bucket)
        tries = {
            "key": lambda: Path(os.environ["KEY_FILE"] if "KEY_FILE" in os.environ else KEY).read_text(),
            "project": lambda: Path("planted.py").write_text("x"),
            "meeting": lambda: os.listdir(Path(job.rendezvous.endpoint).parent),
            "ledger": lambda: store.get("ledger/one"),
            "claim": lambda: store.create(f"work/{job.work_key}/claim-000002.json", b"{}"),
            "later": lambda: store.create(f"work/{job.work_key}/e000002/result.json", b"{}"),
            "plant": lambda: store.create("rows/champion", b"{}"),
            "delete": lambda: store.delete("datasets/" + job.dataset_id + ".json"),
            "a service's socket": lambda: socket.socket(socket.AF_UNIX).connect(SERVICE),
            "a service's datagrams": lambda: socket.socketpair(type=socket.SOCK_DGRAM)[0].sendto(b"x", SERVICE),
            "a service's port": lambda: socket.create_connection(("127.0.0.1", PORT)),
            "a usual port": lambda: socket.create_connection(("127.0.0.1", 22)),
            "a port of its own": lambda: socket.create_server(("127.0.0.1", 18765)),
            "udp": lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", PORT)),
            "mptcp": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262),
            "leave": lambda: subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"],
                                              start_new_session=True),
        }
        for name, attempt in tries.items():
            try:
                found[name] = repr(attempt())
            except Exception as error:
                found[name] = type(error).__name__
        left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        if os.environ["RANK"] == "0":
            (scratch / "found.json").write_text(json.dumps({**found, "left": left.pid}))
        return super().build_model()

KEY, SERVICE, PORT = "{key}", "{service}", {port}
'''


@pytest.fixture
def services(tmp_path: Path) -> Iterator[tuple[str, int]]:
    """As the user runs them: one at a path, one at a port that its program did not choose."""
    path = f"/proc/self/fd/{os.open(tmp_path, os.O_PATH)}/service.sock"  # a path may have 107 bytes
    with socket.socket(socket.AF_UNIX) as local, socket.create_server(("127.0.0.1", 0)) as port:
        local.bind(path)
        local.listen()
        yield str(tmp_path / "service.sock"), port.getsockname()[1]


@pytest.fixture
def job(
    tmp_path: Path,
    store: MemoryStore,
    raw: MemoryStore,
    services: tuple[str, int],
    monkeypatch: pytest.MonkeyPatch,
) -> TrainJob:
    """Two ranks, each with a loader worker; the home holds a key and the credentials."""
    home, project = tmp_path / "home", tmp_path / "project"
    (home / "keys").mkdir(parents=True)
    project.mkdir()
    (home / "keys" / "pipeline.pem").write_text("the key")
    (home / "stack.env").write_text(
        "RATCHET_S3_ACCESS_KEY=a\nRATCHET_S3_SECRET_KEY=secret\nRATCHET_MLFLOW_TRACKING_URI=x\n"
        "RATCHET_PREFECT_API_URL=x\n"
    )
    told = {"{key}": home / "keys" / "pipeline.pem", "{service}": services[0], "{port}": services[1]}
    text = SHOP
    for name, value in told.items():
        text = text.replace(name, str(value))
    (project / "shop.py").write_text(text)
    monkeypatch.chdir(project)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    signed = RecordStore(store, MemoryKeys())  # of the process that starts the ranks
    monkeypatch.setattr(local, "signing_store", lambda _settings: signed)
    spec = parse_pipeline(PIPELINE, where="test")
    workload = load_workload("mlratchet.models.workloads.tabular:TableClassifier", dict(spec.workload.parameters))
    x = np.random.default_rng(0).normal(size=(300, 2))
    lines = [f"{a:.6f},{b:.6f},{'yes' if a + b > 0 else 'no'}" for a, b in x]
    raw.put("t/rows.csv", "\n".join(["a,b,label", *lines]).encode())
    snapshot = take_snapshot(raw, signed, prefix="t/")
    records, _ = read_dataset_records(signed, snapshot, workload, spec.source)
    dataset = write_dataset(
        signed, snapshot, records, "code", spec.workload, spec.data, spec.source,
        class_names=workload.class_names(), input_columns=workload.input_spec().columns,
    )  # fmt: skip
    store.put("ledger/one", b"history")
    return TrainJob(
        work_key="f" * 64, epoch=1, dataset_id=dataset.id, workload=spec.workload, train=spec.train, processes=2,
        scratch=str(tmp_path / "home" / "scratch" / "train-1"),
    )  # fmt: skip


def test_ranks_train_and_get_nothing_that_they_were_not_lent(job: TrainJob, store: MemoryStore, tmp_path: Path) -> None:
    result = LocalLauncher(tmp_path / "home").train(job, on_event=lambda _: None)
    assert store.exists(result.weights_key)
    found = json.loads((Path(job.scratch) / "found.json").read_text())
    assert found.pop("environment") == {}
    left = found.pop("left")
    assert found == {
        "key": "PermissionError",
        "project": "PermissionError",
        "meeting": "PermissionError",
        "ledger": "SecurityError",
        "claim": "SecurityError",
        "later": "SecurityError",
        "plant": "SecurityError",
        "delete": "SecurityError",
        "a service's socket": "PermissionError",
        "a service's datagrams": "PermissionError",
        "a service's port": "PermissionError",
        "a usual port": "PermissionError",
        "a port of its own": "PermissionError",
        "udp": "PermissionError",
        "mptcp": "PermissionError",
        "leave": "PermissionError",
    }
    assert wait_until_gone(left, 10.0)  # it was killed with the group of the attempt
    assert not list(Path(tmp_path / "project").glob("planted*"))


def test_what_they_were_lent_succeeds(job: TrainJob, store: MemoryStore) -> None:
    """The control of the refusals above."""
    lender = Lender(store, rights_of(job))
    folder = f"work/{job.work_key}/e000001"
    part = f"{folder}/checkpoints/000000001/{digest_bytes(b'')}.safetensors"
    for do, key in (("get", f"datasets/{job.dataset_id}.json"), ("create", part), ("get", part)):
        head, _ = lender.answer({"ask": 1, "do": do, "key": key}, b"")
        assert "refused" not in head, head


def test_a_range_is_lent_as_the_whole_object_is(job: TrainJob, store: MemoryStore) -> None:
    lender = Lender(store, rights_of(job))
    key = f"datasets/{job.dataset_id}.json"
    whole = store.get(key)
    asked = {"ask": 1, "do": "get_range", "key": key, "start": 3, "length": 10}
    assert lender.answer(asked, b"") == ({"to": 1}, whole[3:13])
    assert lender.answer(asked | {"sha256": digest_bytes(whole[3:13])}, b"")[1] == whole[3:13]
    assert lender.answer(asked | {"sha256": digest_bytes(whole)}, b"")[0]["refused"] == "digest"
    assert lender.answer(asked | {"key": "ledger/p/00000001.json"}, b"")[0]["refused"] == "security"
    assert "refused" in lender.answer(asked | {"start": -1}, b"")[0]


@pytest.mark.parametrize("name", ["checkpoints/000000001/marker.json", "result.json"])
def test_a_record_is_reported_and_signed_by_who_started_them(job: TrainJob, store: MemoryStore, name: str) -> None:
    lender = Lender(RecordStore(store, MemoryKeys()), rights_of(job))
    key = f"work/{job.work_key}/e000001/{name}"
    head, _ = lender.answer({"ask": 1, "do": "create", "key": key}, b"{}")
    assert head["refused"] == "security"
    assert not store.exists(key)


def test_agents_of_one_node_meet_where_nobody_else_enters() -> None:
    with Room() as room:
        assert stat.S_IMODE(room.folder.stat().st_mode) == stat.S_IMODE(room.meet.stat().st_mode) == 0o700
    assert not room.folder.exists()


@pytest.mark.parametrize(
    "line", ['{"event": 1}', "[]", "nothing", '{"event": "epoch", "epoch": "x"}', '{"step": 1}', '{"event": {}}']
)
def test_what_is_no_event_is_left_out(tmp_path: Path, line: str) -> None:
    heard: list[dict[str, Any]] = []
    file = tmp_path / "events.jsonl"
    file.write_text(f'{line}\n{{"event": "epoch", "epoch": 1}}\n')
    Tail(file, heard.append).read()
    assert {"event": "epoch", "epoch": 1} in heard


def test_events_are_not_read_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text('{"event": "note", "text": "the key"}\n')
    (tmp_path / "events.jsonl").symlink_to(tmp_path / "key.pem")
    heard: list[dict[str, Any]] = []
    Tail(tmp_path / "events.jsonl", heard.append).read()
    assert heard == []


def test_a_result_is_told_through_the_attempts_own_channel_and_nothing_else_is(store: MemoryStore) -> None:
    """A full disk cannot take it away, and it lies in no bucket."""
    lender = Lender(store, Rights())
    for name in ("result", "champion"):
        lender.answer({"ask": 1, "do": "report", "name": name}, b"{}")
    assert lender.reported == {"result": b"{}"}
    assert list(store.list()) == []

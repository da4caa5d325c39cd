"""Two hosts, each in a network namespace of its own with nothing but a cable between them, train together."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from mlratchet.infra.machine.processes import WORK_MARK, marked_processes
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.training.observers import Surroundings
from mlratchet.models.training.run import run_training

from tests.conftest import REPOSITORY, wait_for
from tests.distributed import two_nodes
from tests.distributed.troubled import go_on_of

pytestmark = [pytest.mark.distributed, pytest.mark.slow]
PORT = 5000  # in a namespace of its own every port is free


@dataclass(frozen=True)
class Hosts:
    """Two namespaces; `addresses` are those of the two ends of the cable."""

    names: tuple[str, str]
    addresses: tuple[str, str]

    def start(self, host: int, home: Path, *command: str) -> subprocess.Popen[str]:
        environment = {
            **os.environ,
            "PYTHONPATH": str(REPOSITORY),
            "RATCHET_HOME": str(home),
            "RATCHET_TRUSTED_KEYS": str(home.parent / "trusted-keys.json"),
            "RATCHET_NODE_ADDRESS": self.addresses[host],
            "RATCHET_S3_ENDPOINT_URL": f"http://{self.addresses[0]}:{PORT}",
            "RATCHET_S3_ACCESS_KEY": "test", "RATCHET_S3_SECRET_KEY": "test-secret",
            "RATCHET_MLFLOW_TRACKING_URI": "http://127.0.0.1:1", "RATCHET_PREFECT_API_URL": "http://127.0.0.1:1/api",
        }  # fmt: skip
        return subprocess.Popen(
            ["ip", "netns", "exec", self.names[host], *command], env=environment, cwd=home, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True, timeout=30)


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    mark = uuid.uuid4().hex[:6]
    made = Hosts((f"rt{mark}a", f"rt{mark}b"), ("10.203.17.1", "10.203.17.2"))
    try:
        ip("netns", "add", made.names[0])
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"no network namespace can be made here: {getattr(error, 'stderr', '') or error}")
    try:
        ip("netns", "add", made.names[1])
        ip("link", "add", f"v{mark}a", "netns", made.names[0], "type", "veth",
           "peer", "name", f"v{mark}b", "netns", made.names[1])  # fmt: skip
        for name, end, address in zip(made.names, "ab", made.addresses, strict=True):
            ip("-n", name, "addr", "add", f"{address}/24", "dev", f"v{mark}{end}")
            ip("-n", name, "link", "set", f"v{mark}{end}", "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield made
    finally:
        for name in made.names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def alone(folder: Path) -> str:
    """The weights of one process on one node."""
    store = MemoryStore("store")
    job = two_nodes.job_of(two_nodes.prepare(MemoryStore("raw"), store), str(folder), nodes=1)
    result = run_training(job, store, rank=0, world=1, device=torch.device("cpu"), around=Surroundings())
    assert result is not None
    return result.weights_sha256


def events(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []


def test_two_nodes_train_the_weights_of_one_process_also_when_a_rank_of_the_second_is_killed(
    hosts: Hosts, tmp_path: Path
) -> None:
    homes = (tmp_path / "a", tmp_path / "b")
    for home in homes:
        home.mkdir()
    out = homes[0] / "events.jsonl"
    first = hosts.start(0, homes[0], sys.executable, two_nodes.__file__, hosts.addresses[0], str(PORT), str(out))
    ratchet = str(Path(sys.executable).with_name("ratchet"))
    wait_for("the store", lambda: out.is_file() or first.poll() is not None)
    second = hosts.start(1, homes[1], ratchet, "join", "--trainings", "1")
    try:
        wait_for("the seventh epoch", lambda: any(e.get("epoch") == 7 for e in events(out)) or first.poll() is not None)
        ranks = marked_processes(WORK_MARK, "two-nodes")
        ours = [p for p in ranks if p.environ()["RATCHET_HOME"] == str(homes[1])]
        theirs = [p for p in ours if "forkserver" in " ".join(p.cmdline())]
        os.kill(max(theirs, key=lambda p: p.create_time()).pid, signal.SIGKILL)
        go_on_of(str(homes[0] / "first")).touch()
        said = [process.communicate(timeout=600)[0] for process in (first, second)]
    finally:
        for process in (first, second):
            process.kill()
            process.wait()
    assert (first.returncode, second.returncode) == (0, 0), said
    (result,) = [event for event in events(out) if event["event"] == "result"]
    assert result["weights"] == alone(tmp_path)
    assert result["resumed"] > 0
    assert result["left"] == []
    assert "joining two-nodes, attempt 1, at 10.203.17.1:" in said[1]
    wait_for("every process to be gone", lambda: marked_processes(WORK_MARK, "two-nodes") == [])

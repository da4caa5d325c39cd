"""A served pipeline under load: three versions in the stack's own bucket, clients, swaps, kills of what is beneath."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import torch
from mlratchet.infra.artifact.exported import load_exported
from mlratchet.infra.artifact.package import complete, export
from mlratchet.infra.ledger.objects import ObjectLedger
from mlratchet.infra.serving.local import LocalServers
from mlratchet.models.artifact.signature import signature_of
from mlratchet.models.errors import RatchetError
from mlratchet.models.inference_log.config import LogConfig
from mlratchet.models.inference_log.reading import list_log
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.serving.config import ServingConfig
from mlratchet.models.sources.record import InputSpec, Record
from mlratchet.models.tensors.named import Inputs
from mlratchet.models.workloads.base import Workload
from safetensors.torch import save_file
from torch import nn

from tests.conftest import REPOSITORY, Stack, wait_for
from tests.unit.audit.conftest import World

VERSIONS = (1, 2, 3)
ROWS = 32  # that clients ask about, one after the other
WIDTH = 16
TOLD_S = 13.0  # after which the log tells what a server lost that was killed


class Small(Workload):
    """16-32-3, so that HTTP and the log are most of a request."""

    task = "classification"

    def class_names(self) -> tuple[str, ...]:
        """Three."""
        return ("0", "1", "2")

    def input_spec(self) -> InputSpec:
        """Numbers."""
        return InputSpec(kind="tensor", shape=(WIDTH,), dtype="float32")

    def records(self, *_: Any) -> Iterator[Record]:  # type: ignore[override]  # nothing is read here
        """None."""
        return iter(())

    def build_model(self) -> nn.Module:
        """Fresh."""
        return nn.Sequential(nn.Linear(WIDTH, 32), nn.ReLU(), nn.Linear(32, 3))


def package(folder: Path, version: int) -> dict[str, bytes]:
    """The files of a version that answers by itself alone."""
    torch.manual_seed(version)
    workload = Small()
    module = workload.prepared_model().eval()
    example = Inputs({"x": np.zeros((2, WIDTH), dtype=np.float32)})
    save_file(module.state_dict(), folder / "w.safetensors")
    export(module, example, folder / "model")
    complete(folder / "model", signature_of(workload), example, card="card", weights_file=folder / "w.safetensors")
    found = [file for file in (folder / "model").rglob("*") if file.is_file()]
    return {str(file.relative_to(folder / "model")): file.read_bytes() for file in found}


def judged_rows(seed: int) -> RowOutputs:
    """What a gate judges: a classifier that is good."""
    rng = np.random.default_rng(seed)
    y = np.arange(60) % 3
    output = rng.normal(0, 0.1, (60, 3)).astype(np.float32)
    output[np.arange(60), y] += 3.0
    return RowOutputs(ids=[f"r{at}" for at in range(60)], y=y.astype(np.int64), output=output, dataset_id="d")


class History(World):
    """Of one process, which knows what it wrote."""

    @cached_property
    def ledger(self) -> ObjectLedger:  # type: ignore[override]  # kept, so that a swap reads one entry
        """The same one."""
        return ObjectLedger(self.store, self.keys)


@dataclass
class Seen:
    """What clients saw."""

    ids: np.ndarray[Any, Any]
    versions: np.ndarray[Any, Any]
    statuses: dict[str, int]
    wrong: list[str]
    longest_s: float


@dataclass
class Soak:
    """One pipeline of a stack that is never left in peace."""

    stack: Stack
    name: str
    folder: Path
    swaps: int = 0
    killed_s: float = 0.0  # when a server was, by the monotonic clock
    outages: list[str] = field(default_factory=list)
    memory_mb: list[float] = field(default_factory=list)  # of a server that lives, after a while of its load

    def begin(self) -> None:
        """Three versions, the last of them champion, and served."""
        adapters = self.stack.adapters
        self.history = History(
            judged_rows, adapters.keys, name=self.name, store=adapters.store,
            uploads=adapters.bucket(adapters.settings.mlflow_bucket),
        )  # fmt: skip
        self.history.now_s = time.time()
        expected = {"rows": np.random.default_rng(0).normal(size=(ROWS, WIDTH)).round(3)}
        for version in VERSIONS:
            folder = self.folder / str(version)
            folder.mkdir(parents=True)
            self.history.files = package(folder, version)
            with torch.inference_mode():
                logits = load_exported(folder / "model")(torch.from_numpy(expected["rows"].astype(np.float32)))
            expected[str(version)] = logits.softmax(1).numpy().astype(np.float64)
            self.history.promote(version)
        np.savez(self.folder / "expected.npz", **expected)
        log = LogConfig(flush_seconds=1.0, flush_rows=50_000)
        LocalServers(self.stack.home).request(self.name, ServingConfig(log=log))
        wait_for("the pipeline to be served", self.is_ready)

    def end(self) -> None:
        """Served no more."""
        LocalServers(self.stack.home).withdraw(self.name, "removed")

    @property
    def url(self) -> str:
        """Of the pipeline."""
        found = LocalServers(self.stack.home).url(self.name)
        assert found is not None
        return found

    def is_ready(self) -> bool:
        """Whether a champion answers."""
        try:
            return httpx.get(f"{self.url}/ready", timeout=60).status_code == 200
        except (httpx.HTTPError, AssertionError):
            return False

    @contextmanager
    def clients(self) -> Iterator[Path]:
        """They ask meanwhile; gives where what they saw is written at the end."""
        out = self.folder / "seen.npz"
        port = self.url.split(":")[2].split("/")[0]
        command = [sys.executable, "-m", "tests.faults.soak_clients", port, self.name]
        with subprocess.Popen(
            [*command, str(self.folder / "expected.npz"), str(out)], stdin=subprocess.PIPE, cwd=REPOSITORY
        ) as process:
            try:
                yield out
                assert process.poll() is None, "the clients ended early"
            finally:
                assert process.stdin is not None
                process.stdin.close()
                process.wait(300)

    def seen(self, out: Path) -> Seen:
        """As the clients wrote it."""
        with np.load(out) as held:
            told = json.loads(str(held["told"]))
            return Seen(ids=held["ids"], versions=held["versions"], **told)

    def swap(self) -> None:
        """Another champion; while S3 is away there is none."""
        with contextlib.suppress(RatchetError):
            self.history.roll_back(VERSIONS[self.swaps % len(VERSIONS)])
            self.swaps += 1

    def swap_for(self, seconds: float, every_s: float = 1.0) -> None:
        """Swaps, one after the other."""
        until_s = time.monotonic() + seconds
        while (left_s := until_s - time.monotonic()) > 0:
            self.swap()
            time.sleep(min(every_s, max(0.0, left_s)))

    def outage(self, services: Sequence[str], how: signal.Signals) -> None:
        """All of them at once; swaps go on until the supervisor has them back."""
        self.outages.append(f"{how.name} {'+'.join(services)}")
        before = self.stack.services()
        pids = {name: before[name].pid for name in services}
        if "serve" in services and how == signal.SIGKILL:
            self.killed_s = time.monotonic()
        for pid in pids.values():
            assert pid is not None
            os.kill(pid, how)
        until_s = time.monotonic() + 300
        while not self._are_back(pids):
            assert time.monotonic() < until_s, f"{self.outages[-1]}: {self.stack.services()}"
            self.swap_for(0.5, every_s=0.5)

    def _are_back(self, pids: dict[str, int | None]) -> bool:
        now = self.stack.services()
        back = all(now[name].healthy and now[name].pid not in (None, pid) for name, pid in pids.items())
        return back and self.is_ready()

    def remember_memory(self) -> None:
        """Of the server that lives now."""
        pid = self.stack.services()["serve"].pid
        assert pid is not None
        self.memory_mb.append(psutil.Process(pid).memory_info().rss / 1e6)

    def logged(self) -> Logged:
        """All that was written of it, once nothing waits any more."""
        wait_for("all that was told to be in the log", self._is_told)
        adapters = self.stack.adapters
        listing = list_log(adapters.store, adapters.keys, self.name, since_s=0.0, until_s=9e9)
        ids, versions = bytearray(), []
        for table in listing.tables(adapters.store, columns=["request_id", "version", "status", "received_s"]):
            ids += bytes.fromhex("".join(table["request_id"].to_pylist()))
            versions.append(table["version"].to_numpy())
        return Logged(
            ids=np.frombuffer(bytes(ids), dtype="V16"), versions=np.concatenate(versions), dropped=listing.dropped,
            unclosed=listing.unclosed, problems=listing.problems, files=len(listing.files),
        )  # fmt: skip

    def _is_told(self) -> bool:
        if time.monotonic() < self.killed_s + TOLD_S:
            return False
        told = httpx.get(f"{self.url}/health", timeout=60).json()["log"]
        writer = told["writer"] or {}
        return bool(told["waiting"] == 0 and writer.get("waiting") == 0 and writer.get("spooled_bytes") == 0)


@dataclass
class Logged:
    """What the log has of it."""

    ids: np.ndarray[Any, Any]
    versions: np.ndarray[Any, Any]
    dropped: int
    unclosed: int
    problems: tuple[str, ...]
    files: int

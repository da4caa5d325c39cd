"""From kill -9 of a rank to the first new step, two processes, on the running stack.

    RATCHET_HOME=... python benchmarks/recovery.py [--kills 20]

The limit is the start of one process that imports torch, measured in the same run.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from mlratchet.infra.launch.local import LocalLauncher
from mlratchet.infra.machine.processes import WORK_MARK, marked_processes
from mlratchet.infra.settings import load_settings
from mlratchet.models.config import WorkloadRef
from mlratchet.models.data.config import DataConfig, SourceConfig
from mlratchet.models.data.preprocess import write_dataset
from mlratchet.models.data.snapshot import take_snapshot
from mlratchet.models.sources.record import Record
from mlratchet.models.training.config import TrainConfig
from mlratchet.models.training.job import TrainJob
from mlratchet.tasks.wiring import Adapters

SETTLED_S = 0.2  # no rank can be back so soon
RESULTS = Path(__file__).parent / "results"
WORKLOAD = WorkloadRef(
    use="mlratchet.models.workloads.tabular:TableClassifier",
    parameters={"columns": ["a", "b"], "classes": ["0", "1"]},
)


class Killer:
    """Kills a rank after some steps of its last life, and takes the time to the next step beyond."""

    def __init__(self, work_key: str, kills: int) -> None:
        self.work_key, self.left = work_key, kills
        self.seconds: list[float] = []
        self._killed_s: float | None = None
        self._fresh = 0

    def __call__(self, event: dict[str, Any]) -> None:
        if event["event"] != "step":
            return
        if self._killed_s is not None:
            if event["at_s"] < self._killed_s + SETTLED_S:  # written before the kill, or with it
                return
            self.seconds.append(event["at_s"] - self._killed_s)
            self._killed_s, self._fresh = None, 0
        self._fresh += 1
        if self.left and self._fresh > 20:
            ranks = [p for p in marked_processes(WORK_MARK, self.work_key) if self.is_rank(p)]
            os.kill(ranks[-1].pid, signal.SIGKILL)
            self.left -= 1
            self._killed_s = time.time()

    def is_rank(self, process: psutil.Process) -> bool:
        parents = [p.pid for p in process.parents()]
        return len([p for p in marked_processes(WORK_MARK, self.work_key) if p.pid in parents]) == 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    options = parser.parse_args()
    settings = load_settings()
    adapters = Adapters(settings)
    rng = np.random.default_rng(0)
    adapters.raw.put("benchmark/rows.csv", b"x")
    rows = rng.normal(size=(4000, 2)).astype(np.float32)
    records = [Record(id=f"r{i}", x=x, y=int(x.sum() > 0), content_sha256=str(i)) for i, x in enumerate(rows)]
    snapshot = take_snapshot(adapters.raw, adapters.store, prefix="benchmark/")
    source = SourceConfig(prefix="benchmark/")
    dataset = write_dataset(adapters.store, snapshot, records, "code", WORKLOAD, DataConfig(), source)
    work_key = uuid.uuid4().hex
    killer = Killer(work_key, options.kills)
    with tempfile.TemporaryDirectory() as scratch:
        options_of_training = {"epochs": 400, "global_batch_size": 64, "log_every_steps": 1, "max_restarts": 100}
        train = TrainConfig.model_validate({**options_of_training, "checkpoint": {"every_steps": 10}})
        job = TrainJob(
            work_key=work_key,
            epoch=1,
            dataset_id=dataset.id,
            workload=WORKLOAD,
            train=train,
            processes=2,
            scratch=scratch,
        )
        result = LocalLauncher(settings.home).train(job, on_event=killer)
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "import torch"], check=True)
    limit_s = time.monotonic() - began
    row = {
        "claim": "recovery", "date": dt.date.today().isoformat(), "torch": torch.__version__,
        "machine": platform.machine(), "cores": len(os.sched_getaffinity(0)), "load": os.getloadavg()[0],
        "kills": options.kills, "recovered": len(killer.seconds), "steps": result.steps,
        "median_s": round(statistics.median(killer.seconds), 2), "worst_s": round(max(killer.seconds), 2),
        "import_torch_s": round(limit_s, 2),
    }  # fmt: skip
    RESULTS.mkdir(exist_ok=True)
    with (RESULTS / "recovery.jsonl").open("a") as sink:
        sink.write(json.dumps(row) + "\n")
    print(json.dumps(row, indent=2))


if __name__ == "__main__":
    main()

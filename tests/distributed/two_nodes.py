"""The first of two nodes, run in a network namespace: an S3 server, a data set, and the launcher.

python two_nodes.py ADDRESS PORT OUT
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
from mlratchet.infra.keys.files import ensure_pipeline_key
from mlratchet.infra.launch.local import LocalLauncher
from mlratchet.infra.launch.reports import signing_store
from mlratchet.infra.settings import load_settings
from mlratchet.infra.storage.opening import open_bucket
from mlratchet.models.data.config import DataConfig, SourceConfig
from mlratchet.models.data.preprocess import write_dataset
from mlratchet.models.data.snapshot import take_snapshot
from mlratchet.models.pipeline.spec import WorkloadRef
from mlratchet.models.ports.storage import ObjectStore
from mlratchet.models.sources.record import Record
from mlratchet.models.training.config import TrainConfig
from mlratchet.models.training.job import TrainJob

from tests.distributed.troubled import go_on_of

WORKLOAD = WorkloadRef(
    use="mlratchet.models.workloads.tabular:TableClassifier",
    parameters={"columns": ["a", "b", "c"], "classes": ["0", "1"], "hidden": 8},
)
INTO_THE_EIGHTH = 120  # batches of eight rows of one of two ranks; an epoch has 16


def prepare(raw: ObjectStore, store: ObjectStore) -> str:
    """400 rows; the same data set wherever it is made."""
    x = np.random.default_rng(0).normal(size=(400, 3)).astype(np.float32)
    records = [Record(id=f"r{i}", x=row, y=int(row.sum() > 0), content_sha256=str(i)) for i, row in enumerate(x)]
    raw.put("n/rows", b"x")
    snapshot = take_snapshot(raw, store, prefix="n/")
    return write_dataset(store, snapshot, records, "code", WORKLOAD, DataConfig(), SourceConfig(prefix="n/")).id


def job_of(dataset: str, scratch: str, *, nodes: int) -> TrainJob:
    """Of several nodes, each waits in the eighth epoch until somebody has killed a rank: then the checkpoint of step 20
    is kept, since the one of step 40 waits for it."""
    options = {"epochs": 40, "global_batch_size": 32, "nodes": nodes, "checkpoint": {"every_steps": 20}}
    train = TrainConfig.model_validate({**options, "processes": 1})
    workload = WORKLOAD
    if nodes > 1:
        parameters = {**WORKLOAD.parameters, "go_on": str(go_on_of(scratch)), "batches": INTO_THE_EIGHTH}
        workload = WorkloadRef(use="tests.distributed.troubled:HeldTable", parameters=parameters)
    return TrainJob(
        work_key="two-nodes", epoch=1, dataset_id=dataset, workload=workload, train=train, processes=1, scratch=scratch
    )


def main(address: str, port: int, out: Path) -> None:
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(address, port, verbose=False)
    server.start()
    settings = load_settings()
    ensure_pipeline_key(settings)
    store = signing_store(settings)
    open_bucket(settings).ensure_bucket()
    job = job_of(prepare(store, store), str(out.parent / "first"), nodes=2)

    def hear(event: dict[str, Any]) -> None:
        with out.open("a") as sink:
            sink.write(json.dumps(event) + "\n")

    hear({"event": "ready"})
    result = LocalLauncher(settings.home).train(job, on_event=hear)
    left = [info.key for info in store.list("nodes/")]
    hear({"event": "result", "weights": result.weights_sha256, "resumed": result.resumed_from_step, "left": left})
    server.stop()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))

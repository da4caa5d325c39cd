"""The agent: starts the ranks of one attempt on one node and restarts them when one dies.

Run as ``python -m mlratchet.infra.launch.agent JOB.json`` in a session of its own; it ends with its parent.
"""

from __future__ import annotations

import json
import signal
import sys
from dataclasses import replace
from pathlib import Path

from mlratchet.infra.child.confine import Bounds, confine
from mlratchet.infra.launch.preload import start_forkserver
from mlratchet.infra.launch.watchdog import PREEMPTED
from mlratchet.infra.machine.interpreter import collect_seldom
from mlratchet.infra.machine.lifetime import die_with_parent
from mlratchet.infra.machine.temporary import name_semaphores
from mlratchet.infra.settings import told_bounds

SECONDS_FOR_MORE = 1  # that are waited for more nodes once there are enough: none may come


def main(job_file: str) -> int:
    """Run the ranks; 0 when all ended well."""
    die_with_parent(signal.SIGTERM)
    collect_seldom()
    name_semaphores()
    confine_agent(Path(job_file))
    start_forkserver()
    from mlratchet.infra.launch.rank import main as rank_main
    from mlratchet.models.training.job import TrainJob
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    job = TrainJob.model_validate_json(Path(job_file).read_text())
    meet = job.rendezvous
    assert meet is not None, "the launcher says where to meet"
    config = LaunchConfig(
        min_nodes=job.train.nodes,
        max_nodes=job.train.nodes,
        nproc_per_node=job.processes,
        run_id=meet.run_id,
        rdzv_backend="c10d",
        rdzv_endpoint=meet.endpoint,
        rdzv_configs={
            "last_call_timeout": SECONDS_FOR_MORE,
            "join_timeout": int(meet.wait_seconds),
            "is_host": meet.first,
            "store_type": "tcp" if job.train.nodes > 1 else "file",
        },
        max_restarts=job.train.max_restarts,
        monitor_interval=0.1,
        start_method="forkserver",
        local_addr=meet.address,
    )
    try:
        elastic_launch(config, rank_main)(job_file)
    except ChildFailedError as error:
        print(error, file=sys.stderr)  # noqa: T201 - goes to the attempt's log
        return 1
    except SignalException as stop:
        left = (Path(job.scratch) / "preempted").is_file()
        return PREEMPTED if left else 128 + int(stop.sigval)
    return 0


def confine_agent(job_file: Path) -> None:
    """It unpickles what ranks and agents of other nodes say when they meet: it may do no more than they, but for the
    folder where it meets them."""
    told = told_bounds()
    if told is None:
        return
    meet = json.loads(job_file.read_text())["rendezvous"]["endpoint"]
    bounds = Bounds.from_json(told)
    confine(replace(bounds, writes=(*bounds.writes, *([Path(meet).parent] if meet.startswith("/") else []))))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

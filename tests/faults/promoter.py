"""Promotes in processes that die: `promoter.py NAME RUN_ID BUCKET`, then lines `POINT VERSION EXPECTED` on stdin.

Each line is one forked process that arms `POINT` (or `none`) and promotes; its exit code is printed. Imports are paid
once. A line `start` runs all lines since the last one at the same time.
"""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from pathlib import Path

from mlratchet.infra.settings import apply_environment, load_settings
from mlratchet.models import fault_points
from mlratchet.models.ledger.entry import LedgerConflict
from mlratchet.models.registration.record import list_registrations
from mlratchet.tasks.wiring import Adapters

sys.path.insert(0, str(Path(__file__).parent.parent.parent))
from tests.faults.promotions import Scene, TinyFollower

LOST = 9


def promote(name: str, run_id: str, bucket: str, point: str, version: int, expected: int) -> int:
    """In the forked process: 137 at the point, 9 for a race that was lost, else 0."""
    adapters = Adapters(load_settings())
    store = adapters.bucket(bucket)
    if point != "none":
        fault_points.arm(point, "crash")
    scene = Scene(name, store, adapters.registry, run_id, list_registrations(store)[name], adapters.keys)
    try:
        scene.promote(next(record for record in scene.records if record.version == version), expected)
    except LedgerConflict:
        return LOST
    with tempfile.TemporaryDirectory() as folder:
        TinyFollower(scene, Path(folder)).follow()
    return 0


def main(name: str, run_id: str, bucket: str) -> None:
    """Until stdin ends."""
    import mlflow.tracking  # noqa: F401 - before the first fork

    apply_environment(load_settings())  # MLflow's client takes its password from there
    children: list[int] = []
    for line in sys.stdin:
        words = line.split()
        if words != ["start"]:
            pid = os.fork()
            if pid == 0:
                code = 1
                try:
                    code = promote(name, run_id, bucket, words[0], int(words[1]), int(words[2]))
                except BaseException:
                    traceback.print_exc()
                finally:
                    os._exit(code)
            children.append(pid)
            continue
        codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
        children.clear()
        print(*codes, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Try a workload in a process of its own, which holds no key: it runs the user's code and may be killed by it.

Run as ``python -m mlratchet.infra.launch.rehearsal FOLDER`` by `rehearse_before_training`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from mlratchet.infra.machine.interpreter import collect_seldom
from mlratchet.infra.machine.lifetime import die_with_parent
from mlratchet.infra.settings import process_environment, without_private_keys
from mlratchet.infra.warm.ask import start
from mlratchet.models.config import StrictModel, WorkloadRef
from mlratchet.models.errors import ConfigurationError, InfrastructureError
from mlratchet.models.training.config import TrainConfig

if TYPE_CHECKING:
    from mlratchet.models.sources.record import Split

TIMEOUT_S = 300.0
SECONDS_TO_DIE = 5.0
JOB, ROWS, REPORT, LOG = "job.json", "rows.safetensors", "report.json", "output.log"


class RehearsalJob(StrictModel):
    """What the process is told."""

    workload: WorkloadRef
    train: TrainConfig
    world: int
    """Processes that will train."""


def rehearse_before_training(
    workload: WorkloadRef, train: TrainConfig, *, world: int, rows: Split | None = None, home: Path | None = None
) -> tuple[str, ...]:
    """Notes of a rehearsal of the workload, on these training rows or on rows that are made up.

    In a fork of the warm process of the stack in `home`, or in a new interpreter.
    Raises ``ConfigurationError`` for what has to be mended first, with its place.
    """
    with tempfile.TemporaryDirectory(prefix="ratchet-rehearsal-") as name:
        folder = Path(name)
        (folder / JOB).write_text(RehearsalJob(workload=workload, train=train, world=world).model_dump_json())
        if rows is not None:
            from safetensors.numpy import save_file

            save_file({"x": rows.x, "y": rows.y}, folder / ROWS)
        code = _run(folder, home)
        if not (folder / REPORT).is_file():
            raise unanswered(code, (folder / LOG).read_text(errors="replace"))
        told = json.loads((folder / REPORT).read_text())
    if told["problem"]:
        raise ConfigurationError(str(told["problem"]))
    return tuple(str(note) for note in told["notes"])


def _run(folder: Path, home: Path | None) -> int:
    with (folder / LOG).open("wb") as log:
        child = start(
            "measure",
            "mlratchet.infra.launch.rehearsal",
            [str(folder)],
            home=home,
            environment=without_private_keys(process_environment()) | {"OMP_NUM_THREADS": "1"},
            output=log.fileno(),
            when_gone=signal.SIGKILL,
        )
        try:
            return child.wait(TIMEOUT_S)
        except BaseException as error:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            with suppress(subprocess.TimeoutExpired):
                child.wait(SECONDS_TO_DIE)
            if isinstance(error, subprocess.TimeoutExpired):
                raise ConfigurationError(
                    f"the workload was tried for {TIMEOUT_S:.0f} s with a few rows and did not end: look for a loop, a "
                    "download or a wait in build_model, forward or loss"
                ) from error
            raise


def unanswered(code: int, output: str) -> ConfigurationError | InfrastructureError:
    """Why there is no report: from inside it is the workload that ends the process, SIGKILL comes from outside."""
    last = (output.strip() or "no output").splitlines()[-1][:300]
    if code == -signal.SIGKILL:
        return InfrastructureError(f"the rehearsal was killed; the kernel may have had no memory: {last}")
    how = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with code {code}"
    return ConfigurationError(f"the workload ended the process that tried it {how}: {last}")


def main(folder: Path) -> None:
    """In the process of its own."""
    die_with_parent()
    collect_seldom()
    import torch
    from mlratchet.infra.storage.memory import MemoryStore
    from mlratchet.models.sources.record import Split
    from mlratchet.models.training.rehearsal import rehearse
    from safetensors.numpy import load_file

    torch.set_num_threads(1)
    job = RehearsalJob.model_validate_json((folder / JOB).read_text())
    rows = None
    if (folder / ROWS).is_file():
        arrays = load_file(folder / ROWS)
        rows = Split(ids=[str(at) for at in range(len(arrays["x"]))], x=arrays["x"], y=arrays["y"])
    report = rehearse(MemoryStore("rehearsal"), job.workload, job.train, world=job.world, rows=rows)
    (folder / REPORT).write_text(json.dumps(asdict(report)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

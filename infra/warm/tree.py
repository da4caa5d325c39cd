"""The warm process: imports what ranks, measurements and flow runs need, once, and is forked for each of them.

Run as ``python -m mlratchet.infra.warm.tree HOME`` by the supervisor. Four stages, each forked from the one before and
importing more: a rank holds neither Prefect nor MLflow, a measurement what a server holds, and a child that runs a
user's code holds no more than it may. No stage imports code of the user's, holds a private key or a credential, or
starts a thread of Python's.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from socket import socket

from mlratchet.infra.machine.interpreter import collect_seldom
from mlratchet.infra.machine.lifetime import die_with_parent
from mlratchet.infra.warm.become import become, shadowed
from mlratchet.infra.warm.protocol import listen
from mlratchet.infra.warm.resident import touch_what_the_parent_holds
from mlratchet.infra.warm.server import Fork, Server

STAGES: dict[str, tuple[str, ...]] = {
    "ranks": (
        "torch",
        "torch.distributed",
        "torch._dynamo",
        "torch.distributed.launcher.api",
        "mlratchet.infra.launch.rank",
        "mlratchet.infra.launch.watchdog",
    ),
    "measure": (
        "mlflow.pytorch",
        "mlflow.pyfunc.model",
        "torch.export.pt2_archive._package",
        "torch.export._trace",
        "torch.export._unlift",
        "torch._export.serde.serialize",
        "torch._inductor.codecache",
        "networkx",
        "safetensors.numpy",
        "mlratchet.infra.artifact.exported",
        "mlratchet.models.serving.contract",
        "mlratchet.models.serving.predictor",
    ),
    "calls": (
        "scipy.optimize",
        "scipy.special",
        "mlratchet.infra.child.main",
        "mlratchet.infra.artifact.package",
        "mlratchet.models.decisions.foreign_judge",
        "mlratchet.models.evaluation.in_child",
        "scipy.optimize",  # statistics import it when they are asked for
        "scipy.special",
        "mlratchet.models.training.rehearsal",
        "mlratchet.models.workloads.tabular",
        "mlratchet.models.workloads.vision",
        "mlratchet.tasks.support.check_whole",
    ),
    "runs": (
        "prefect",
        "prefect.flow_engine",
        "prefect.task_engine",
        "prefect.concurrency._sync",
        "prefect._internal.metrics",
        "mlflow.tracking.request_header.registry",
        "mlratchet.infra.registry.mlflow",
        "mlratchet.infra.tracking.mlflow",
        "mlratchet.models.workloads.tabular",
        "mlratchet.models.workloads.vision",
        "mlratchet.flows.cli.app",
        "mlratchet.flows.retrain",
        "mlratchet.flows.runs.engine",
        "mlratchet.flows.runs.start",
        "mlratchet.flows.tune",
        "mlratchet.infra.warm.worked_out",
    ),
}
WORKED_OUT = "mlratchet.infra.warm.worked_out"  # where a stage names it, it does not only import
PADDING = "-" * 2048  # an argument of no meaning: room for the command line of a fork
ROOM, ROOM_BYTES = "RATCHET_ROOM", 32_768  # the same for its environment


def grow(home: Path) -> tuple[Fork, int] | None:
    """Be every stage, one process each. Returns in a fork of one of them: what it is to become, and whose it is."""
    listeners = {stage: listen(home, stage) for stage in STAGES}
    told: int | None = None
    for stage, modules in STAGES.items():
        logging.getLogger().handlers.clear()  # of a library before: Prefect then adds none of its own
        for module in modules:
            with contextlib.suppress(ModuleNotFoundError):  # of another release of a library: it is only slower
                imported = importlib.import_module(module)
                if module == WORKED_OUT:
                    imported.work_out()
        gc.freeze()  # a collection would touch, and so copy, what the forks share
        listener = listeners.pop(stage)
        parent = os.getpid()
        read, tells = os.pipe() if listeners else (None, None)
        following = os.fork() if listeners else None
        if following == 0:
            die_with_parent()
            if os.getppid() != parent:
                os._exit(1)
            listener.close()
            for descriptor in (told, tells):
                if descriptor is not None:
                    os.close(descriptor)
            told = read
            touch_what_the_parent_holds()  # a measurement sees in the memory of its stage what a server would hold
            continue
        for other in listeners.values():
            other.close()
        if read is not None:
            os.close(read)
        return serve(listener, following, told=told, tells=tells)
    raise AssertionError("the last stage serves")


def serve(listener: socket, following: int | None, *, told: int | None, tells: int | None) -> tuple[Fork, int] | None:
    """In a fork: what it is to become."""
    server = os.getpid()
    fork = Server(
        listener, refuse=shadowed, worn=change_of_code(), next_stage=following, told=told, tells=tells
    ).serve()
    return (fork, server) if fork is not None else None


def change_of_code() -> Callable[[], bool]:
    """A question: has what was imported of Ratchet, or what is installed, changed since now?"""

    def look() -> list[tuple[str, int]]:
        files = {
            str(module.__file__) for name, module in list(sys.modules.items())
            if name.startswith("mlratchet") and getattr(module, "__file__", None)
        }  # fmt: skip
        installed = [folder for folder in sys.path if folder.endswith("site-packages")]
        return [(path, Path(path).stat().st_mtime_ns) for path in sorted(files) + installed]

    known = look()

    def changed() -> bool:
        try:
            return look() != known
        except OSError:  # a file is gone
            return True

    return changed


def main(home: Path) -> None:
    """Returns in the server when it has served out, and in a fork when that is done."""
    collect_seldom()
    gc.disable()
    sys.path[:] = [folder for folder in sys.path if folder not in ("", str(Path.cwd()))]
    found = grow(home)
    if found is not None:
        gc.enable()
        become(found[0], server=found[1])


if __name__ == "__main__":
    main(Path(sys.argv[1]))

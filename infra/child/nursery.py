"""What children are forks of where no stack runs: it imports, and neither holds a key nor runs a user's code.

Run as ``python -m mlratchet.infra.child.nursery PID`` with a listening socket as its standard input; it ends when the
process PID does.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import socket
import sys
from pathlib import Path

from mlratchet.infra.machine.interpreter import collect_seldom
from mlratchet.infra.warm.become import become, shadowed
from mlratchet.infra.warm.server import Server

IMPORTED = (
    "torch",
    "torch._dynamo",  # an optimizer imports it when it is made, and a rehearsal makes one
    "safetensors.torch",
    "mlratchet.infra.child.main",
    "mlratchet.models.evaluation.in_child",
    "scipy.optimize",  # statistics import it when they are asked for
    "scipy.special",
    "mlratchet.models.training.rehearsal",
    "mlratchet.models.workloads.tabular",
    "mlratchet.models.workloads.vision",
    "mlratchet.models.pipeline.loading",
)


def main(asked_by: int) -> None:
    """Returns in the server when it has served out, and in a fork when that is done."""
    collect_seldom()
    gc.disable()
    listener = socket.socket(fileno=os.dup(0))
    sys.path[:] = [folder for folder in sys.path if folder not in ("", str(Path.cwd()))]
    for module in IMPORTED:
        with contextlib.suppress(ModuleNotFoundError):
            importlib.import_module(module)
    gc.freeze()
    pid = os.getpid()
    server = Server(listener, refuse=shadowed, worn=lambda: False, next_stage=asked_by)
    if os.getppid() != asked_by:  # who asked ended during the imports; its id may be another process's by now
        return
    fork = server.serve()
    if fork is not None:
        gc.enable()
        become(fork, server=pid)


if __name__ == "__main__":
    main(int(sys.argv[1]))

"""What a fork does to be the process that was asked for, as if the interpreter had started it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import runpy
import signal
import sys
import tempfile
import warnings
from functools import partial
from pathlib import Path
from typing import NoReturn

from mlratchet.infra.machine.interpreter import run_to_the_end
from mlratchet.infra.machine.lifetime import die_with_parent
from mlratchet.infra.project_path import project_folders
from mlratchet.infra.settings import replace_environment
from mlratchet.infra.warm.protocol import PASSED_ON, Request
from mlratchet.infra.warm.resident import remember_fork
from mlratchet.infra.warm.server import Fork
from mlratchet.infra.warm.show import show_command, show_environment

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # malloc.h
MALLOPT = {
    "MALLOC_MMAP_THRESHOLD_": M_MMAP_THRESHOLD,
    "MALLOC_TRIM_THRESHOLD_": M_TRIM_THRESHOLD,
    "MALLOC_TOP_PAD_": M_TOP_PAD,
}
MOST_OF_MALLOPT = (1 << 31) - 1  # it takes an int


def become(fork: Fork, *, server: int) -> NoReturn:
    """Run ``python -P -m module arguments`` in this process, to its end: users' modules are found when it is bound, and
    where none may run, not at all. `server`: pid of the process forked from."""
    request = fork.request
    remember_fork()
    os.setsid()
    die_with_parent()
    if os.getppid() != server:  # it died before the kernel was asked
        os._exit(1)
    for signum in PASSED_ON:
        signal.signal(signum, signal.default_int_handler if signum == signal.SIGINT else signal.SIG_DFL)
    for number, descriptor in enumerate(fork.descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(request.directory)
    replace_environment(request.environment)  # Prefect reads it again
    tempfile.tempdir = None  # looked for again, in this environment
    show_command([sys.executable, "-m", request.module, *request.arguments])
    show_environment(request.environment)
    set_allocator(request.environment)
    draw_anew()
    sys.stdout.reconfigure(line_buffering=sys.stdout.isatty())  # type: ignore[union-attr]  # it is a file
    sys.argv = [request.module, *request.arguments]
    warnings.filterwarnings("ignore", message=".*found in sys.modules.*", category=RuntimeWarning, module="runpy")
    signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED_ON)
    run_to_the_end(partial(runpy.run_module, request.module, run_name="__main__", alter_sys=True))


def shadowed(request: Request) -> str:
    """Why a new interpreter would import something else than this process has: a file of the user's by the name of an
    imported module comes first in its path. Empty when there is none."""
    for folder in (request.directory, *project_folders(request.environment)):
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                name = entry.name.removesuffix(".py")
                module = sys.modules.get(name)
                if module is None or not (entry.name.endswith(".py") or Path(entry.path, "__init__.py").exists()):
                    continue
                if not str(getattr(module, "__file__", None) or "").startswith(f"{folder}/"):
                    return f"{entry.path} shadows the module {name}"
    return ""


def set_allocator(environment: dict[str, str]) -> None:
    """glibc reads these at a program's start alone."""
    libc = ctypes.CDLL(None)
    for name, parameter in MALLOPT.items():
        if name in environment and hasattr(libc, "mallopt"):
            libc.mallopt(parameter, min(int(environment[name]), MOST_OF_MALLOPT))


def draw_anew() -> None:
    """What a library made of chance when it was imported."""
    random.seed()
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()

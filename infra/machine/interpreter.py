"""Python's cycle collector, out of the way of a process's start and end.

While torch, Prefect and MLflow are imported it walks over the same hundreds of thousands of objects again and again,
and once more when the interpreter ends, though the kernel takes them all: importing the flow and ending took 3.8 s with
it and 2.1 s without.
"""

from __future__ import annotations

import atexit
import gc

SELDOM = (
    100_000,
    50,
    100,
)  # objects more than at the last collection; and how many of a generation make one of the next


def collect_seldom() -> None:
    """For a process that imports much and keeps it: call before the imports."""
    gc.set_threshold(*SELDOM)
    atexit.register(gc.freeze)  # what lives then is not looked at again

"""Preloaded first into the forkserver: it, and so every rank, ends when the agent does, and imports without Python's
cycle collector, which a rank turns on again. From here on nothing reads keys or writes outside of the attempt.

Python 3.11's forkserver swallows ImportErrors of preloads, so every rank asserts that this module is there.
"""

import gc
import os
from dataclasses import replace

from mlratchet.infra.child.confine import Bounds, confine
from mlratchet.infra.machine.lifetime import die_with_parent
from mlratchet.infra.settings import told_bounds

die_with_parent()
gc.disable()
CHANNEL = os.dup(0)
"""The descriptor through which ranks ask for objects; standard input is closed in each of them."""
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
told = told_bounds()
if told is not None:  # here, so that all ranks are bound together: they may end each other when one hangs
    confine(replace(Bounds.from_json(told), connects="anywhere"))  # but where the agent is held to less, as ever

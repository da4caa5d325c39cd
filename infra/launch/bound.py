"""Preloaded first into the forkserver: it, and so every rank, ends when the agent does, and imports without Python's
cycle collector, which a rank turns on again. From here on nothing reads keys or writes outside of the attempt.

Python 3.11's forkserver swallows ImportErrors of preloads, so every rank asserts that this module is there.
"""

import gc

from mlratchet.infra.child.confine import Bounds, confine
from mlratchet.infra.machine.lifetime import die_with_parent
from mlratchet.infra.settings import told_bounds

die_with_parent()
gc.disable()
told = told_bounds()
if told is not None:  # here, so that all ranks are bound together: they may end each other when one hangs
    confine(Bounds.from_json(told))

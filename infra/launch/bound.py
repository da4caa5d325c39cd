"""Preloaded first into the forkserver: it, and so every rank, ends when the agent does, and imports without Python's
cycle collector, which a rank turns on again.

Python 3.11's forkserver swallows ImportErrors of preloads, so every rank asserts that this module is there.
"""

import gc

from mlratchet.infra.machine.lifetime import die_with_parent

die_with_parent()
gc.disable()

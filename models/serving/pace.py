"""Which models are quick enough to be asked on the event loop: the way to a thread costs more than a small forward.

What could last is never asked there: a user's own code, a program with loops or branches in it, one that was slow.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from mlratchet.models.serving.predictor import Predictor
from mlratchet.models.tensors.batch import ByName
from mlratchet.models.tensors.checked_once import CheckedOnce

QUICK_S = 0.001  # CPU of a forward; everybody else waits as long
SLOW_S = 0.01  # of one that is on the loop for the last time
MOST_ROWS = 64  # of a forward on the loop
PROOF = 3  # quick forwards on a thread, one after the other, before the first on the loop
LONGER = 32  # times the proof, after a version that was too slow on the loop


@dataclass(slots=True)
class _Seen:
    """Of one version."""

    may_be: bool
    quick: int = 0  # forwards, one after the other
    slow: int = 0  # the same
    proof: int = PROOF
    on_loop: bool = False


class Pace:
    """Of one pipeline's forwards."""

    def __init__(self, *, threads: int, clock: Callable[[], float] = time.thread_time) -> None:
        self._one_thread, self._clock = threads == 1, clock
        self._seen: WeakKeyDictionary[Predictor, _Seen] = WeakKeyDictionary()

    def is_quick(self, predictor: Predictor, rows: int) -> bool:
        """Whether so many rows may be answered on the loop."""
        seen = self._seen.get(predictor)
        return seen is not None and seen.on_loop and rows <= MOST_ROWS

    def timed(self, predictor: Predictor, ask: Callable[[], Any]) -> Any:
        """What `ask` returns. How long it takes decides where the version is asked from now on."""
        began = self._clock()
        found = ask()
        took_s = self._clock() - began
        seen = self._seen.get(predictor)
        if seen is None:
            seen = self._seen[predictor] = _Seen(self._may_be(predictor))
        if took_s <= QUICK_S:
            seen.quick, seen.slow = seen.quick + 1, 0
            seen.on_loop = seen.on_loop or (seen.may_be and seen.quick >= seen.proof)
        else:
            seen.quick, seen.slow = 0, seen.slow + 1
            if seen.on_loop and (seen.slow >= PROOF or took_s > SLOW_S):
                seen.on_loop, seen.proof = False, seen.proof * LONGER
        return found

    def _may_be(self, predictor: Predictor) -> bool:
        ours = predictor.objective is None and ":" not in predictor.signature.task
        return self._one_thread and ours and is_straight(predictor.model)


def is_straight(model: Any) -> bool:
    """Whether a program is one operation after the other: none that repeats or chooses by what it is given."""
    while isinstance(model, ByName | CheckedOnce):
        model = model.module
    graph = getattr(model, "graph", None)
    if not isinstance(graph, torch.fx.Graph):
        return False
    return not any(isinstance(node.target, torch._ops.HigherOrderOperator) for node in graph.nodes)

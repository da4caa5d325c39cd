"""Early stopping: a pure decision from the values of a metric."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any


@dataclass(frozen=True, kw_only=True)
class StoppingState:
    """What is remembered between epochs."""

    best: float | None = None
    best_epoch: int = 0
    since_best: int = 0  # epochs without an improvement

    def document(self) -> dict[str, Any]:
        """JSON."""
        return asdict(self)


def judge_epoch(
    state: StoppingState, value: float, *, epoch: int, lower_is_better: bool, minimum_change: float
) -> StoppingState:
    """The state after `epoch` (1-based). A value that is not finite is no improvement."""
    if math.isfinite(value):
        gain = math.inf if state.best is None else (state.best - value if lower_is_better else value - state.best)
        if gain > minimum_change:
            return StoppingState(best=value, best_epoch=epoch, since_best=0)
    return replace(state, since_best=state.since_best + 1)

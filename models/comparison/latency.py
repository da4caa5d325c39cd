"""Time two models side by side: A B A B, so that a busy machine disturbs both alike."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

Model = Callable[[torch.Tensor], torch.Tensor]
WARM_FORWARDS = 20
TIMED_FORWARDS = 200  # of one row each


@dataclass(frozen=True, kw_only=True)
class SideBySide:
    """Milliseconds of one forward of one row, by quantile."""

    a_ms: dict[str, float]
    b_ms: dict[str, float]
    n: int


def time_side_by_side(
    a: Model, b: Model, x: np.ndarray[Any, Any], x_b: np.ndarray[Any, Any] | None = None
) -> SideBySide:
    """Forwards of one row at a time through both models, in turn. `x`: one or more rows; `x_b`: the same rows as `b`
    takes them, where that is another way."""
    tensors = [
        [torch.from_numpy(np.ascontiguousarray(rows[i : i + 1])) for i in range(min(len(rows), 64))]
        for rows in (x, x if x_b is None else x_b)
    ]
    seconds: tuple[list[float], list[float]] = ([], [])
    with torch.inference_mode():
        for number in range(WARM_FORWARDS + TIMED_FORWARDS):
            for side, model in enumerate((a, b)):
                row = tensors[side][number % len(tensors[side])]
                began = time.perf_counter()
                model(row)
                seconds[side].append(time.perf_counter() - began)
    quantiles = [
        dict(
            zip(
                ("p50", "p95", "p99"),
                map(float, np.quantile(np.asarray(one[WARM_FORWARDS:]) * 1e3, [0.5, 0.95, 0.99])),
                strict=True,
            )
        )
        for one in seconds
    ]
    return SideBySide(a_ms=quantiles[0], b_ms=quantiles[1], n=TIMED_FORWARDS)

"""Time two models side by side: A B A B, so that a busy machine disturbs both alike."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mlratchet.models.evaluation.away import ModelAway, arrays_in, arrays_out, ask_away, model_of
from mlratchet.models.evaluation.in_child import inputs_among, inputs_sent
from mlratchet.models.ports.children import Workplace
from mlratchet.models.tensors.batch import Model, batch_of
from mlratchet.models.tensors.named import Inputs

WARM_FORWARDS = 20
TIMED_FORWARDS = 200  # of one row each
LIMIT_S = 3600.0


@dataclass(frozen=True, kw_only=True)
class SideBySide:
    """Milliseconds of one forward of one row, by quantile."""

    a_ms: dict[str, float]
    b_ms: dict[str, float]
    n: int


def time_side_by_side(a: Model | ModelAway, b: Model | ModelAway, x: Inputs, x_b: Inputs | None = None) -> SideBySide:
    """Forwards of one row at a time through both models, in turn. `x`: one or more rows; `x_b`: the same rows as `b`
    takes them, where that is another way."""
    if isinstance(a, ModelAway) and isinstance(b, ModelAway):
        arrays = inputs_sent({"a": x, "b": x if x_b is None else x_b})
        told = ask_away(f"{__name__}:time_away", {"models": {"a": a, "b": b}}, arrays, {}, time_limit_s=LIMIT_S)
        a_ms, b_ms = (quantiles_ms(told[name]) for name in ("a", "b"))
        return SideBySide(a_ms=a_ms, b_ms=b_ms, n=TIMED_FORWARDS)
    assert not isinstance(a, ModelAway), "both are away, or none"
    assert not isinstance(b, ModelAway), "both are away, or none"
    seconds = time_in_turn(a, b, x, x if x_b is None else x_b)
    return SideBySide(a_ms=quantiles_ms(seconds[0]), b_ms=quantiles_ms(seconds[1]), n=TIMED_FORWARDS)


def time_away(request: Mapping[str, Any], workplace: Workplace) -> str:
    """In a child: seconds of every timed forward, by side."""
    a, b = (model_of(request["models"][name], workplace) for name in ("a", "b"))
    arrays = arrays_in(workplace)
    seconds = time_in_turn(a, b, inputs_among(arrays, "a"), inputs_among(arrays, "b"))
    return arrays_out(workplace, {"a": np.asarray(seconds[0]), "b": np.asarray(seconds[1])})


def time_in_turn(a: Model, b: Model, x_a: Inputs, x_b: Inputs) -> tuple[list[float], list[float]]:
    """Seconds of every timed forward, by side."""
    tensors = [[batch_of(rows.rows(slice(i, i + 1))) for i in range(min(len(rows), 64))] for rows in (x_a, x_b)]
    seconds: tuple[list[float], list[float]] = ([], [])
    with torch.inference_mode():
        for number in range(WARM_FORWARDS + TIMED_FORWARDS):
            for side, model in enumerate((a, b)):
                row = tensors[side][number % len(tensors[side])]
                began = time.perf_counter()
                model(row)
                seconds[side].append(time.perf_counter() - began)
    return seconds[0][WARM_FORWARDS:], seconds[1][WARM_FORWARDS:]


def quantiles_ms(seconds: Any) -> dict[str, float]:
    """p50, p95 and p99 in milliseconds."""
    found = np.quantile(np.asarray(seconds, dtype=np.float64) * 1e3, [0.5, 0.95, 0.99])
    return dict(zip(("p50", "p95", "p99"), map(float, found), strict=True))

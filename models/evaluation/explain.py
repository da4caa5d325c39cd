"""Which inputs the outputs come from, and how far that moved from the champion.

Integrated Gradients (Sundararajan, Taly and Yan, ICML 2017) through Captum, on the trained module and on exported
programs alike; feature ablation where gradients make no sense (integer tokens) or a program has none. What is
explained is what the objective says (the log-likelihood of the row's label; a number itself), so that both models
answer the same question.

Shape legend: N rows, F input values per row, G groups of input values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from mlratchet.models.evaluation.explain_named import ablate, part_names
from mlratchet.models.objectives.base import Objective
from mlratchet.models.sources.record import Split
from mlratchet.models.tensors.batch import Batch, Model
from mlratchet.models.tensors.named import Inputs
from mlratchet.models.workloads.base import InputSpec

Array = np.ndarray[Any, Any]
MOST_GROUPS = 64  # of input values that are ablated together: one forward each
BATCH_ROWS = 256
RESAMPLES = 1000
CONFIDENCE = 0.95
CHUNK_VALUES = 4_000_000


@dataclass(frozen=True, kw_only=True, eq=False)
class Attributions:
    """Of one model on a sample of test rows."""

    values: Array  # (N, *input shape), signed: what each value adds to the explained quantity against the baseline
    method: str
    completeness: float  # mean |sum of attributions - change of the quantity| / mean |change|; 0 is exact

    def shares(self) -> Array:
        """(N, F) of |attribution|, each row summing to 1; a row without any is spread evenly."""
        size = np.abs(self.values.reshape(len(self.values), -1)).astype(np.float64)
        total = size.sum(axis=1, keepdims=True)
        even = np.full_like(size, 1.0 / size.shape[1])
        return np.asarray(np.divide(size, total, out=even, where=total != 0))

    def importance(self) -> Array:
        """(F,) mean share of each input value, summing to 1."""
        return np.asarray(self.shares().mean(axis=0))


@dataclass(frozen=True, kw_only=True)
class ImportanceShift:
    """Total variation distance of two importances, 0.5 * sum |p - q|: the share of importance that moved (0..1)."""

    value: float
    low: float
    high: float
    n: int
    method: str


def sample_rows(rows: Split, count: int, seed: int) -> Array:
    """Indices of at most `count` rows, the same for the same ids and seed."""
    chosen = np.random.default_rng(seed).choice(len(rows.ids), min(count, len(rows.ids)), replace=False)
    return np.sort(chosen)


def explain(
    models: Mapping[str, Model],
    x: Inputs | Mapping[str, Inputs],
    y: Array,
    *,
    objective: Objective,
    input_spec: InputSpec,
    steps: int,
) -> dict[str, Attributions]:
    """Attributions of every model on the same rows `x`, all by the same method. A mapping holds the rows as each model
    takes them. Values are as the one tensor of a model, or of the parts of its inputs (`part_names_of`).

    The baseline is the mean of the rows for tables and 0 otherwise. Raises ``RuntimeError`` when a model cannot be
    scored on the rows.
    """
    given = x if isinstance(x, Mapping) else dict.fromkeys(models, x)
    questions = {name: _question(model, objective) for name, model in models.items()}
    if not all(one.is_one for one in given.values()):
        return {name: _by_parts(ask, given[name], y) for name, ask in questions.items()}
    inputs = {name: one.array for name, one in given.items()}
    floating = all(np.issubdtype(one.dtype, np.floating) for one in inputs.values())
    baselines = {name: np.zeros_like(one[:1]) for name, one in inputs.items()}
    if input_spec.kind == "table" and floating:
        baselines = {name: one.mean(axis=0, keepdims=True).astype(one.dtype) for name, one in inputs.items()}
    if floating:
        try:
            return {name: _gradients(ask, inputs[name], y, baselines[name], steps) for name, ask in questions.items()}
        except RuntimeError:  # a program without gradients: the same method must do for every model
            pass
    return {name: _ablation(ask, inputs[name], y, baselines[name]) for name, ask in questions.items()}


def by_column(found: Mapping[str, Attributions], columns: Mapping[str, tuple[str, ...]]) -> dict[str, Attributions]:
    """The attributions of tables over the same columns, those of the first model first: a column that a model does not
    take adds nothing to its output. Without columns they are returned as they are."""
    names = tuple(dict.fromkeys(name for one in columns.values() for name in one))
    if not names or all(one == names for one in columns.values()):
        return dict(found)
    made = {}
    for model, one in found.items():
        values = np.zeros((len(one.values), len(names)), dtype=one.values.dtype)
        values[:, [names.index(name) for name in columns[model]]] = one.values
        made[model] = replace(one, values=values)
    return made


def _question(model: Model, objective: Objective) -> Callable[[Any, torch.Tensor], torch.Tensor]:
    """(x, y) -> the explained quantity, (N,)."""

    def ask(x: Batch, y: torch.Tensor) -> torch.Tensor:
        return objective.explained(model(x).float(), y)

    return ask


def _gradients(ask: Any, x: Array, y: Array, baseline: Array, steps: int) -> Attributions:
    from captum.attr import IntegratedGradients

    tensors = (torch.from_numpy(np.ascontiguousarray(x)), torch.from_numpy(np.ascontiguousarray(y)))
    values = IntegratedGradients(ask, multiply_by_inputs=True).attribute(
        tensors[0],
        baselines=torch.from_numpy(baseline),
        additional_forward_args=tensors[1],
        n_steps=steps,
        internal_batch_size=BATCH_ROWS,
    )
    method = f"Integrated Gradients, {steps} steps, Gauss-Legendre"
    return _checked(ask, values.detach().numpy(), tensors, baseline, method)


def _ablation(ask: Any, x: Array, y: Array, baseline: Array) -> Attributions:
    from captum.attr import FeatureAblation

    size = int(np.prod(x.shape[1:]))
    groups = min(size, MOST_GROUPS)
    mask = torch.from_numpy((np.arange(size) * groups // size).reshape(1, *x.shape[1:]))
    tensors = (torch.from_numpy(np.ascontiguousarray(x)), torch.from_numpy(np.ascontiguousarray(y)))
    with torch.inference_mode():
        values = FeatureAblation(ask).attribute(
            tensors[0], baselines=torch.from_numpy(baseline), additional_forward_args=tensors[1], feature_mask=mask
        )
    spread = np.bincount(mask.numpy().ravel(), minlength=groups)[mask.numpy()]  # a group's effect, over its values
    return _checked(ask, values.numpy() / spread, tensors, baseline, f"feature ablation of {groups} groups")


def _by_parts(ask: Any, x: Inputs, y: Array) -> Attributions:
    values, change = ablate(ask, x, y, MOST_GROUPS)
    gap, scale = np.abs(values.sum(axis=1) - change).mean(), np.abs(change).mean()
    completeness = float(gap / scale) if scale > 0 else float(gap > 0)
    method = f"feature ablation by input of {values.shape[1]} parts"
    return Attributions(values=values, method=method, completeness=completeness)


def part_names_of(x: Inputs) -> tuple[str, ...]:
    """Of the parts that attributions are about, where a model does not take one tensor."""
    return () if x.is_one else part_names(x, MOST_GROUPS)


def attributed_shape(x: Inputs) -> tuple[int, ...]:
    """Of `Attributions.values` of these rows."""
    return x.array.shape if x.is_one else (len(x), len(part_names_of(x)))


def _checked(ask: Any, values: Array, tensors: Any, baseline: Array, method: str) -> Attributions:
    x, y = tensors
    with torch.inference_mode():
        change = (ask(x, y) - ask(torch.from_numpy(baseline).expand_as(x).contiguous(), y)).numpy()
    gap = np.abs(values.reshape(len(values), -1).sum(axis=1) - change).mean()
    scale = np.abs(change).mean()
    return Attributions(values=values, method=method, completeness=float(gap / scale) if scale > 0 else float(gap > 0))


def shift(candidate: Attributions, champion: Attributions, *, seed: int) -> ImportanceShift:
    """How far the candidate's importances moved, with a percentile bootstrap interval over rows, the same of both.

    NaN when an attribution is not finite. Raises ``ValueError`` when the two are not of the same rows and method.
    """
    alike = candidate.method.split(" of ")[0] == champion.method.split(" of ")[0]  # of so many groups
    if candidate.values.shape != champion.values.shape or not alike:
        raise ValueError(f"{champion.method} of {champion.values.shape}, got {candidate.method}")
    ours, theirs = candidate.shares(), champion.shares()
    n = len(ours)
    method = f"total variation of mean |attribution| ({candidate.method}); percentile bootstrap over rows"
    if not (np.isfinite(ours).all() and np.isfinite(theirs).all()):
        return ImportanceShift(value=float("nan"), low=float("nan"), high=float("nan"), n=n, method=method)
    moved = ours - theirs
    weights = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=RESAMPLES) / n
    chunk = max(1, CHUNK_VALUES // moved.shape[1])  # resamples held at a time: bounded memory
    parts = [np.abs(weights[at : at + chunk] @ moved).sum(axis=1) for at in range(0, RESAMPLES, chunk)]
    resampled = 0.5 * np.concatenate(parts)
    low, high = np.quantile(resampled, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    value = 0.5 * float(np.abs(moved.mean(axis=0)).sum())
    return ImportanceShift(value=value, low=float(low), high=float(high), n=n, method=method)


def moved_most(candidate: Attributions, champion: Attributions, names: tuple[str, ...], count: int = 3) -> str:
    """The input values whose share changed most, e.g. ``x3 0.12 -> 0.31``."""
    before, after = champion.importance(), candidate.importance()
    order = np.argsort(-np.abs(after - before))[:count]
    shape = candidate.values.shape[1:]

    def name(place: int) -> str:
        return names[place] if names else str([int(i) for i in np.unravel_index(place, shape)])

    return ", ".join(f"{name(int(i))} {before[i]:.3f} -> {after[i]:.3f}" for i in order)

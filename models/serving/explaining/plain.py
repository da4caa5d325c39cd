"""Explanations of models that take one tensor without a schema: pixels, columns, or parts of an array."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import torch
from mlratchet.models.evaluation.explain import MOST_GROUPS, explain
from mlratchet.models.serving.explaining.asking import Question
from mlratchet.models.serving.reading.parts import PICTURE
from mlratchet.models.tensors.named import Column, Inputs, Ragged
from mlratchet.models.tensors.spec import ONE
from mlratchet.models.workloads.base import MEAN

Json = dict[str, Any]
STEPS = 32  # of Integrated Gradients
MOST_SIDE = 64  # pixels of a picture that are told one by one; of a larger one, squares of them
MOST_COLUMNS = 512


def pixels(question: Question, rows: Inputs) -> Json:
    """(1, C, H, W): what each pixel adds against black, over the channels."""
    found = explain(
        {"model": question.predictor.model},
        rows,
        question.target[None],
        objective=question.objective,
        input_spec=question.predictor.signature.input,
        steps=STEPS,
    )["model"]
    effects = found.values[0].sum(axis=0).astype(np.float64)
    return {"pixels": {PICTURE: grid(_squares(effects))}, "method": f"{found.method}, against black"}


def _squares(effects: Any) -> Any:
    """Sums over squares of neighbours, so that no side has more than `MOST_SIDE`."""
    for axis in (0, 1):
        size = effects.shape[axis]
        if size > MOST_SIDE:
            edges = np.unique(np.linspace(0, size, MOST_SIDE + 1).astype(int))[:-1]
            effects = np.add.reduceat(effects, edges, axis=axis)
    return effects


def grid(effects: Any) -> Json:
    """(R, C) effects as they are told."""
    return {"rows": effects.shape[0], "columns": effects.shape[1], "effects": effects.tolist()}


def columns(question: Question, rows: Inputs) -> Json:
    """(1, F): what each column adds against its mean in training, where the model knows it; else against 0."""
    names = question.predictor.signature.input.columns
    row = rows.array
    mean = _mean(question.predictor.model, len(names))
    without = []
    for at in range(min(len(names), MOST_COLUMNS)):
        changed = row.copy()
        changed[:, at] = 0 if mean is None else mean[at]
        without.append(Inputs({ONE: changed}))
    effects = question.lost(rows, without)
    against = "0" if mean is None else "its mean in training"
    told = [{"field": name, "effect": effect} for name, effect in zip(names, effects, strict=False)]
    return {"fields": told, "method": f"each column against {against}"}


def _mean(model: Any, count: int) -> Any:
    held = dict(model.named_buffers()) if isinstance(model, torch.nn.Module) else {}
    found = held.get(MEAN)
    return found.numpy() if found is not None and found.shape == (count,) else None


def parts(question: Question, rows: Inputs) -> Json:
    """Tensors by name, or one without: what each value, or group of neighbours, adds against 0; of a ragged one the
    whole."""
    names, without = [], []
    for tensor in sorted(rows.names):
        column = rows.columns[tensor]
        size = 1 if isinstance(column, Ragged) else int(np.prod(column.shape[1:]))
        edges = np.linspace(0, size, min(size, MOST_GROUPS) + 1).astype(int).tolist()
        for low, high in pairwise(edges):
            names.append(tensor if size == 1 else f"{tensor}[{low}]" if high - low == 1 else f"{tensor}[{low}:{high}]")
            without.append(Inputs({**rows.columns, tensor: _zeroed(column, low, high)}))
    effects = question.lost(rows, without)
    told = [{"field": name, "effect": effect} for name, effect in zip(names, effects, strict=True)]
    return {"fields": told, "method": "each part against 0"}


def _zeroed(column: Column, low: int, high: int) -> Column:
    if isinstance(column, Ragged):
        return Ragged(np.zeros_like(column.values), column.offsets)
    changed = column.reshape(len(column), -1).copy()
    changed[:, low:high] = 0
    return changed.reshape(column.shape)

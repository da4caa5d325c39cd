"""What a model said of each row, in words, and how bad that was.

Shape legend: N rows, C classes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.sources.record import GROUP_COLUMN

Array = np.ndarray[Any, Any]


def predictions(rows: RowOutputs, task: str, class_names: tuple[str, ...]) -> list[str]:
    """One text per row; of targets with the task's name and ``_target``."""
    values = rows.output
    match task:
        case "classification":
            return [class_names[int(i)] for i in values.argmax(axis=1)]
        case "classification_target":
            return [class_names[int(i)] for i in values]
        case "multi_label" | "multi_label_target":
            on = values > (0.0 if task == "multi_label" else 0.5)
            return [", ".join(n for n, yes in zip(class_names, row, strict=True) if yes) or "none" for row in on]
        case "ranking":
            return [f"place {place} of {size}" for place, size in zip(*places(rows), strict=True)]
    return [f"{float(value):.6g}" for value in values.reshape(len(rows.ids))]


def places(rows: RowOutputs) -> tuple[Array, Array]:
    """(N,) place of every row in its query by falling score, from 1, and (N,) the size of the query."""
    queries = np.unique(np.asarray(rows.columns[GROUP_COLUMN]), return_inverse=True)[1]
    order = np.lexsort((np.arange(len(queries)), -rows.output.reshape(len(queries)), queries))
    sizes = np.bincount(queries)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    place = np.empty(len(queries), dtype=np.int64)
    place[order] = np.arange(len(queries)) - starts[queries[order]] + 1
    return place, sizes[queries]


def row_badness(rows: RowOutputs, task: str) -> Array:
    """(N,): negative log-likelihood in nats for classes and labels; for rankings the gain that the row's place loses,
    (2^relevance - 1) (1 - 1 / log2(place + 1)), the terms of DCG (Jarvelin and Kekalainen, 2002); else the absolute
    error in the target's unit."""
    output = rows.output.astype(np.float64)
    if task == "classification":
        shifted = output - output.max(axis=1, keepdims=True)
        log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        return np.asarray(-log_p[np.arange(len(rows.y)), rows.y.astype(np.int64)])
    if task == "multi_label":
        # binary cross-entropy of logits, stable: max(x, 0) - x y + log(1 + exp(-|x|))
        y = rows.y.astype(np.float64)
        return np.asarray((np.maximum(output, 0) - output * y + np.log1p(np.exp(-np.abs(output)))).mean(axis=1))
    if task == "ranking":
        place, _ = places(rows)
        return np.asarray((2.0 ** rows.y.astype(np.float64) - 1) * (1 - 1 / np.log2(place + 1)))
    return np.asarray(np.abs(output.reshape(len(rows.ids)) - rows.y.astype(np.float64)))

"""Score: one pass of a model over the rows of a split."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from mlratchet.models.evaluation.away import ModelAway
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.sources.record import Split
from mlratchet.models.tensors.batch import Model, batch_of
from mlratchet.models.tensors.named import Inputs

Array = np.ndarray[Any, Any]


def score(model: Model | ModelAway, rows: Split, *, batch_rows: int = 512) -> RowOutputs:
    """Outputs of `model` for every row, each once, in order. The model must be in eval mode."""
    if isinstance(model, ModelAway):
        output = model.outputs(rows.x, batch_rows=batch_rows)
    else:
        output = outputs_of(model, rows.x, batch_rows)
    if output.ndim == 2 and output.shape[1] == 1 and rows.y.ndim == 1:
        output = output[:, 0]
    return RowOutputs(
        ids=rows.ids, y=np.asarray(rows.y), output=output, columns=rows.columns, dataset_id=rows.dataset_id
    )


def outputs_of(model: Model, x: Inputs, batch_rows: int) -> Array:
    """(N, ...) float32, batch by batch."""
    with torch.inference_mode():
        outputs = [
            model(batch_of(x.rows(slice(at, at + batch_rows)))).float().cpu().numpy()
            for at in range(0, len(x), batch_rows)
        ]
    return np.concatenate(outputs)

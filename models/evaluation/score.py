"""Score: one pass of a model over the rows of a split."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.sources.record import Split


def score(model: Callable[[torch.Tensor], torch.Tensor], rows: Split, *, batch_rows: int = 512) -> RowOutputs:
    """Outputs of `model` for every row, each once, in order. The model must be in eval mode."""
    with torch.inference_mode():
        outputs = [
            model(torch.from_numpy(rows.x[at : at + batch_rows])).float().cpu().numpy()
            for at in range(0, len(rows.ids), batch_rows)
        ]
    output = np.concatenate(outputs)
    if output.ndim == 2 and output.shape[1] == 1 and rows.y.ndim == 1:
        output = output[:, 0]
    return RowOutputs(ids=rows.ids, y=rows.y, output=output, columns=rows.columns, dataset_id=rows.dataset_id)

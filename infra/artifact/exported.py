"""Load an exported program without unpickling anything that a bucket could have written.

A `.pt2` archive may carry pickles; MLflow refuses such archives when ``MLFLOW_ALLOW_PICKLE_DESERIALIZATION`` is
false, which `infra/settings.py` sets. ``TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD`` would undo it: refuse to run.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from mlratchet.infra.settings import forbid_pickle
from mlratchet.models.errors import SecurityError


def load_exported(directory: Path) -> Callable[[torch.Tensor], torch.Tensor]:
    """The exported program of a model directory, on the CPU, as a function of one batch.

    Raises ``SecurityError`` for an archive that is not free of pickle.
    """
    forbid_pickle()
    import mlflow.pytorch
    from mlflow.exceptions import MlflowException

    try:
        module: Callable[[torch.Tensor], torch.Tensor] = mlflow.pytorch.load_model(str(directory), device="cpu")
    except MlflowException as exc:
        raise SecurityError(f"{directory}: refused to load: {exc.message[:200]}") from exc
    return module

"""What MLflow loads of a version: the exported program, read and answered as the model server does.

`MLmodel` names this module as its loader: nothing of an artifact is imported or unpickled, by whoever loads it with
``mlflow.pyfunc.load_model`` or `mlflow models serve`.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from mlratchet.infra.artifact.exported import load_exported
from mlratchet.infra.artifact.preparing import preparer_here, refuse_other_preparation
from mlratchet.models.artifact.signature import Signature
from mlratchet.models.errors import DataError
from mlratchet.models.serving.predictor import Predictor
from mlratchet.models.serving.reading.limits import most_instances
from mlratchet.models.serving.refusal import BadRequestError
from mlratchet.models.serving.schema import rows_of

if TYPE_CHECKING:
    import pandas as pd

BATCH = 256  # rows that are read, and of a forward


class ServedModel:
    """The server's predictions for what MLflow hands over."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    def predict(
        self, model_input: pd.DataFrame | dict[str, Any] | np.ndarray[Any, Any] | list[Any], params: Any = None
    ) -> list[dict[str, Any]]:
        """A prediction per row: the class by name and every probability, or the value.

        Args:
            model_input: A frame or arrays by column name, in any order; lists by name where inputs have names; an array
                of the input's shape. Of any length.
            params: Not used: the model has none.

        Raises ``DataError`` naming the first value that the server would refuse.
        """
        del params
        spec = self._predictor.signature.input
        if spec.example is not None:
            instances = given_instances(model_input)
        else:
            instances = named_instances(model_input) if spec.tensors else instances_of(model_input)
        size = min(BATCH, most_instances(self._predictor.signature))
        found: list[dict[str, Any]] = []
        for first in range(0, len(instances), size):
            try:
                some, preparer = instances[first : first + size], self._predictor.preparer
                rows = rows_of(some, self._predictor.signature, first=first, preparer=preparer)
            except BadRequestError as error:
                raise DataError(f"{error}; the columns and types are in the model's signature") from error
            found += self._predictor.predict(rows, first=first)
        return found


def instances_of(model_input: Any) -> list[Any]:
    """The rows as a request would hold them."""
    if hasattr(model_input, "to_dict"):  # a frame; pandas is not imported to ask
        model_input = {str(name): model_input[name].to_numpy() for name in model_input.columns}
    if isinstance(model_input, dict):
        columns = {name: np.asarray(values).reshape(-1).tolist() for name, values in model_input.items()}
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return model_input.tolist() if isinstance(model_input, np.ndarray) else list(model_input)


def named_instances(model_input: Any) -> list[Any]:
    """Rows of named tensors as a request would hold them, from a frame of lists, arrays by name, or such rows."""
    if hasattr(model_input, "to_dict"):  # a frame; pandas is not imported to ask
        model_input = {str(name): list(model_input[name]) for name in model_input.columns}
    if not isinstance(model_input, dict):
        return list(model_input)
    columns = {name: [as_list(one) for one in values] for name, values in model_input.items()}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def given_instances(model_input: Any) -> list[Any]:
    """Examples as a request would hold them: a cell of a frame that is empty is not given."""
    if hasattr(model_input, "to_dict"):  # a frame; pandas is not imported to ask
        model_input = {str(name): model_input[name].astype(object).tolist() for name in model_input.columns}
    if not isinstance(model_input, dict):
        return list(model_input)
    rows = zip(*model_input.values(), strict=True)
    return [
        {name: plain(value) for name, value in zip(model_input, row, strict=True) if not is_missing(value)}
        for row in rows
    ]


def is_missing(value: Any) -> bool:
    """None, NaN or pandas' own."""
    return value is None or (not isinstance(value, str | bytes | list | dict) and bool(np.all(value != value)))


def plain(value: Any) -> Any:
    """As JSON holds it: bytes in base64, moments as ISO 8601."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value.isoformat() if hasattr(value, "isoformat") else as_list(value)


def as_list(value: Any) -> Any:
    """An array, also one that holds arrays, as lists of numbers."""
    if isinstance(value, np.ndarray | list | tuple):
        return [as_list(one) for one in value]
    return value.item() if isinstance(value, np.generic) else value


def _load_pyfunc(path: str) -> ServedModel:
    """Called by MLflow with the model's directory."""
    directory = Path(path)
    signature = Signature.from_json((directory / "signature.json").read_text())
    preparer = preparer_here(signature)
    refuse_other_preparation(directory, signature, str(directory), preparer)
    model = load_exported(directory)
    return ServedModel(Predictor(version=0, generation=0, signature=signature, model=model, preparer=preparer))

"""Examples as a dataset keeps them before they are prepared: a JSON object per row, as a client sends it."""

from __future__ import annotations

import json
from typing import Any

from mlratchet.models.errors import DataError
from mlratchet.models.tensors.named import Inputs, Ragged
from mlratchet.models.tensors.spec import TensorSpec

EXAMPLE = "example"
UNPREPARED = TensorSpec(name=EXAMPLE, shape=(), dtype="uint8", ragged=True)


def documents_of(rows: Inputs) -> list[dict[str, Any]]:
    """The JSON objects. Raises ``DataError`` for rows that hold none."""
    held = rows.columns.get(EXAMPLE)
    if not isinstance(held, Ragged):
        raise DataError(f"expected rows of {UNPREPARED}, got {', '.join(map(str, rows.specs))}")
    try:
        return [json.loads(held[row].tobytes()) for row in range(len(held))]
    except ValueError as error:
        raise DataError(f"examples of a dataset are not JSON: {error}") from error

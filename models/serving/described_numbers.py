"""How OpenAPI tells of numbers as a model takes them: their type and bounds."""

from __future__ import annotations

from typing import Any

import numpy as np
from mlratchet.models.artifact.signature import Signature

Json = dict[str, Any]


def number(signature: Signature, column: str = "") -> Json:
    """The JSON schema of one value of the input."""
    spec = signature.input
    spans = [spec.value_range] if spec.value_range is not None else []
    return number_of(spec.dtype, *spans, *((low, high) for name, low, high in signature.ranges if name == column))


def number_of(dtype: str, *within: tuple[float, float]) -> Json:
    """The JSON schema of a number of a type, in every range `within`."""
    kind = np.dtype(dtype)
    bounds: Any = np.iinfo(kind) if kind.kind in "iu" else np.finfo(kind)
    whole = (bounds.min.item(), bounds.max.item()) if kind.kind == "f" else (int(bounds.min), int(bounds.max))
    spans = [whole, *within]
    return {
        "type": "integer" if kind.kind in "iu" else "number",
        "minimum": max(low for low, _ in spans),
        "maximum": min(high for _, high in spans),
    }

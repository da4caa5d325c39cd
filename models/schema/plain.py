"""Few cells of a request that have nothing wrong with them, told without Arrow, which asks more for a call than a cell.

What is not told here is read as ever, by `read_column`: so this says yes to less than that, and never another value.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from mlratchet.models.schema.fields import Field
from mlratchet.models.schema.numbers import LARGEST

FEW = 16  # rows; from about there on a column is cheaper read as one


def are_plain(values: Sequence[Any], field: Field) -> bool:
    """Whether so few values (None, float or str, as the field's kind has them) are what `read_column` would give."""
    if len(values) > FEW or field.several:
        return False
    if field.kind == "number":
        return all(_plain_number(one, field) for one in values)
    if field.kind in ("category", "text", "entity"):
        return all(_plain_text(one, field) for one in values)
    return False


def _plain_number(value: float | None, field: Field) -> bool:
    if value is None:
        return field.nullable
    return (
        abs(value) <= LARGEST  # NaN is not
        and (not field.whole or value == math.floor(value))
        and (field.minimum is None or value >= float(field.minimum))
        and (field.maximum is None or value <= float(field.maximum))
    )


def _plain_text(value: str | None, field: Field) -> bool:
    if value is None:
        return field.nullable
    return (
        value.isascii() and value != "" and value == value.strip() and (field.values is None or value in field.values)
    )

"""Requests of few plain rows as columns of Python values: Arrow asks more for a call than such a request has cells.

What is not told here is read as ever, by `parse_examples`: so this says yes to less than that, and never another value.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mlratchet.models.schema.fields import Field, Schema
from mlratchet.models.schema.nested import as_float
from mlratchet.models.schema.numbers import LARGEST

MOST = 256  # rows: as many as are prepared together
WORDS = ("category", "text", "entity")  # kinds whose value is a text as it is


@dataclass(frozen=True, slots=True)
class _Plain:
    """What a value of one field has to be."""

    name: str
    nullable: bool
    low: float
    high: float
    whole: bool
    values: frozenset[str] | None

    @classmethod
    def of(cls, name: str, field: Field) -> _Plain:
        low, high = -LARGEST, LARGEST
        if field.kind == "number":
            low = low if field.minimum is None else max(low, float(field.minimum))
            high = high if field.maximum is None else min(high, float(field.maximum))
        values = frozenset(field.values) if field.values is not None else None
        return cls(name, field.nullable, low, high, field.whole, values)

    def number(self, value: Any) -> float | None:
        """As Arrow would hold it; None for what is not plain."""
        kind = type(value)
        if kind is not float:
            if kind is not int:
                return None
            value = as_float(value)
        plain = self.low <= value <= self.high and not (self.whole and value != math.floor(value))  # NaN is not
        return value if plain else None

    def word(self, value: Any) -> str | None:
        """The same of a text."""
        if type(value) is not str or not value or not value.isascii() or value != value.strip():
            return None
        return value if self.values is None or value in self.values else None


class FewExamples:
    """Of one schema, made once."""

    def __init__(self, schema: Schema) -> None:
        fields = schema.inputs
        every = all(one.kind == "number" or (one.kind in WORDS and not one.several) for one in fields.values())
        self._names = fields.keys() if every and fields else None
        found = ((_Plain.of(name, one), one.kind == "number") for name, one in fields.items())
        self._fields = tuple((plain, plain.number if number else plain.word) for plain, number in found)

    def columns(self, documents: Sequence[Any]) -> dict[str, list[Any]] | None:
        """The values of each field, row by row (a float or a text, None where nothing is given): those of the table
        that `parse_examples` makes. None where something is wrong with one, or only Arrow can tell."""
        names = self._names
        if names is None or len(documents) > MOST:
            return None
        for one in documents:
            if type(one) is not dict or not one.keys() <= names:
                return None
        columns = {}
        for plain, read in self._fields:
            name, values = plain.name, []
            for one in documents:
                given = one.get(name)
                value = None if given is None else read(given)
                if value is None and not (given is None and plain.nullable):
                    return None
                values.append(value)
            columns[name] = values
        return columns

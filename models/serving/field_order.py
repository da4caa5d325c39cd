"""The order in which people are told of fields: that of their table, which no signature keeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

Held = TypeVar("Held")
Json = dict[str, Any]


def place_in(order: Sequence[str]) -> Callable[[str], int]:
    """Where a field stands; one that `order` does not name comes last. For `sorted`, which leaves those as they are."""
    places = {field: place for place, field in enumerate(order)}
    return lambda field: places.get(field, len(places))


def in_order(fields: Mapping[str, Held], order: Sequence[str]) -> dict[str, Held]:
    """The same by name, those of `order` first."""
    return {name: fields[name] for name in sorted(fields, key=place_in(order))}


def described_in_order(described: Json, order: Sequence[str]) -> Json:
    """A JSON schema of one example, or of several forms of one, with its fields in this order."""
    if "oneOf" in described:
        return described | {"oneOf": [described_in_order(one, order) for one in described["oneOf"]]}
    if "properties" not in described:
        return described
    required = sorted(described["required"], key=place_in(order))
    return described | {"properties": in_order(described["properties"], order), "required": required}

"""Which fields of an example the parts of a prepared input are made of: attributions are about parts, people about
fields."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from mlratchet.models.ports.children import ForeignCodeError, Workplace, children
from mlratchet.models.sources.record import ExampleSpec

Array = np.ndarray[Any, Any]
PART = re.compile(r"^(?P<tensor>.+)\[(?P<low>\d+)(?::(?P<high>\d+))?\]$")
FEATURES = f"{__name__}:features"
LIMIT_S = 600.0


def features(request: Mapping[str, Any], _workplace: Workplace) -> list[list[Any]]:
    """In the child, where a user's preparation may be imported: [field, tensor, column or null] of each feature."""
    from mlratchet.models.workloads.examples import Preparer

    preparer = Preparer(ExampleSpec(**request["about"]))
    return [[one.field, one.tensor, one.column] for one in preparer.plan.features(preparer.state)]


def features_away(about: ExampleSpec) -> list[tuple[str, str, int | None]]:
    """(field, tensor, column) of every feature; a column of None is the tensor as a whole. Raises ``ForeignCodeError``
    for an answer that is none."""
    told = children().call(FEATURES, {"about": asdict(about)}, time_limit_s=LIMIT_S)
    try:
        return [(str(field), str(tensor), None if at is None else int(at)) for field, tensor, at in told]
    except (TypeError, ValueError) as error:
        raise ForeignCodeError(f"features of a preparation: got {str(told)[:100]}") from error


def fields_of_parts(
    parts: Sequence[str], made_of: Sequence[tuple[str, str, int | None]]
) -> tuple[tuple[str, ...], Array]:
    """The fields, and a (P, F) table: how much of each part is of each field; a part that is of none has a row of 0.

    Args:
        parts: `numbers[3]`, `numbers[0:2]`, or a tensor as a whole.
        made_of: As `features_away` gives it.
    """
    fields = tuple(dict.fromkeys(field for field, _, _ in made_of))
    whole = {tensor: field for field, tensor, at in made_of if at is None}
    columns = {(tensor, at): field for field, tensor, at in made_of if at is not None}
    table = np.zeros((len(parts), len(fields)))
    for row, part in enumerate(parts):
        found = PART.match(part)
        tensor = found["tensor"] if found else part
        low = int(found["low"]) if found else 0
        size = max((at + 1 for name, at in columns if name == tensor), default=0)
        high = int(found["high"] or low + 1) if found else size
        held = [columns[tensor, at] for at in range(low, high) if (tensor, at) in columns]
        held = held or ([whole[tensor]] if tensor in whole else [])
        for field in held:
            table[row, fields.index(field)] += 1 / len(held)
    return fields, table

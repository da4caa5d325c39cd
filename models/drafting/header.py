"""Whether the first line of a table holds the names of its columns, or is a row already."""

from __future__ import annotations

import re
from collections.abc import Sequence

NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?")
MOSTLY = 0.9  # of a column's cells are numbers in a column of numbers
SHOWN = 3


def looks_like_a_row(names: Sequence[str], columns: Sequence[Sequence[str]]) -> str:
    """Why it does, in words; empty where it does not, and where it has to be names.

    A name that is a number in a column of numbers, or is a value of its column, is for a row; a word above a column of
    numbers is against it, and decides. Numbers in order from 0 or 1 are how tables without names are often written.

    Args:
        names: Of the first line.
        columns: By name: the cells below, as text.
    """
    numbers = [name for name in names if NUMBER.fullmatch(name)]
    alone = len(numbers) == 1 and any(name and name not in numbers for name in names)
    if (
        numbers
        and not alone
        and [int(one) if one.isdigit() else -1 for one in numbers]
        in (
            list(range(len(numbers))),
            list(range(1, len(numbers) + 1)),
        )
    ):
        return ""
    alike: list[str] = []
    for name, cells in zip(names, columns, strict=True):
        given = [cell for cell in cells if cell]
        of_numbers = bool(given) and sum(map(_is_number, given)) >= MOSTLY * len(given)
        if of_numbers and NUMBER.fullmatch(name):
            alike.append(f"{name!r} is a number above numbers")
        elif of_numbers and name:
            return ""
        elif name and given.count(name) > 1:
            alike.append(f"{name!r} is a value of its column")
    more = f" and {len(alike) - SHOWN} more" if len(alike) > SHOWN else ""
    return ", ".join(alike[:SHOWN]) + more


def _is_number(cell: str) -> bool:
    return NUMBER.fullmatch(cell) is not None

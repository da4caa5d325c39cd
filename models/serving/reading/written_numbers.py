"""Numbers that came as text, in a cell or a form: with a decimal point, finite, and nothing guessed."""

from __future__ import annotations

import math
import re

NUMBER = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?\Z")
WHOLE = re.compile(r"[-+]?[0-9]+\Z")
NOT_FINITE = ("nan", "inf", "infinity")
MOST_DIGITS = 400  # Python reads no whole number of some thousand
SHOWN = 50  # characters of a cell in a message


def written_number(cell: str, *, decimal: str = ".") -> int | float:
    """As JSON would say it. `decimal`: how this field's numbers are written. Raises ``ValueError`` in words."""
    pointed = cell.replace(decimal, ".") if decimal != "." and "." not in cell else cell
    if len(cell) > MOST_DIGITS or not NUMBER.match(pointed) or (decimal != "." and "." in cell):
        kind = "finite number" if cell.lower().lstrip("+-") in NOT_FINITE else f"number with a decimal {MARKS[decimal]}"
        raise ValueError(f"got {cell[:SHOWN]!r}, expected a {kind}")
    if not math.isfinite(float(pointed)):
        raise ValueError(f"got {cell[:SHOWN]!r}, expected a finite number")
    return int(pointed) if WHOLE.match(pointed) else float(pointed)


MARKS = {".": "point", ",": "comma"}

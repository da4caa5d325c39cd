"""Tell numbers that come with a currency, a unit, brackets, or blanks between thousands: no number is read from those
cells, and as words each would be a name of its own."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from mlratchet.models.schema.cells import mask
from mlratchet.models.schema.numbers import TOLERATED

BLANKS = r" '’\x{a0}\x{202f}"  # between thousands, beside the point and the comma
CODES = r"[A-Z]{2}?[$]|EUR|USD|GBP|CHF|JPY|CNY|INR|SEK|NOK|DKK|PLN|CZK|BRL|AUD|CAD"
DRESSED = (
    rf"^(?P<opened>\(?)[+-]?(?P<before>{CODES}|[^\pL\d\s.,+()'’#@№-]{{1,2}})?\s?[+-]?"
    rf"(?P<number>\d[\d.,{BLANKS}]*?)"
    r"\s?(?P<after>[^\d\s.,:;/(){}\[\]-][^\d:;/(){}\[\]-]{0,9})?\)?$"
)
NUMBER = rf"^(?:\d+[.,]?\d*|\d{{1,3}}(?:[.,{BLANKS}]\d{{3}})+(?:[.,]\d*)?)$"
KINDS = ("before", "after")


def dressed(cells: pa.Array) -> str:
    """What stands beside the numbers of a column (strings that are given), in words; empty where it is no such column:
    nearly all cells have to be numbers, and to have the same beside them, or nothing."""
    found = pc.extract_regex(cells, DRESSED)
    number = pc.struct_field(found, "number")
    fits = mask(pc.match_substring_regex(number, NUMBER))
    if fits.mean() < 1 - TOLERATED:
        return ""
    words = []
    for kind in KINDS:
        counts = pc.value_counts(pc.struct_field(found, kind).filter(pa.array(fits))).to_pylist()
        beside = sorted(((one["counts"], one["values"]) for one in counts if one["values"]), reverse=True)
        if sum(count for count, _ in beside[1:]) > TOLERATED * len(cells):
            return ""
        if beside and beside[0][1][0].isalpha() and beside[0][0] < (1 - TOLERATED) * len(cells):
            return ""  # a letter behind some numbers is part of a code
        words += [repr(beside[0][1].strip())] if beside else []
    if mask(pc.match_substring_regex(number, f"[{BLANKS}]")).any():
        words.append("parted thousands")
    if mask(pc.equal(pc.struct_field(found, "opened"), "(")).any():
        words.append("brackets")
    return " and ".join(words)


def example_of(cells: pa.Array) -> str:
    """A cell that is more than digits."""
    strange = mask(pc.match_substring_regex(cells, r"[^\d.,+-]"))
    return str(cells[int(np.argmax(strange))].as_py())[:30]

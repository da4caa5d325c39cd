"""Where a record of a table ends, so that a file can be cut between two: a quoted cell may hold line ends."""

from __future__ import annotations

from typing import Any

import numpy as np

NEWLINE, RETURN, QUOTE, BLANK = b'\n\r" '
Bytes = np.ndarray[Any, np.dtype[np.uint8]]
Places = np.ndarray[Any, np.dtype[np.int64]]


def last_record_end(block: bytes, delimiter: str, *, quotes_open_cells: bool, line_end: int = NEWLINE) -> int:
    """How many bytes of a block, which begins with a record, are whole records; 0 where none ends in it."""
    end = block.rfind(bytes([line_end])) + 1
    if not quotes_open_cells or b'"' not in block[:end]:
        return end
    data: Bytes = np.frombuffer(block, dtype=np.uint8)
    lines = np.flatnonzero(data == line_end)
    opening, closing = _quoted_cells(data, ord(delimiter), line_end)
    # a line end lies in a quoted cell where more cells opened than closed before it
    outside = np.searchsorted(opening, lines) == np.searchsorted(closing, lines)
    free = lines[outside]
    return int(free[-1]) + 1 if len(free) else 0


def _quoted_cells(data: Bytes, delimiter: int, line_end: int) -> tuple[Places, Places]:
    """Where quoted cells open, and where they close; the last one may not."""
    places = np.flatnonzero(data == QUOTE)
    opens = _begins_a_cell(data, places, delimiter, line_end)
    last = places[1:] - 1 == places[:-1]  # the quote before stands beside it
    alternating = bool((opens | np.append(False, last))[0::2].all())  # of an odd number, the last opens and stays so
    if alternating:
        return places[0::2], places[1::2]
    found: tuple[list[int], list[int]] = ([], [])
    inside, skip = False, -1
    for place, may_open in zip(places.tolist(), opens.tolist(), strict=True):
        if place == skip:
            continue  # the second of a doubled quote
        if not inside and may_open:
            found[0].append(place)
            inside = True
        elif inside and place + 1 < len(data) and data[place + 1] == QUOTE:
            skip = place + 1
        elif inside:
            found[1].append(place)
            inside = False
    return np.array(found[0], dtype=np.int64), np.array(found[1], dtype=np.int64)


def _begins_a_cell(data: Bytes, places: Places, delimiter: int, line_end: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Whether only blanks stand between each quote and the delimiter or line end before it."""
    before = np.where(places > 0, data[places - 1], line_end)
    found: np.ndarray[Any, np.dtype[np.bool_]] = (before == delimiter) | (before == line_end) | (before == RETURN)
    for index in np.flatnonzero(before == BLANK).tolist():
        text = data[max(0, places[index] - 64) : places[index]].tobytes().rstrip(b" ")
        found[index] = not text or text[-1] in (delimiter, line_end, RETURN)
    return found

"""Words of others, as a terminal may be given them."""

from __future__ import annotations

import re

# What would move a terminal's cursor, and what would show letters in another order than they stand in
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
ENDS = re.compile(r"[\t\n\u2028\u2029]")


def plain(text: str) -> str:
    """Without characters that a terminal would act on, but for tabs and ends of lines."""
    return CONTROL.sub("?", text)


def one_line(text: str) -> str:
    """The same without those, too: a name that somebody chose begins no line of its own."""
    return ENDS.sub("?", plain(text))

"""Words of others, as a terminal may be given them."""

from __future__ import annotations

import re

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # what would move a terminal's cursor


def plain(text: str) -> str:
    """Without characters that a terminal would act on, but for tabs and ends of lines."""
    return CONTROL.sub("?", text)

"""What a person may have meant who wrote a name that there is not."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

CUTOFF = 0.5  # of `difflib`'s ratio: one letter of two may be wrong


def nearest_hint(name: str, known: Iterable[str], *, otherwise: str | None = None) -> str:
    """``did you mean 'x'?``; without a name near enough `otherwise`, or all that there are."""
    names = list(known)
    close = difflib.get_close_matches(name, [one for one in names if one != name], n=1, cutoff=CUTOFF)
    if close:
        return f"did you mean {close[0]!r}?"
    return otherwise if otherwise is not None else f"there are: {', '.join(names) or 'none'}"

"""An unknown name in a policy, with the nearest that there is."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from mlratchet.models.errors import ConfigurationError


def hint_at(name: str, known: Sequence[str]) -> str:
    """The nearest name, or all of them."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(known)}"


def unknown_name(where: str, kind: str, name: str, known: Sequence[str]) -> ConfigurationError:
    """With the nearest name, or all of them."""
    return ConfigurationError(f"{where}: unknown {kind} {name!r}; {hint_at(name, known)}")

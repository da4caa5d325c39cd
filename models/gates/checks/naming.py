"""An unknown name in a policy, with the nearest that there is."""

from __future__ import annotations

from collections.abc import Sequence

from mlratchet.models.errors import ConfigurationError
from mlratchet.models.nearest import nearest_hint


def unknown_name(where: str, kind: str, name: str, known: Sequence[str]) -> ConfigurationError:
    """With the nearest name, or all of them."""
    return ConfigurationError(f"{where}: unknown {kind} {name!r}; {nearest_hint(name, known)}")

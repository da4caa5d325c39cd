"""What is wrong with a name or a bound in a policy, in words."""

from __future__ import annotations

from collections.abc import Sequence

from mlratchet.models.errors import ConfigurationError
from mlratchet.models.nearest import nearest_hint


def unknown_name(where: str, kind: str, name: str, known: Sequence[str]) -> ConfigurationError:
    """With the nearest name, or all of them."""
    return ConfigurationError(f"{where}: unknown {kind} {name!r}; {nearest_hint(name, known)}")


def out_of_range(where: str, field: str, bound: float, name: str, span: tuple[float, float]) -> ConfigurationError:
    """A bound that is no value of what is bounded."""
    return ConfigurationError(f"{where}: {field} {bound:g} lies outside {name}, which is {span[0]:g} to {span[1]:g}")


def always_holds(
    where: str, field: str, bound: float, name: str, span: tuple[float, float], unit: str = ""
) -> ConfigurationError:
    """A bound that nothing can miss: it looks like a gate and is none."""
    return ConfigurationError(
        f"{where}: {field} {bound:g} always holds: {name} is {span[0]:g} to {span[1]:g}{f' ({unit})' if unit else ''}; "
        "write a bound that can be missed, or remove the check"
    )

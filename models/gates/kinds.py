"""The kinds of check that there are: every class in the package `checks` with a kind of its own, found by itself."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any

from mlratchet.models.gates import checks
from mlratchet.models.gates.checks.base import Check, own_kind
from mlratchet.models.gates.checks.outside import parse_outside
from pydantic import Discriminator, Field, PlainValidator, Tag


def _subclasses(cls: type[Any]) -> Iterator[type[Check]]:
    for one in cls.__subclasses__():
        yield one
        yield from _subclasses(one)


def _found() -> dict[str, type[Check]]:
    for info in pkgutil.iter_modules(checks.__path__):
        importlib.import_module(f"{checks.__name__}.{info.name}")
    kinds: dict[str, type[Check]] = {}
    ours = [cls for cls in dict.fromkeys(_subclasses(Check)) if cls.__module__.startswith(f"{checks.__name__}.")]
    for cls in sorted((cls for cls in ours if own_kind(cls)), key=own_kind):
        other = kinds.setdefault(own_kind(cls), cls)
        if other is not cls:
            raise TypeError(f"kind {own_kind(cls)!r} is both {other.__name__} and {cls.__name__}; rename one")
    return kinds


CHECKS: Mapping[str, type[Check]] = _found()
"""By kind, in the order of the alphabet."""


def _whose(declared: Any) -> str:
    kind = declared.get("kind") if isinstance(declared, Mapping) else getattr(declared, "kind", "")
    return "a user's" if ":" in str(kind) else "the product's"


if TYPE_CHECKING:
    AnyCheck = Check
else:
    AnyCheck = Annotated[
        Annotated[reduce(or_, CHECKS.values()), Field(discriminator="kind"), Tag("the product's")]
        | Annotated[Any, PlainValidator(parse_outside), Tag("a user's")],
        Discriminator(_whose),
    ]
    """A check as a policy declares it."""

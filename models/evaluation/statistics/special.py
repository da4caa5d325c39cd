"""SciPy's functions that the statistics call, imported at the first call: a command that reads, and a server, need
none of them, and to import them takes a quarter of such a command's start."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any


def at_first_call(module: str, name: str) -> Callable[..., Any]:
    """A function that is `name` of `module`."""

    @cache
    def found() -> Callable[..., Any]:
        function: Callable[..., Any] = getattr(import_module(module), name)
        return function

    def call(*arguments: Any, **more: Any) -> Any:
        return found()(*arguments, **more)

    return call


bdtr, betainc, betaincinv, expit, gammaln, ndtr, ndtri, stdtr, stdtrit, xlogy = (
    at_first_call("scipy.special", name)
    for name in ("bdtr", "betainc", "betaincinv", "expit", "gammaln", "ndtr", "ndtri", "stdtr", "stdtrit", "xlogy")
)
brentq = at_first_call("scipy.optimize", "brentq")

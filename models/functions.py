"""A user's own function, named in a pipeline file as ``package.module:function``."""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Callable
from typing import Any

from mlratchet.models.errors import ConfigurationError

REFERENCE = r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"


def load_function(reference: str, where: str) -> Callable[..., Any]:
    """The function of a reference; `where` names the place in the pipeline file.

    Raises ``ConfigurationError`` with the nearest name when the module or the function is missing.
    """
    module_name, _, name = reference.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ImportError as exc:
        raise ConfigurationError(
            f"{where}: cannot import {module_name}: {exc}; run from the folder that holds it, or install it"
        ) from exc
    found = getattr(module, name, None)
    if not callable(found):
        known = [n for n, _ in inspect.getmembers(module, inspect.isfunction) if not n.startswith("_")]
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"functions there: {', '.join(known) or 'none'}"
        raise ConfigurationError(f"{where}: {module_name} has no function {name!r}; {hint}")
    function: Callable[..., Any] = found
    return function

"""A user's own function or class, named in a pipeline file as ``package.module:name``."""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Callable
from typing import Any

from mlratchet.models.errors import ConfigurationError

REFERENCE = r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"


def load_function(reference: str, where: str, *, what: str = "function") -> Callable[..., Any]:
    """The function (or class: `what`) of a reference; `where` names the place in the pipeline file.

    Raises ``ConfigurationError`` with the nearest name when the module or what it should hold is missing.
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
        kind, many = (inspect.isclass, "classes") if what == "class" else (inspect.isfunction, "functions")
        known = [n for n, _ in inspect.getmembers(module, kind) if not n.startswith("_")]
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"{many} there: {', '.join(known) or 'none'}"
        raise ConfigurationError(f"{where}: {module_name} has no {what} {name!r}; {hint}")
    function: Callable[..., Any] = found
    return function

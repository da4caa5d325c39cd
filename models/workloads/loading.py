"""Find the user's workload by its name in the pipeline file."""

from __future__ import annotations

import difflib
import hashlib
import inspect
from pathlib import Path
from typing import Any

from mlratchet.models.errors import ConfigurationError
from mlratchet.models.functions import load_class
from mlratchet.models.workloads.base import Workload


def find_workload(use: str) -> type[Workload]:
    """The class `package.module:Class`. Raises ``ConfigurationError`` with the nearest name."""
    return load_class(use, Workload, "workload")  # type: ignore[type-abstract]  # which class it is, is the question


def load_workload(use: str, parameters: dict[str, Any]) -> Workload:
    """An instance with the pipeline file's parameters. Raises ``ConfigurationError``."""
    found = find_workload(use)
    known = [name for name in inspect.signature(found).parameters if name not in ("args", "kwargs")]
    for name in parameters:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"it takes: {', '.join(known)}"
            raise ConfigurationError(f"workload {use}: unknown parameter {name!r}; {hint}")
    try:
        return found(**parameters)
    except (TypeError, ValueError) as exc:
        raise ConfigurationError(f"workload {use}: {exc}") from exc


def workload_source_digest(use: str) -> str:
    """SHA-256 hex of the source files of the class and its bases."""
    files = {inspect.getsourcefile(c) for c in find_workload(use).__mro__ if issubclass(c, Workload)}
    hasher = hashlib.sha256()
    for file in sorted(file for file in files if file):
        hasher.update(Path(file).name.encode() + b"\0" + Path(file).read_bytes() + b"\0")
    return hasher.hexdigest()

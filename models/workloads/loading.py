"""Find the user's workload by its name in the pipeline file."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from mlratchet.models.errors import ConfigurationError
from mlratchet.models.finding import is_ours
from mlratchet.models.functions import kept_out, load_class
from mlratchet.models.identity.closure import Closure, closure_of
from mlratchet.models.identity.declared import declared_by, declared_files
from mlratchet.models.identity.product import reached_through_workloads
from mlratchet.models.nearest import nearest_hint
from mlratchet.models.objectives.base import Task
from mlratchet.models.objectives.naming import BUILT_IN
from mlratchet.models.workloads.base import Workload
from mlratchet.models.workloads.told import reading_away, told_parameters, told_source, told_workload


def find_workload(use: str) -> type[Workload]:
    """The class `package.module:Class`. Raises ``ConfigurationError`` with the nearest name."""
    return load_class(use, Workload, "workload")  # type: ignore[type-abstract]  # which class it is, is the question


def load_workload(use: str, parameters: dict[str, Any]) -> Workload:
    """An instance with the pipeline file's parameters; where users' modules are kept out, what a child tells of it.
    Raises ``ConfigurationError``."""
    if kept_out() and not (is_ours(use) and prepared_by_ours(parameters)):
        return told_workload(use, parameters)
    made = _made(use, parameters)
    return reading_away(use, parameters, made) if kept_out() else made


def prepared_by_ours(parameters: Mapping[str, Any]) -> bool:
    """Whether no preparation is a class of the user's."""
    section = parameters.get("preparation")
    return not (isinstance(section, Mapping) and section.get("own"))


def _made(use: str, parameters: dict[str, Any]) -> Workload:
    found = find_workload(use)
    known = [name for name in inspect.signature(found).parameters if name not in ("args", "kwargs")]
    for name in parameters:
        if name not in known:
            hint = nearest_hint(name, known, otherwise=f"it takes: {', '.join(known)}")
            raise ConfigurationError(f"workload {use}: unknown parameter {name!r}; {hint}")
    if found.input_spec is Workload.input_spec and found.tensors is Workload.tensors:
        raise ConfigurationError(f"workload {use}: it says nowhere what its model takes; write input_spec, or tensors")
    try:
        return found(**parameters)
    except (TypeError, ValueError) as exc:
        raise ConfigurationError(f"workload {use}: {exc}") from exc


def workload_parameters(use: str) -> dict[str, Any]:
    """Every parameter of the class -> its default, None without one. Raises ``ConfigurationError`` as
    `find_workload`."""
    if kept_out() and not is_ours(use):
        return told_parameters(use)
    known = inspect.signature(find_workload(use)).parameters.values()
    named = [one for one in known if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
    return {one.name: None if one.default is one.empty else one.default for one in named}


def workload_source(use: str, task: Task | None = None) -> Closure:
    """What the class is made of: its module and those of its bases, what they import, and the files that they declare.

    `task`: what an instance says is learnt; a user's own objective counts, although nothing need import it. Without it
    that of the class.

    Raises ``ConfigurationError`` for a class or a declared file that is not there.
    """
    if kept_out() and not is_ours(use):
        return told_source(use, task if isinstance(task, str) else None)
    bases = [base for base in find_workload(use).__mro__ if base.__module__ != "builtins"]
    files: dict[str, str] = {}
    for base in bases:
        files |= declared_files(base.__module__, vars(base).get("files", ()), f"workload {use}")
    modules = [use.partition(":")[0], *(base.__module__ for base in bases)]
    for objective in _own_objective(task or getattr(bases[0], "task", None)):
        modules.append(objective.partition(":")[0])
        files |= declared_by(objective, f"objective {objective}")
    return closure_of(modules, follow=reached_through_workloads(), files=files)


def _own_objective(task: Task | None) -> list[str]:
    """The reference of a user's own objective."""
    if task is None or task in BUILT_IN:  # None: an instance says it
        return []
    return [task if isinstance(task, str) else f"{task.__module__}:{task.__qualname__}"]

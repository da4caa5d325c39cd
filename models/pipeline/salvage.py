"""What holds of a pipeline file with mistakes, so that it can still be held against its workload and every mistake be
told at once."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from mlratchet.models.errors import ConfigurationError
from mlratchet.models.gates.policy import GatePolicy
from mlratchet.models.pipeline.loading import fill_in_schema, fill_in_shared_policy, read_document
from mlratchet.models.pipeline.located import in_file
from mlratchet.models.pipeline.names import put_back, refuse_guessed_names
from mlratchet.models.pipeline.reading import KeyPath, Lines, Problem, looked_at, read_text
from mlratchet.models.pipeline.spec import PipelineSpec
from pydantic import model_validator

ROUNDS = 8  # of leaving out what is wrong; what one round leaves out can be missed by the next
OF_AN_ITEM = re.compile(r": (\d+): ")  # a list that says which of its items is wrong


class LeftGates(GatePolicy):
    """Gates that may have lost their checks."""

    @model_validator(mode="after")
    def _no_empty_gate(self) -> LeftGates:
        return self


class LeftSpec(PipelineSpec):
    """A pipeline without what was wrong in its file."""

    gates: LeftGates = LeftGates()


@dataclass
class Left:
    """What holds, and what does not."""

    spec: PipelineSpec | None = None  # None: too little is left
    problems: list[str] = field(default_factory=list)  # a line each, as ``file:line: key: problem``
    left_out: set[KeyPath] = field(default_factory=set)  # sections, keys and checks of the file


def read_what_holds(file: Path, *, overrides: Sequence[str] = ()) -> Left:
    """Of a file that is readable as YAML. Raises ``ConfigurationError`` for another."""
    where, left = str(file), Left()
    document, lines = read_document(read_text(file), where=where, overrides=overrides)
    try:
        refuse_guessed_names(document, lines, where)
    except ConfigurationError as error:
        left.problems += str(error).splitlines()
        put_back(document, lines)
    gates = document.get("gates")
    if isinstance(gates, dict):
        try:
            fill_in_shared_policy(gates, file.parent, lines, where)
        except ConfigurationError as error:
            left.problems += str(error).splitlines()
            gates.pop("policy", None)
            gates.pop("shared", None)
    try:
        fill_in_schema(document, file.parent, lines, where)
    except ConfigurationError as error:
        left.problems += str(error).splitlines()
        document.pop("schema")
    whole, problems = looked_at(PipelineSpec, document, lines, where=where)
    left.problems += [problem.line for problem in problems]
    left.spec = whole or _without(document, problems, lines, where, left)
    return left


def _without(
    document: dict[str, Any], problems: Sequence[Problem], lines: Lines, where: str, left: Left
) -> PipelineSpec | None:
    """Leave out what is wrong until the rest holds; mistakes that only the rest shows are told, too."""
    rest = copy.deepcopy(document)
    for _ in range(ROUNDS):
        gone = {path for problem in problems if (path := _place(rest, problem)) is not None}
        if any(not path for path in gone):
            return None
        for path in sorted(gone, key=_order, reverse=True):  # the last item of a list first: others keep their places
            _remove(rest, path)
        left.left_out |= {in_file(path, left.left_out) for path in gone}
        spec, problems = looked_at(LeftSpec, rest, lines, where=where)
        if spec is not None:
            return spec
        left.problems += [
            one.line
            for one in map(partial(_of_the_item, lines, where, left.left_out), problems)
            if _is_new(one, left.left_out)
        ]
    return None


def _order(path: KeyPath) -> tuple[tuple[int, str], ...]:
    return tuple((part, "") if isinstance(part, int) else (-1, part) for part in path)


def _place(document: Any, problem: Problem) -> KeyPath | None:
    """What to leave out: the key itself, the item of a list, or the section that lacks a key. None: it is gone."""
    path = problem.path[:-1] if problem.missing else problem.path
    item = _item(problem)
    path = (*path, item) if item is not None else path
    node = document
    for part in path:
        try:
            node = node[part]
        except (KeyError, IndexError, TypeError):
            return None
    return path


def _item(problem: Problem) -> int | None:
    """Which check of a gate is meant, where the gate says it."""
    found = OF_AN_ITEM.search(problem.line)
    return int(found[1]) if len(problem.path) == 2 and problem.path[0] == "gates" and found is not None else None


def _of_the_item(lines: Lines, where: str, left_out: set[KeyPath], problem: Problem) -> Problem:
    """Told of the very check of the file, where a gate says which of those that are left is wrong."""
    item = _item(problem)
    if item is None:
        return problem
    path = in_file((*problem.path, item), left_out)
    words = OF_AN_ITEM.split(problem.line, maxsplit=1)[2]
    return Problem(path, f"{where}:{lines.of(path)}: {'.'.join(map(str, path))}: {words}", missing=False)


def _remove(document: Any, path: KeyPath) -> None:
    node = document
    for part in path[:-1]:
        node = node[part]
    del node[path[-1]]


def _is_new(problem: Problem, left_out: set[KeyPath]) -> bool:
    """Whether it is a mistake of the file rather than of what is left of it, at a place that did not move."""
    near = any(path[: len(problem.path)] == problem.path[: len(path)] for path in left_out)
    moved = any(
        isinstance(path[-1], int) and path[:-1] == problem.path[: len(path) - 1] and len(problem.path) > len(path)
        for path in left_out
    )
    return not (problem.missing or near or moved)

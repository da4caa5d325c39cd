"""Read a pipeline file: strict, with file and line in every error and "did you mean" for unknown keys."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import yaml
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.pipeline.spec import PipelineSpec
from pydantic import BaseModel, ValidationError

SECRET_KEY = re.compile(r"(?i)(passw|secret|token|api_?key|credential)")

KeyPath = tuple[str | int, ...]


class _Loader(yaml.SafeLoader):
    """YAML 1.2's numbers: `1e-4` is a number, not the text that YAML 1.1 makes of it."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


class _Lines:
    """Line numbers (1-based) of every key path of a YAML document."""

    def __init__(self, node: yaml.Node | None, where: str) -> None:
        self._line: dict[KeyPath, int] = {(): 1}
        if node is not None:
            self._walk(node, (), where)

    def _walk(self, node: yaml.Node, path: KeyPath, where: str) -> None:
        self._line.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, value in node.value:
                name = str(key.value)
                line = key.start_mark.line + 1
                if name in seen:
                    raise ConfigurationError(f"{where}:{line}: key {name!r} is given twice; remove one of them")
                seen.add(name)
                self._line[(*path, name)] = line
                self._walk(value, (*path, name), where)
        elif isinstance(node, yaml.SequenceNode):
            for index, value in enumerate(node.value):
                self._walk(value, (*path, index), where)

    def of(self, path: KeyPath) -> int:
        """The line of the path, or of the nearest parent that has one."""
        while path not in self._line:
            path = path[:-1]
        return self._line[path]


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) in (Union, UnionType, Annotated, tuple, list):
        for argument in get_args(annotation):
            yield from _models_in(argument)


def _models_at(model: type[BaseModel], path: Sequence[str | int]) -> list[type[BaseModel]]:
    """The models whose fields could stand at `path` (union tags in the path are skipped)."""
    models = [model]
    for part in path:
        if isinstance(part, int):
            continue
        deeper = [
            inner
            for candidate in models
            if part in candidate.model_fields
            for inner in _models_in(candidate.model_fields[part].annotation)
        ]
        models = deeper or models
    return models


def _unknown_key_message(path: KeyPath) -> str:
    name = str(path[-1])
    known = sorted({field for m in _models_at(PipelineSpec, path[:-1]) for field in m.model_fields})
    if SECRET_KEY.search(name):
        return f"key {name!r} is not allowed: secrets come from the environment, never from a pipeline file"
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}?" if close else f"known here: {', '.join(known)}"
    return f"unknown key {name!r}; {hint}"


def _yaml_path(location: tuple[int | str, ...], document: Any, *, names_key: bool) -> KeyPath:
    """A pydantic location without the union tags that are not in the document.

    `names_key`: the last part is a key that is missing or unknown, so keep it.
    """
    path: list[str | int] = []
    node = document
    for part in location:
        if (isinstance(node, Mapping) and part in node) or (
            isinstance(node, list) and isinstance(part, int) and part < len(node)
        ):
            node = node[part]  # type: ignore[index]  # checked above, per kind
        elif part is not location[-1] or not names_key:
            continue
        path.append(part)
    return tuple(path)


def _describe(error: Any, path: KeyPath) -> str:
    dotted = ".".join(str(part) for part in path)
    if error["type"] == "extra_forbidden":
        return f"{'.'.join(str(p) for p in path[:-1]) or 'top level'}: {_unknown_key_message(path)}"
    got = error.get("input")
    shown = ""
    if isinstance(got, str | int | float | bool) and not any(SECRET_KEY.search(str(p)) for p in path):
        kind = type(got).__name__
        shown = f", got {got!r} ({kind})"
    message = error["msg"].removeprefix("Value error, ")
    return f"{dotted or 'pipeline'}: {message[0].lower()}{message[1:]}{shown}"


def _assign(document: dict[str, Any], assignment: str) -> None:
    dotted, equals, text = assignment.partition("=")
    parts = dotted.strip().split(".")
    if not equals or not all(parts):
        raise ConfigurationError(f"--set {assignment!r}: expected key=value, e.g. --set train.epochs=5")
    node: Any = document
    for part in parts[:-1]:
        node = node.setdefault(part, {}) if isinstance(node, dict) else node[int(part)]
        if not isinstance(node, dict | list):
            raise ConfigurationError(f"--set {assignment!r}: {part!r} holds a value, not a section")
    value = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    if isinstance(node, list):
        node[int(parts[-1])] = value
    else:
        node[parts[-1]] = value


def parse_pipeline(text: str, *, where: str, overrides: Sequence[str] = ()) -> PipelineSpec:
    """The pipeline of a YAML text, with ``a.b=value`` overrides applied before validation.

    Raises ``ConfigurationError`` with every problem, one line each, as ``where:line: path: problem``.
    """
    try:
        lines = _Lines(yaml.compose(text, Loader=_Loader), where)
        document = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        line = mark.line + 1 if mark is not None else 1
        problem = getattr(exc, "problem", None) or "not readable as YAML"
        raise ConfigurationError(f"{where}:{line}: {problem}; check indentation and quoting") from exc
    if not isinstance(document, dict):
        raise ConfigurationError(f"{where}:1: expected a mapping with name, workload, source and gates")
    try:
        for assignment in overrides:
            _assign(document, assignment)
    except (KeyError, IndexError, ValueError) as exc:
        raise ConfigurationError(f"--set: no such place: {exc}") from exc
    try:
        return PipelineSpec.model_validate(document)
    except ValidationError as exc:
        problems = []
        for error in exc.errors():
            path = _yaml_path(error["loc"], document, names_key=error["type"] in ("missing", "extra_forbidden"))
            problems.append(f"{where}:{lines.of(path)}: {_describe(error, path)}")
        raise ConfigurationError("\n".join(problems)) from exc


def read_pipeline(path: Path, *, overrides: Sequence[str] = ()) -> PipelineSpec:
    """`parse_pipeline` of a file. Raises ``ConfigurationError`` when it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigurationError(f"{path}: cannot be read: {exc}") from exc
    return parse_pipeline(text, where=str(path), overrides=overrides)


def find_pipeline(directory: Path, name: str) -> Path:
    """The file of a pipeline by its name. Raises ``ConfigurationError`` with the nearest name."""
    files = {path.stem: path for path in sorted(directory.glob("*.yaml"))}
    if name in files:
        return files[name]
    close = difflib.get_close_matches(name, files, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(files) or 'none'}"
    raise ConfigurationError(f"no pipeline {name!r} in {directory}; {hint}")

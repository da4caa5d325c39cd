"""Read a YAML file strictly: file and line in every error and "did you mean" for unknown keys."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, NamedTuple, TypeVar, Union, get_args, get_origin

import yaml
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.nearest import nearest_hint
from pydantic import BaseModel, ValidationError

SECRET_KEY = re.compile(r"(?i)(passw|secret|token|api_?key|credential)")
WRITTEN = "written"  # key of the validation's context

KeyPath = tuple[str | int, ...]
Model = TypeVar("Model", bound=BaseModel)


class Loader(yaml.SafeLoader):
    """YAML 1.2's numbers: `1e-4` is a number, not the text that YAML 1.1 makes of it."""


Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


class Lines:
    """Line numbers (1-based) of every key path of a YAML document."""

    def __init__(self, node: yaml.Node | None, where: str) -> None:
        self._line: dict[KeyPath, int] = {(): 1}
        self._written: dict[KeyPath, str] = {}
        if node is not None:
            self._walk(node, (), where)

    def _walk(self, node: yaml.Node, path: KeyPath, where: str) -> None:
        self._line.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.ScalarNode):
            self._written[path] = str(node.value)
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

    def written(self, path: KeyPath) -> str | None:
        """The text of the scalar at a path as it stands in the file; None where none stands."""
        return self._written.get(path)

    def key_of(self, path: KeyPath, value: Any) -> str:
        """How the key of a mapping at a path is written that YAML reads as `value`, which is no text."""
        keys = [str(found[-1]) for found in self._line if found[:-1] == path and found]
        read = (key for key in keys if yaml.load(key, Loader=Loader) == value)  # noqa: S506 - a SafeLoader
        return next(read, str(value))

    def of(self, path: KeyPath) -> int:
        """The line of the path, or of the nearest parent that has one."""
        while path not in self._line:
            path = path[:-1]
        return self._line[path]


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) in (Union, UnionType, Annotated, tuple, list, dict):
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
            for name, found in candidate.model_fields.items()
            if part == (found.alias or name)
            for inner in _models_in(found.annotation)
        ]
        models = deeper or models
    return models


def _meant(models: list[type[BaseModel]], location: Sequence[int | str]) -> list[type[BaseModel]]:
    """Of the members of a union the one that the location's tag names, by a field that can only hold the tag."""
    named = [m for m in models if any(set(get_args(f.annotation)) & set(location) for f in m.model_fields.values())]
    return named or models


def _unknown_key_message(root: type[BaseModel], path: KeyPath, location: Sequence[int | str]) -> str:
    name = str(path[-1])
    models = _meant(_models_at(root, path[:-1]), location[:-1])
    known = sorted({found.alias or field for m in models for field, found in m.model_fields.items()})
    if SECRET_KEY.search(name):
        return f"key {name!r} is not allowed: secrets come from the environment, never from a file like this"
    hint = nearest_hint(name, known, otherwise="known here: " + ", ".join(known))
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


def _describe(root: type[BaseModel], error: Any, path: KeyPath, written: str | None) -> str:
    dotted = ".".join(str(part) for part in path)
    if error["type"] == "extra_forbidden":
        unknown = _unknown_key_message(root, path, error["loc"])
        return f"{'.'.join(str(p) for p in path[:-1]) or 'top level'}: {unknown}"
    got = error.get("input")
    shown = ""
    if isinstance(got, str | int | float | bool) and not any(SECRET_KEY.search(str(p)) for p in path):
        kind = type(got).__name__
        shown = f", got {got!r} ({kind})"
        if error["type"] == "string_type" and written:
            shown += f': YAML does not read {written} as text; write "{written}"'
    message = error["msg"].removeprefix("Value error, ")
    return f"{dotted or 'file'}: {message[0].lower()}{message[1:]}{shown}"


def read_text(path: Path) -> str:
    """Raises ``ConfigurationError`` when the file cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigurationError(f"{path}: cannot be read: {exc}") from exc


def parse_yaml(text: str, *, where: str, expected: str) -> tuple[dict[str, Any], Lines]:
    """The mapping of a YAML text and the lines of its keys. Raises ``ConfigurationError``."""
    try:
        loader = Loader(text)
        node = loader.get_single_node()
        lines = Lines(node, where)
        document = loader.construct_document(node) if node is not None else None
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        line = mark.line + 1 if mark is not None else 1
        problem = getattr(exc, "problem", None) or "not readable as YAML"
        raise ConfigurationError(f"{where}:{line}: {problem}; check indentation and quoting") from exc
    if not isinstance(document, dict):
        raise ConfigurationError(f"{where}:1: expected a mapping with {expected}")
    return document, lines


def is_written(context: Any) -> bool:
    """Whether a validator looks at what a person wrote, and can still mend; nowhere but under `validated`."""
    return isinstance(context, Mapping) and context.get(WRITTEN) is True


def validated(model: type[Model], document: dict[str, Any], lines: Lines, *, where: str, written: bool = True) -> Model:
    """`written`: a person's file, not what was published from one.

    Raises ``ConfigurationError`` with every problem, one line each, as ``where:line: path: problem``."""
    made, problems = looked_at(model, document, lines, where=where, written=written)
    if made is None:
        raise ConfigurationError("\n".join(problem.line for problem in problems))
    return made


class Problem(NamedTuple):
    """One mistake of a document."""

    path: KeyPath  # of the key, or of the one that is missing
    line: str  # as `where:line: path: problem`
    missing: bool


def looked_at(
    model: type[Model], document: Any, lines: Lines, *, where: str, written: bool = True
) -> tuple[Model | None, list[Problem]]:
    """The document as its model, or None and every mistake."""
    try:
        return model.model_validate(document, context={WRITTEN: written}), []
    except ValidationError as exc:
        problems = []
        for error in exc.errors():
            path = _yaml_path(error["loc"], document, names_key=error["type"] in ("missing", "extra_forbidden"))
            words = f"{where}:{lines.of(path)}: {_describe(model, error, path, lines.written(path))}"
            problems.append(Problem(path, words, error["type"] == "missing"))
        return None, problems

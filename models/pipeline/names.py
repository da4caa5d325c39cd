"""Names in a pipeline file are text: what YAML reads as something else is refused, never guessed back into text.

YAML 1.1 reads NO as false, 1.0 as a number, 12:30 as 750 and 2020-01-01 as a date. A class that was meant so would be
another one, and the rows that have it would be set aside.
"""

from __future__ import annotations

import inspect
import typing
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.pipeline.reading import KeyPath, Lines, Loader

NAMES = ("classes", "columns", "labels")  # parameters of a workload that hold names, however they are annotated
AS_DELIVERED = (("source", "prefix"), ("source", "bucket"))  # names of objects, to the last byte
PARAMETERS = ("workload", "parameters")
ROLES = ("label", "id", "group", "time")  # keys of a schema that name a column
LISTS = ("values", "missing")  # keys of a field that hold cells


def composed(value: Any, path: KeyPath = ()) -> Any:
    """The document with its text in Unicode's composed form (NFC), as rows are read: a Mac writes the other one."""
    if isinstance(value, str):
        return value if path in AS_DELIVERED else unicodedata.normalize("NFC", value)
    if isinstance(value, dict):
        return {composed(key): composed(one, (*path, key)) for key, one in value.items()}
    if isinstance(value, list):
        return [composed(one, (*path, place)) for place, one in enumerate(value)]
    return value


def refuse_guessed_names(document: Mapping[str, Any], lines: Lines, where: str) -> None:
    """Raises ``ConfigurationError`` with every class, column and label of the workload that YAML did not read as
    text."""
    refuse_guesses(_names(document), lines, where)
    if isinstance(document.get("schema"), Mapping):
        refuse_guessed_schema(document["schema"], lines, where, ("schema",))


def put_back(document: Mapping[str, Any], lines: Lines) -> None:
    """In place of what YAML made of a name, the name as it is written, so that the rest can be held against it."""
    for path, _ in [*_not_text(_names(document), PARAMETERS)]:
        written, node = lines.written(path), document
        if written is not None:
            for part in path[:-1]:
                node = node[part]  # type: ignore[index]  # a list has numbers in its path
            node[path[-1]] = written  # type: ignore[index]


def _names(document: Mapping[str, Any]) -> dict[str, list[Any]]:
    workload = document.get("workload")
    parameters = workload.get("parameters") if isinstance(workload, Mapping) else None
    if not isinstance(parameters, Mapping):
        return {}
    return {name: parameters[name] for name in NAMES if isinstance(parameters.get(name), list)}


def refuse_guessed_schema(schema: Mapping[str, Any], lines: Lines, where: str, path: KeyPath = ()) -> None:
    """Raises ``ConfigurationError`` with every column, label and value of a schema at `path` that YAML did not read as
    text."""
    problems = [
        f"{where}:{lines.of(place)}: {'.'.join(map(str, place))}: "
        + guessed(value, lines.written(place) if isinstance(place[-1], int) or place[-1] in ROLES else str(place[-1]))
        for place, value in _names_of_schema(schema, lines, path)
        if not isinstance(value, str)
    ]
    if problems:
        raise ConfigurationError("\n".join(problems))


def _names_of_schema(schema: Mapping[str, Any], lines: Lines, path: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    for role in ROLES:
        if schema.get(role) is not None and not isinstance(schema[role], list | Mapping):
            yield (*path, role), schema[role]
    yield from _listed(schema, "missing", path)
    fields = schema.get("fields")
    for name, field in fields.items() if isinstance(fields, Mapping) else ():
        if not isinstance(name, str):
            yield (*path, "fields", lines.key_of((*path, "fields"), name)), name
        elif isinstance(field, Mapping):
            for key in LISTS:
                yield from _listed(field, key, (*path, "fields", name))


def _listed(section: Mapping[str, Any], key: str, path: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    values = section.get(key)
    for place, value in enumerate(values if isinstance(values, list) else ()):
        yield (*path, key, place), value


def refuse_guesses(parameters: Mapping[str, Any], lines: Lines | None = None, where: str = "") -> None:
    """Raises ``ConfigurationError`` for whatever is no text in these parameters of the workload, with the lines of a
    file where they are given."""
    problems = []
    for path, value in _not_text(parameters, PARAMETERS):
        key = ".".join(map(str, path))
        if lines is None:
            problems.append(f"{key}: {guessed(value, None)}")
        else:
            problems.append(f"{where}:{lines.of(path)}: {key}: {guessed(value, lines.written(path))}")
    if problems:
        raise ConfigurationError("\n".join(problems))


def text_parameters(workload: type[Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Of the parameters of a class those that it wants as text, or as a list of texts."""
    try:
        hints = typing.get_type_hints(inspect.getattr_static(workload, "__init__"))
    except Exception:  # noqa: BLE001 - a user's annotations may name what is imported for type checkers alone
        hints = {}
    known = inspect.signature(workload).parameters
    return {name: value for name, value in parameters.items() if name in known and _wants_text(hints.get(name))}


def guessed(value: Any, written: str | None) -> str:
    """What YAML made of a name, and what to write."""
    kind = {bool: "a truth value", type(None): "nothing", int: "a number", float: "a number"}.get(type(value), "a date")
    if isinstance(value, list | dict):
        return "expected text, got a list or section"
    if written is None or yaml.load(written, Loader=Loader) != value:  # noqa: S506 - a SafeLoader
        return f"expected text, got {value!r} ({type(value).__name__}); put the name in quotes"
    return f'YAML reads {written or "an empty value"} as {kind} ({value!r}), expected text; write "{written}"'


def _wants_text(hint: Any) -> bool:
    """Whether nothing but text, or lists of it, can stand there."""
    arguments = [one for one in typing.get_args(hint) if one not in (type(None), Ellipsis)]
    if hint is str:
        return True
    origin = typing.get_origin(hint)
    if origin in (typing.Literal, typing.Annotated, dict, Mapping) or not arguments:
        return False
    return all(_wants_text(one) for one in arguments)


def _not_text(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    if isinstance(value, Mapping):
        for name, one in value.items():
            yield from _not_text(one, (*path, name))
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for place, one in enumerate(value):
            yield from _not_text(one, (*path, place))
    elif not isinstance(value, str) and not (value is None and len(path) == len(PARAMETERS) + 1):
        yield path, value

"""Find a format by its name in a pipeline file, and hold what stands under `source` against its options."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from mlratchet.models.errors import ConfigurationError
from mlratchet.models.functions import load_class
from mlratchet.models.nearest import nearest_hint
from mlratchet.models.sources.base import Format, SourceOptions
from pydantic import ValidationError

FORMATS = {
    "csv": "mlratchet.models.sources.csv:Csv",
    "images": "mlratchet.models.sources.images:Images",
    "parquet": "mlratchet.models.sources.parquet:Parquet",
    "jsonl": "mlratchet.models.sources.jsonl:Jsonl",
    "image_folder": "mlratchet.models.sources.image_folder:ImageFolder",
}
"""Name -> class. Not imported here: what decides a dataset is the format that it is read with, and no other."""


def format_of(name: str) -> type[Format]:
    """The class. Raises ``ConfigurationError`` with the nearest name."""
    if name not in FORMATS and ":" not in name:
        raise ConfigurationError(f"source.format: unknown format {name!r}; {nearest_hint(name, list(FORMATS))}")
    # which class it is, is the question
    return load_class(FORMATS.get(name, name), Format, "format")  # type: ignore[type-abstract]


def name_of(format_: type[Format] | str) -> str:
    """Of a format that a workload names by its class, or by its name."""
    return format_ if isinstance(format_, str) else format_.name


def format_read(source: SourceOptions, readable: Sequence[type[Format] | str]) -> str | None:
    """The format of a source, of which a workload can read the built-in ones `readable`; the first is its default.

    None for a workload that reads objects itself. Raises ``ConfigurationError`` for one that it cannot read.
    """
    names = [name_of(one) for one in readable]
    name = source.format or (names[0] if names else None)
    if name in FORMATS and names and name not in names:
        raise ConfigurationError(f"source.format: {name} is not read by the workload, which reads {', '.join(names)}")
    return name


def options_of(source: SourceOptions, name: str) -> SourceOptions:
    """What stands under `source`, as options of the format. Raises ``ConfigurationError`` with the nearest name for
    one that the format does not have."""
    expected = format_of(name).Options
    if type(source) is expected:
        return source
    given = source.model_dump(mode="json", exclude_defaults=True)  # a published pipeline holds the defaults too
    for option in given:
        if option not in expected.model_fields:
            raise ConfigurationError(
                f"source.{option}: no option of format {name}; {nearest_hint(option, list(expected.model_fields))}"
            )
    return _validated(expected, {**given, "format": name}, name)


def open_source(source: Mapping[str, Any], readable: Sequence[type[Format] | str]) -> Format:
    """The reader of a source that was checked, given as a mapping. Raises ``ConfigurationError``."""
    name = source.get("format") or name_of(readable[0])
    kind = format_of(name)
    own = kind.Options.model_config.get("extra") == "allow"
    known = {key: value for key, value in source.items() if own or key in kind.Options.model_fields}
    return kind(_validated(kind.Options, {**known, "format": name}, name))


def _validated(kind: type[SourceOptions], document: dict[str, Any], name: str) -> SourceOptions:
    try:
        return kind.model_validate_json(json.dumps(document))  # as JSON: a list is a tuple there
    except ValidationError as exc:
        first = exc.errors()[0]
        place = ".".join(["source", *map(str, first["loc"])])
        raise ConfigurationError(f"{place}: {first['msg']}, for format {name}") from exc

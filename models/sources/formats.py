"""Find a format by its name in a pipeline file, and hold what stands under `source` against its options."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from mlratchet.models.errors import ConfigurationError
from mlratchet.models.functions import load_class
from mlratchet.models.nearest import nearest_hint
from mlratchet.models.sources.base import Fetch, Format, SourceOptions
from mlratchet.models.sources.pieces import RawPiece
from mlratchet.models.sources.ranged import Open
from mlratchet.models.sources.record import Example, RawObject, Reject
from pydantic import ValidationError

FORMATS = {
    "csv": "mlratchet.models.sources.csv:Csv",
    "images": "mlratchet.models.sources.images:Images",
    "parquet": "mlratchet.models.sources.parquet:Parquet",
    "jsonl": "mlratchet.models.sources.jsonl:Jsonl",
    "image_folder": "mlratchet.models.sources.image_folder:ImageFolder",
    "webdataset": "mlratchet.models.sources.webdataset:WebDataset",
    "audio": "mlratchet.models.sources.audio:Audio",
    "audio_folder": "mlratchet.models.sources.audio:AudioFolder",
    "fasta": "mlratchet.models.sources.fasta:Fasta",
    "ratings": "mlratchet.models.sources.ratings:Ratings",
    "joined": "mlratchet.models.sources.joined:Joined",
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


def references_of(source: SourceOptions) -> tuple[str, ...]:
    """``package.module:Class`` of every format that a source names: its own, and those of its parts."""
    named = [source.format, *(part.format for part in getattr(source, "parts", ()) or ())]
    found = (FORMATS.get(name, name) for name in named if name is not None)
    return tuple(dict.fromkeys(reference for reference in found if ":" in reference))


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


def options_given(document: Mapping[str, Any], name: str) -> Format:
    """The reader of a format with these options. Raises ``ConfigurationError`` for one that it does not have."""
    kind = format_of(name)
    for option in document:
        if option not in kind.Options.model_fields:
            hint = nearest_hint(option, list(kind.Options.model_fields))
            raise ConfigurationError(f"source: {option!r} is no option of format {name}; {hint}")
    return kind(_validated(kind.Options, {**document, "format": name}, name))


def chosen_objects(source: Mapping[str, Any], name: str, objects: list[RawObject]) -> list[RawObject]:
    """Those that its source selects. Raises ``DataError`` where one is not to be told."""
    reader = open_source({**source, "format": name}, ())
    selection = reader.options.select
    return objects if selection is None else selection.objects(objects, always=_tables_of(reader))


def read_tables(
    reader: Format, objects: list[RawObject], open_object: Open, columns: Sequence[str] | None = None
) -> Iterator[RawPiece | Reject]:
    """What a format reads of the objects and rows that its source selects, as tables."""
    selection = reader.options.select
    if selection is None:
        yield from reader.tables(objects, open_object, columns)
        return
    condition = selection.condition
    asked = None if columns is None else (*columns, *(condition.columns if condition else ()))
    yield from selection.pieces(
        reader.tables(selection.objects(objects, always=_tables_of(reader)), open_object, asked)
    )


def read_examples(
    reader: Format, objects: list[RawObject], fetch: Fetch, *, columns: Sequence[str] = ()
) -> Iterator[Example | Reject]:
    """The same one by one."""
    selection = reader.options.select
    if selection is None:
        yield from reader.read(objects, fetch, columns=columns)
        return
    chosen = selection.objects(objects, always=_tables_of(reader))
    if selection.condition is not None and getattr(reader.options, "slice_columns", None) is not None:
        columns = (*columns, *selection.condition.columns)  # else every column travels
    yield from selection.examples(reader.read(chosen, fetch, columns=columns))


def _tables_of(reader: Format) -> tuple[str, ...]:
    named = getattr(reader.options, "labels", None)
    return (named,) if isinstance(named, str) else ()


def _validated(kind: type[SourceOptions], document: dict[str, Any], name: str) -> SourceOptions:
    literals = [one for one in get_args(kind.model_fields["format"].annotation) if isinstance(one, str)]
    # a user's class may extend a built-in one and leave its options as they are
    extended = literals[0] if literals and ":" in name else name
    try:
        made = kind.model_validate_json(
            json.dumps({**document, "format": extended})
        )  # as JSON: a list is a tuple there
        return made if extended == name else made.model_copy(update={"format": name})
    except ValidationError as exc:
        first = exc.errors()[0]
        place = ".".join(["source", *map(str, first["loc"])])
        raise ConfigurationError(f"{place}: {first['msg']}, for format {name}") from exc

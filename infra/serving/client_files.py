"""The files that a client sends: tables, lines of JSON, sequences, pictures and sounds, as deliveries hold them."""

from __future__ import annotations

import base64
import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlratchet.models.errors import DataError
from mlratchet.models.pipeline.spec import PipelineSpec
from mlratchet.models.schema.numbers import Mark, read_number
from mlratchet.models.serving.reading.written_numbers import written_number
from mlratchet.models.sources.csv import SUFFIXES
from mlratchet.models.sources.headless import names_itself
from mlratchet.models.sources.names_once import NameTwiceError, names_once
from mlratchet.models.sources.text_encoding import UTF16_MARKS

TABLES, LINES = SUFFIXES, (".jsonl", ".ndjson")
DELIMITERS = (",", ";", "\t", "|")
OTHER_TABLES = (".xlsx", ".xls", ".ods", ".feather", ".arrow")  # whose bytes the server would take for an image
Named = tuple[str, Any]  # file or file:row, and the instance


@dataclass(frozen=True, kw_only=True)
class TableWriting:
    """How the tables of a pipeline are written, as far as its file says; else UTF-8, a line of names and decimal
    points."""

    encoding: str = "utf-8-sig"
    delimiter: str | None = None  # None: as most names of columns are found
    header: tuple[str, ...] = ()
    decimals: Mapping[str, Mark] = field(default_factory=dict)  # by column
    decimal: Mark | None = None  # of every other column; None: a point
    missing: Mapping[str, Sequence[str]] = field(default_factory=dict)  # by column: cells that mean "not given"

    def is_given(self, name: str, cell: Any) -> bool:
        """Whether a row has it."""
        return cell not in (None, "") and not (isinstance(cell, str) and cell in self.missing.get(name, ()))

    @classmethod
    def of(cls, spec: PipelineSpec) -> TableWriting:
        """As a pipeline file declares it: what a delivery may be, a client's file may be, too."""
        source, schema = spec.source, spec.example_schema
        fields = schema.fields if schema is not None else {}
        said: Mapping[str, Mark] | Mark | None = getattr(source, "decimal", None)
        marks: dict[str, Mark] = dict(said) if isinstance(said, Mapping) else {}
        marks |= {name: one.decimal for name, one in fields.items() if one.decimal}
        return cls(
            encoding=getattr(source, "encoding", None) or "utf-8-sig", delimiter=getattr(source, "delimiter", None),
            header=tuple(getattr(source, "header", None) or ()), decimals=marks,
            decimal=None if isinstance(said, Mapping) else said,
            missing={name: schema.missing_in(name) for name in fields} if schema is not None else {},
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Takes:
    """What a server takes of files, as it describes itself."""

    columns: tuple[str, ...] = ()  # of a table; empty where it takes none
    words: frozenset[str] = frozenset()  # columns whose cells are no numbers
    file: str | None = None  # the field of a picture or sound; None: there are several, or none
    written: TableWriting = field(default_factory=TableWriting)


def instances_of(file: Path, takes: Takes) -> list[Named]:
    """The instances of a file: the rows of a table, sequences, the values of a JSON file, a picture or sound; also
    packed as .gz or .zst."""
    from mlratchet.infra.serving.delivered import READ, suffix_of, unpacked_bytes

    try:
        data = file.read_bytes()
    except OSError as exc:
        raise DataError(f"{file}: cannot be read: {exc.strerror}") from exc
    suffix = suffix_of(file)
    if suffix in READ:
        return rows_as_delivered(file, data, takes)
    data = unpacked_bytes(file, data)
    if suffix == ".json":
        held = value_of(data, str(file))
        if isinstance(held, dict) and set(held) == {"instances"} and isinstance(held["instances"], list):
            if not held["instances"]:
                raise DataError(f"{file}: holds no instance; expected a list of at least one")
            return [(f"{file}:{number}", one) for number, one in enumerate(held["instances"])]
        return [(str(file), held)]
    if suffix in TABLES:
        return rows_of_table(file, data, takes)
    if suffix in LINES:
        return rows_of_lines(file, data, takes)
    if suffix in OTHER_TABLES:
        raise DataError(f"{file}: {suffix[1:]} is not read here; send a .csv, .parquet or .jsonl file")
    if takes.file is None:
        raise DataError(f"{file}: a file alone is no instance of this model; send a row as a .json file, see /docs")
    return [(str(file), {takes.file: base64.b64encode(data).decode()})]


def value_of(data: bytes, where: str) -> Any:
    """Of JSON. Raises ``DataError``."""
    try:
        return json.loads(data, parse_constant=finite, parse_float=finite, object_pairs_hook=names_once)
    except (ValueError, RecursionError) as exc:
        told = f"{exc}" if isinstance(exc, NotFiniteError | NameTwiceError) else f"not JSON: {exc}"
        raise DataError(f"{where}: {told}") from exc


def rows_of_lines(file: Path, data: bytes, takes: Takes) -> list[Named]:
    """The rows of a JSONL file: of every line's object what the model has by name; null, and what the pipeline
    file calls missing, is what the row lacks. Words may be numbers, truth values or nested, as in a delivery."""
    found: list[Named] = []
    for number, line in enumerate(data.splitlines(), start=1):
        if line.strip():
            where = f"{file}:{number}"
            held = value_of(line, where)
            if not isinstance(held, dict):
                raise DataError(f"{where}: got {type(held).__name__}, expected a JSON object")
            known = {name: held[name] for name in takes.columns if takes.written.is_given(name, held.get(name))}
            words = {name: as_word(value) for name, value in known.items() if name in takes.words}
            found.append((where, known | words))
    if not found:
        raise DataError(f"{file}: holds no row; expected a JSON object per line with {', '.join(takes.columns)}")
    return found


def rows_as_delivered(file: Path, data: bytes, takes: Takes) -> list[Named]:
    """The rows of a Parquet file, and sequences, by the model's columns, as a delivery of them is read."""
    from mlratchet.infra.serving.delivered import check_sendable, rows_of_delivery

    if not takes.columns:
        raise DataError(f"{file}: is a table, and this model takes none; see /docs of its server")
    found: list[Named] = []
    others: dict[str, Any] = {}
    for where, row in rows_of_delivery(file, data):
        others |= dict.fromkeys(row)
        cells_of = {name: cell.strip() if isinstance(cell, str) else cell for name, cell in row.items()}
        known = {name: row[name] for name in takes.columns if takes.written.is_given(name, cells_of.get(name))}
        for name, cell in known.items():
            check_sendable(cell, where, name)
        found.append((where, {name: typed_cell(name, cell, takes, where) for name, cell in known.items()}))
    if not found:
        raise DataError(f"{file}: holds no row; expected {', '.join(takes.columns)}, and rows")
    if not set(others) & set(takes.columns):
        raise DataError(f"{file}: has none of the columns {', '.join(takes.columns)}; got {', '.join(others)[:200]}")
    return found


def typed_cell(name: str, cell: Any, takes: Takes, where: str) -> Any:
    """A cell that has a type, as a request has it."""
    if name in takes.words:
        return as_word(cell)
    if isinstance(cell, bool):
        return int(cell)
    if not isinstance(cell, str):
        return cell
    if cell.lstrip().startswith("["):  # a tensor that is written as JSON
        return value_of(cell.encode(), f"{where}: column {name!r}")
    return instance_of({name: cell.strip()}, takes, where)[name]


def as_word(value: Any) -> str:
    """A value of a JSONL file whose field is a word or text, as a delivery's is read."""
    if isinstance(value, str):
        return value
    whole = isinstance(value, float) and value.is_integer()
    return json.dumps(int(value) if whole else value, ensure_ascii=False)


def rows_of_table(file: Path, data: bytes, takes: Takes) -> list[Named]:
    """The rows of a CSV file by the model's columns. Other columns, as label and id, are left out; an empty cell, or
    one that the pipeline file calls missing, is a column that the row lacks. Numbers have the decimal mark that is
    declared, else a point: nothing is guessed; words are as they are."""
    columns, written = takes.columns, takes.written
    if not columns:
        raise DataError(f"{file}: is a table, and this model takes none; see /docs of its server")
    text = text_of(file, data, written.encoding)
    header = text.partition("\n")[0]
    delimiter = written.delimiter or max(DELIMITERS, key=lambda one: len(set(cells(header, one)) & set(columns)))
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, strict=True)
    found: list[Named] = []
    names: list[str] = []
    try:
        for row in reader:
            where, held = f"{file}:{reader.line_num}", [cell.strip() for cell in row]
            if not row:
                continue
            if not names:
                names, is_row = names_over(held, takes)
                if not set(names) & set(columns):
                    raise DataError(
                        f"{where}: names none of the columns {', '.join(columns)}; got {row!r:.200} with the "
                        f"delimiter {delimiter!r}: write their names there, or mend source.delimiter"
                    )
                if not is_row:
                    continue
            if len(row) != len(names):
                raise DataError(f"{where}: got {len(row)} cells, expected {len(names)}")
            cell_of = dict(zip(names, held, strict=True))
            known = {name: cell_of[name] for name in columns if written.is_given(name, cell_of.get(name))}
            found.append((where, instance_of(known, takes, where)))
    except csv.Error as exc:
        raise DataError(f"{file}:{reader.line_num}: {exc}") from exc
    if not found:
        raise DataError(f"{file}: holds no row; expected a header with {', '.join(columns)}, and rows")
    return found


def text_of(file: Path, data: bytes, encoding: str) -> str:
    """Without the mark of its encoding, which tells it where none is declared. Raises ``DataError``."""
    if encoding == "utf-8-sig" and data[:2] in UTF16_MARKS:
        encoding = "utf-16"
    try:
        return data.decode("utf-8-sig" if encoding == "utf-8" else encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as exc:
        expected = "UTF-8" if encoding == "utf-8-sig" else encoding
        raise DataError(f"{file}: is not {expected} at byte {exc.start}; save it as {expected}") from exc


def names_over(first: list[str], takes: Takes) -> tuple[list[str], bool]:
    """The names of a table's columns, by its first line, and whether that line is a row: below declared names it may
    have the inputs alone, and may name its columns all the same, as a file that is scored."""
    header = takes.written.header
    if not header or names_itself(first, header):
        return first, False
    inputs = [name for name in header if name in takes.columns]
    return inputs if len(first) == len(inputs) else list(header), True


def cells(line: str, delimiter: str) -> list[str]:
    """Of one line, without blanks and quotes."""
    return [cell.strip().strip('"') for cell in line.split(delimiter)]


class NotFiniteError(ValueError):
    """A number of a JSON file that no request can hold."""


def finite(text: str) -> float:
    """Raises ``NotFiniteError``."""
    value = float(text)
    if not math.isfinite(value):
        raise NotFiniteError(f"got {text[:50]}, expected a finite number")
    return value


def instance_of(held: Mapping[str, str], takes: Takes, where: str) -> dict[str, Any]:
    """The cells of a row as a request has them."""
    written = takes.written
    return {
        name: cell if name in takes.words else number(cell, name, where, written.decimals.get(name, written.decimal))
        for name, cell in held.items()
    }


def number(cell: str, name: str, where: str, mark: Mark | None = None) -> int | float:
    """As JSON would say it. Raises ``DataError`` for another way to write one."""
    try:
        return read_number(cell, decimal=mark) if mark == "," else written_number(cell)
    except ValueError as error:
        raise DataError(f"{where}: column {name!r}: {error}") from error

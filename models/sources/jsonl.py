"""The format `jsonl`: a JSON object per line, an example each."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from mlratchet.models.sources.base import Example, Fetch, Format, NumberOptions
from mlratchet.models.sources.columns import RESERVED, TableOptions
from mlratchet.models.sources.csv import tables_among
from mlratchet.models.sources.delimited import require
from mlratchet.models.sources.parquet import rows_as_examples
from mlratchet.models.sources.pieces import PIECE_TABLE_BYTES, WHERE, RawPiece
from mlratchet.models.sources.ranged import Open, opening_whole
from mlratchet.models.sources.record import RawObject, Reject
from mlratchet.models.sources.text_encoding import Encoding, as_utf8
from mlratchet.models.sources.unpacking import UnreadableObjectError, unpacked

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIXES = (".jsonl", ".ndjson", ".json")
LARGEST_LINE = 64 << 20  # bytes
PIECE_CELLS = 4 << 20  # rows times names of a piece: lines that each name other things make wide tables of few bytes
LARGEST_WHOLE = 2**63  # whole numbers from here on are kept as text


class JsonlOptions(TableOptions, NumberOptions):
    """A JSON object per line; also packed as .gz or .zst. `delimiter` and `quotes` mean nothing here."""

    format: Literal["jsonl"] = "jsonl"
    encoding: Encoding | None = None
    """Of every file; null: UTF-8, or UTF-16 where a file begins with its mark."""


class Jsonl(Format):
    """Every file below the prefix, in key order."""

    name = "jsonl"
    Options = JsonlOptions
    alone = SUFFIXES
    options: JsonlOptions

    def read(self, objects: list[RawObject], fetch: Fetch, *, columns: Sequence[str]) -> Iterator[Example | Reject]:
        """An example per object, its values as text: null and what is not given as an empty one."""
        for one in self.tables(objects, opening_whole(fetch), None):
            if isinstance(one, Reject):
                yield one
            else:
                there = [name for name in one.table.column_names if name != WHERE]
                self.options.check(there, one.key, columns)
                yield from rows_as_examples(one.table, self.options, columns)

    def tables(
        self, objects: list[RawObject], open_object: Open, columns: Sequence[str] | None = None
    ) -> Iterator[RawPiece | Reject]:
        """Every file in pieces; a column is of numbers, or true and false, where all its values in a piece are."""
        named = self.options.named()
        for item in (yield from tables_among(objects, SUFFIXES, self.options.prefix)):
            seen: set[str] = set()
            encoding = self.options.of_object(item.key).encoding
            try:
                with as_utf8(unpacked(open_object(item), item), item, encoding) as text:
                    for one in _pieces(text, item.key, None if columns is None else {*columns, *named}):
                        if isinstance(one, RawPiece):
                            seen |= set(one.table.column_names)
                        yield from self.options.with_names(one)
            except UnreadableObjectError as error:
                yield error.reject()
            for name in (*named, *(columns or ())) if seen else ():
                require(sorted(seen - {WHERE}), item.key, name)


def _pieces(text: BinaryIO, key: str, wanted: set[str] | None) -> Iterator[RawPiece | Reject]:
    rows: list[tuple[str, dict[str, Any]]] = []
    names: set[str] = set()
    size, number, line = 0, 0, 0
    while data := text.readline(LARGEST_LINE + 1):
        line += 1
        where = f"{key}:{line}"
        if len(data) > LARGEST_LINE:
            yield _bad(where, "cell_too_large", f"a line of more than {LARGEST_LINE >> 20} MB; shorten it")
            while data and not data.endswith(b"\n"):
                data = text.readline(LARGEST_LINE)
            continue
        if not data.strip():
            continue
        row = _parsed(data, where)
        if isinstance(row, Reject):
            yield row
            continue
        rows.append((where, {name: value for name, value in row.items() if wanted is None or name in wanted}))
        size += len(data)
        names.update(rows[-1][1])
        if size >= PIECE_TABLE_BYTES or len(rows) * len(names) >= PIECE_CELLS:
            yield RawPiece(key, number, _table(rows))
            rows, names, size, number = [], set(), 0, number + 1
    if rows:
        yield RawPiece(key, number, _table(rows))


def _parsed(data: bytes, where: str) -> dict[str, Any] | Reject:
    try:
        found = json.loads(data, object_pairs_hook=_each_name_once, parse_constant=_no_number)
    except UnicodeDecodeError as error:
        return _bad(
            where, "bad_encoding", f"bad encoding: got byte 0x{data[error.start]:02x}, expected UTF-8; convert it"
        )
    except RecursionError:
        return _bad(where, "bad_json", "nested too deeply to be read, expected one JSON object on the line")
    except ValueError as error:
        words = " ".join(str(error).split())[:200]
        if not isinstance(error, json.JSONDecodeError) and "integer string conversion" in words:
            words = f"got a number of more than {sys.get_int_max_str_digits():,} digits"
        return _bad(where, "bad_json", f"{words}, expected one JSON object on the line{_of_several_lines(data)}")
    if not isinstance(found, dict):
        words = f"got {type(found).__name__}, expected a JSON object{_of_several_lines(data)}"
        return _bad(where, "bad_json", words)
    if not found or all(value is None or value == "" for value in found.values()):
        return _bad(where, "empty_row", "every value is empty")
    for name, value in found.items():
        if name.startswith(RESERVED):
            return _bad(where, "bad_json", f"name {name!r}: names with {RESERVED} are Ratchet's own; rename it")
        if isinstance(value, str) and "\0" in value:
            return _bad(where, "nul_byte", f"value of {name!r} holds a NUL")
        if not _is_text(name) or (isinstance(value, str) and not _is_text(value)):
            return _bad(where, "bad_encoding", f"value of {name[:60]!r} holds half a character; deliver whole ones")
        if isinstance(value, float) and not math.isfinite(value):
            return _bad(where, "non_finite", f"value of {name!r} is no finite number")
    return found


def _of_several_lines(data: bytes) -> str:
    """What to do with a line that begins a document of several rows, or of several lines."""
    start = data.lstrip(b"\xef\xbb\xbf \t")
    if start.startswith(b"["):
        return "; `jq -c '.[]' FILE` writes the objects of an array so"
    return "; `jq -c . FILE` writes an object on one line" if start.strip() == b"{" else ""


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _bad(where: str, code: str, words: str) -> Reject:
    return Reject(where=where, code=code, reason=f"{where}: {words}")


def _each_name_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"name {name!r} is there twice")
        found[name] = value
    return found


def _no_number(word: str) -> Any:
    raise ValueError(f"got {word}, which is no JSON")


def _table(rows: list[tuple[str, dict[str, Any]]]) -> pa.Table:
    import pyarrow as pa

    names = list(dict.fromkeys(name for _, row in rows for name in row))
    columns = {name: _column([row.get(name) for _, row in rows]) for name in names}
    return pa.table({**columns, WHERE: pa.array([where for where, _ in rows], pa.string())})


def _column(values: list[Any]) -> pa.Array:
    import pyarrow as pa

    kinds = {type(value) for value in values if value is not None}
    if kinds == {bool}:
        return pa.array(values, pa.bool_())
    if kinds == {int} and all(value is None or -LARGEST_WHOLE <= value < LARGEST_WHOLE for value in values):
        return pa.array(values, pa.int64())
    if kinds == {float} or (kinds == {int, float} and all(value is None or abs(value) < 2**53 for value in values)):
        return pa.array([None if value is None else float(value) for value in values], pa.float64())
    return pa.array([value if value is None else _as_text(value) for value in values], pa.string())


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

"""Does an object hold anything of a person? By what is known of them: their key, the ids of their requests, and words
that stand in their records alone."""

from __future__ import annotations

import gzip
import io
import json
import re
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa
import pyarrow.parquet as pq

LEAST_LETTERS = 4  # of a key that is looked for anywhere; a shorter one only as a whole value
LEAST_WORDS = 12  # characters of a cell that says whose it is
LEAST_TELLING = 6  # characters that say of whom they are, wherever they stand
PARQUET, GZIP, ZIP = b"PAR1", b"\x1f\x8b", b"PK\x03\x04"
LETTER = rb"[0-9A-Za-z_]"
BEGINS = rb"(?:(?<!%b)|(?<=\\[nrtbf]))" % LETTER  # also behind a line's end as JSON writes it


@dataclass(frozen=True)
class Traces:
    """What to look for."""

    values: frozenset[str]
    columns: frozenset[str] = frozenset()  # that name a person: only there a number of a table is a key

    @classmethod
    def of(cls, *groups: Iterable[str], columns: Iterable[str] = ()) -> Traces:
        """Of keys, ids and texts."""
        return cls(frozenset(value for group in groups for value in group if value), frozenset(columns))

    @cached_property
    def telling(self) -> Traces:
        """Without what is so short that it stands in many places by chance."""
        return Traces(frozenset(one for one in self.values if len(one) >= LEAST_TELLING), self.columns)

    @cached_property
    def _pattern(self) -> re.Pattern[bytes]:
        forms: set[bytes] = set()
        for value in self.values:
            once = json.dumps(value)[1:-1]
            for text in (value, once, json.dumps(once)[1:-1], value.replace('"', '""')):  # JSON in JSON, a cell of CSV
                form = text.encode()
                found = re.escape(form)
                if value.isdecimal():  # 0.4711 is a measure
                    found = rb"(?<![0-9]\.)" + found + rb"(?!\.[0-9])"
                short = len(value) < LEAST_LETTERS
                forms.add(b'"' + found + b'"' if short else BEGINS + found + b"(?!%b)" % LETTER)
        return re.compile(b"|".join(sorted(forms)) or b"(?!)")

    def in_text(self, data: bytes) -> bool:
        """Whether bytes that are no container hold any of it."""
        return self._pattern.search(data) is not None

    def in_object(self, data: bytes) -> bool:
        """The same of an object of any format that we write: Parquet, archives and packed text are looked into."""
        try:
            if data.startswith(PARQUET):
                return self._in_table(pq.read_table(io.BytesIO(data)))
            if data.startswith(GZIP):
                return self.in_object(gzip.decompress(data))
            if data.startswith(ZIP):
                with zipfile.ZipFile(io.BytesIO(data)) as archive:
                    return any(self.in_object(archive.read(name)) for name in archive.namelist())
        except (pa.ArrowException, OSError, EOFError, zipfile.BadZipFile):
            return self.in_text(data)
        return self.in_text(data)

    def _in_table(self, table: pa.Table) -> bool:
        if self.in_text(json.dumps(str(table.schema.metadata)).encode()):
            return True
        for name, column in zip(table.column_names, table.columns, strict=True):
            if pa.types.is_floating(column.type) or pa.types.is_boolean(column.type):
                continue
            if pa.types.is_integer(column.type) and name not in self.columns:
                continue
            for value in column.unique().to_pylist():
                text = value if isinstance(value, str) else str(value)
                if text in self.values or self.in_text(text.encode()):
                    return True
        return False

"""Does an object hold anything of a person? By what is known of them: their key, the ids of their requests, and words
that stand in their records alone."""

from __future__ import annotations

import gzip
import io
import json
import re
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

import pyarrow as pa
import pyarrow.parquet as pq
from mlratchet.models.erasure.whose import word_of
from mlratchet.models.sources.parquet_times import EVERY_YEAR

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
    names: frozenset[str] = frozenset()  # the same in a document: a number under one of them is a key, however short
    decimal_commas: bool = False  # whether `0,4711` is a number, not two cells

    @classmethod
    def of(
        cls, *groups: Iterable[str], columns: Iterable[str] = (), names: Iterable[str] = (),
        decimal_commas: bool = False,
    ) -> Traces:  # fmt: skip
        """Of keys, ids and texts."""
        values = frozenset(value for group in groups for value in group if value)
        return cls(values, frozenset(columns), frozenset(names), decimal_commas)

    @cached_property
    def telling(self) -> Traces:
        """Without what is so short that it stands in many places by chance."""
        return replace(self, values=frozenset(one for one in self.values if len(one) >= LEAST_TELLING))

    @cached_property
    def _pattern(self) -> re.Pattern[bytes]:
        forms: set[bytes] = set()
        for value in self.values:
            once = json.dumps(value)[1:-1]
            for text in (value, once, json.dumps(once)[1:-1], value.replace('"', '""')):  # JSON in JSON, a cell of CSV
                form = text.encode()
                found = re.escape(form)
                if value.isdecimal():  # 0.4711 is a measure
                    mark = rb"[.,]" if self.decimal_commas else rb"\."
                    found = rb"(?<![0-9]" + mark + rb")" + found + rb"(?!" + mark + rb"[0-9])"
                short = len(value) < LEAST_LETTERS
                forms.add(b'"' + found + b'"' if short else BEGINS + found + b"(?!%b)" % LETTER)
            if value.isdecimal():  # as a number of JSON, or of JSON in JSON, under a name that means a person
                names = b"|".join(sorted(re.escape(json.dumps(name)[1:-1].encode()) for name in self.names))
                if names:
                    forms.add(rb'"(?:%b)\\*"\s*:\s*%b(?:\.0+)?(?![0-9.eE])' % (names, value.encode()))
        return re.compile(b"|".join(sorted(forms)) or b"(?!)")

    def in_text(self, data: bytes) -> bool:
        """Whether bytes that are no container hold any of it."""
        return self._pattern.search(data) is not None

    def in_object(self, data: bytes) -> bool:
        """The same of an object of any format that we write: Parquet, archives and packed text are looked into."""
        try:
            if data.startswith(PARQUET):
                return self._in_table(pq.read_table(io.BytesIO(data), **EVERY_YEAR))
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
            number = pa.types.is_floating(column.type) or pa.types.is_integer(column.type)
            if pa.types.is_boolean(column.type) or (number and name not in self.columns):
                continue
            for value in column.unique().to_pylist():
                text = value if isinstance(value, str) else word_of(value)
                if text in self.values or self.in_text(text.encode()):
                    return True
        return False

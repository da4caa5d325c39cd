"""What kind of field a column is, from its cells, with the reason: a proposal that a person reads and changes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from mlratchet.models.errors import DataError
from mlratchet.models.schema.cells import is_text, mask, text_of
from mlratchet.models.schema.dressed_numbers import dressed, example_of
from mlratchet.models.schema.fields import ALPHABETS, Field
from mlratchet.models.schema.nested import shape_of_lists
from mlratchet.models.schema.number_cells import read_numbers, see_numbers
from mlratchet.models.schema.numbers import TOLERATED, Mark, Seen
from mlratchet.models.schema.time_formats import UNIX, UNIX_MS
from mlratchet.models.schema.times import decide_format, iso

UNMISTAKABLE = (
    "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "?", "#N/A", "\\N", "(null)", "[NULL]", "<null>", "<NA>", "NaT",
    "#NULL!", "#DIV/0!", "#VALUE!", "#REF!", "#NUM!",
)  # fmt: skip
"""Of what is not given, as exports write it: among words, too."""
SPELLINGS = (*UNMISTAKABLE, "None", "none", "Null", "nil", "-", "--", ".")
"""The same, and what can be a word."""
CODE_NAME = re.compile(
    r"(?i)(^|[^a-z])(zip|plz|postal|postcode|code|class|type|kind|category|cluster|zone|fips|iban|ean|isbn|phone)"
)
ENTITY_NAME = re.compile(
    r"(?i)^(user|customer|client|item|movie|product|article|book|artist|track|store)[_ ]?(id|nr|no)$"
)
TIME_NAME = re.compile(r"(?i)(time|date|stamp|(^|_)at$|(^|_)ts$)")
PHRASE = r"\S\s+\S+\s+\S+\s+\S"  # four words: names of people, places and things have fewer
FEW = 20  # values of a category that are written down, and of a whole number that can be a code
MANY = 200  # values of what is still a category
NESTED = r"^(?:\{.*\}|\[.*\])$"
PICTURES = (b"RIFF", b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\0", b"MM\0*")
SOUNDS = (b"RIFF", b"fLaC", b"OggS", b"ID3")
YEARS_S = (5e8, 4.2e9)  # 1985 to 2103


@dataclass(frozen=True, kw_only=True)
class Guessed:
    """Of one column."""

    field: Field
    reason: str
    values: pa.Array  # typed where it is a number; text otherwise (N,)
    different: int
    given: int  # cells that hold something
    rows: int
    written: pa.Array | None = None  # of numbers the cells, where they are text (N,)
    open: str = ""  # what a person has to decide first; the column is no input until then
    remark: str = ""  # what a person should know of an input

    @property
    def share_given(self) -> float:
        """Of the rows."""
        return self.given / self.rows if self.rows else 0.0

    @property
    def whole(self) -> bool:
        """Whether it holds numbers without a fraction."""
        if self.field.kind != "number" or not self.given:
            return False
        given = self.values.drop_null()
        return bool(mask(pc.equal(pc.floor(given), given)).all())

    def as_text(self, name: str) -> pa.Array:
        """The cells as text, of whatever kind."""
        plain = not pa.types.is_floating(self.values.type) and not pa.types.is_nested(self.values.type)
        return text_of(name, self.values) if plain else self.values.cast(pa.string())

    def spelled(self, name: str) -> pa.Array:
        """As a row of a class has it: whole numbers of a type of their own without a fraction, text as it stands."""
        return text_of(name, self.values if self.written is None else self.written)


def kind_of(name: str, raw: pa.Array, where: pa.Array, marks: Mapping[str, Mark]) -> Guessed:
    """Of one raw column (N); `marks`: decimal marks by column where they were decided, none for an ambiguous one."""
    found = _of_text(name, raw, where, marks) if is_text(raw.type) else _of_type(name, raw)
    gaps = found.rows - found.given
    if gaps and found.given:
        words = f"{found.reason}, {_share(gaps, found.rows)} not given"
        found = replace(found, field=found.field.model_copy(update={"nullable": True}), reason=words)
    return found


def _of_text(name: str, raw: pa.Array, where: pa.Array, marks: Mapping[str, Mark]) -> Guessed:
    cells = text_of(name, raw)
    spelled = pc.unique(cells.filter(pc.is_in(cells, value_set=pa.array(SPELLINGS)))).to_pylist()
    without = text_of(name, raw, spelled)
    given = without.drop_null()
    if not len(given):
        return _nothing(len(raw), without, spelled)
    number = _number(name, without, where, marks)
    if number is not None:
        return _missing_told(number, spelled)
    time = _time(name, given, without, where)
    if time is not None:
        return _missing_told(time, spelled)
    numbers = _dressed(name, without)
    if numbers is not None:
        return _missing_told(numbers, spelled)
    spelled = [one for one in spelled if one in UNMISTAKABLE and not _is_code_of_two(one, given)]
    return _missing_told(_words(text_of(name, raw, spelled)), spelled)


def _dressed(name: str, cells: pa.Array) -> Guessed | None:
    """Numbers with something beside them; None for few, which can be words, and for codes."""
    given = cells.drop_null()
    beside = "" if CODE_NAME.search(name) or pc.count_distinct(given).as_py() <= FEW else dressed(given)
    if not beside:
        return None
    found = _told(Field(kind="text", input=False), "numbers that are not read as such", cells)
    words = (
        f"numbers with {beside}, as {example_of(given)!r}: deliver the numbers alone, or write kind: category or text"
    )
    return replace(found, open=words)


def _is_code_of_two(spelling: str, given: pa.Array) -> bool:
    """`NA` beside other pairs of capitals is a code of theirs, as Namibia is among countries."""
    return spelling == "NA" and mask(pc.match_substring_regex(given, "^[A-Z]{2}$")).mean() > 1 - TOLERATED


def _missing_told(found: Guessed, spelled: list[str]) -> Guessed:
    if not spelled:
        return found
    told = ", ".join(map(repr, spelled))
    update = {"missing": tuple(spelled), "nullable": True}
    return replace(found, field=found.field.model_copy(update=update), reason=f"{found.reason}; {told} means not given")


def _nothing(rows: int, values: pa.Array, spelled: list[str]) -> Guessed:
    found = Field(kind="category", input=False, nullable=True, missing=tuple(spelled) or None)
    return Guessed(field=found, reason="never given", values=values, different=0, given=0, rows=rows)


def _number(name: str, cells: pa.Array, where: pa.Array, marks: Mapping[str, Mark]) -> Guessed | None:
    given = cells.drop_null()
    mark = marks.get(name, "")
    values = read_numbers(cells, mark)
    readable = len(given) - (values.null_count - cells.null_count)
    if readable < (1 - TOLERATED) * len(given):
        return None
    if name not in marks:
        words = _open_mark(name, cells, where)
        return Guessed(field=Field(kind="text", input=False), reason="a number that can be read in two ways",
                       values=cells, different=pc.count_distinct(given).as_py(), given=len(given), rows=len(cells),
                       open=words)  # fmt: skip
    if _is_code(given):
        return _coded(cells, "numbers with leading zeros, so codes")
    found = replace(_plain_number(name, values, mark), written=cells)
    if found.field.kind in ("category", "entity"):
        return replace(found, values=cells)
    unread = len(given) - readable
    if unread:
        example = given.filter(pc.is_null(read_numbers(given, mark)))[0].as_py()
        found = replace(found, reason=f"{found.reason}; {unread} are none, as {example[:30]!r}")
    return found


def _open_mark(name: str, cells: pa.Array, where: pa.Array) -> str:
    seen = Seen()
    see_numbers(seen, cells, where)
    text = next((text for shape, (_, text) in seen.first.items() if shape.endswith("thousands")), "")
    return f"decimal point or comma in {name!r}, as in {text!r}? write decimal" if text else "both decimal marks"


def _is_code(given: pa.Array) -> bool:
    return bool(mask(pc.match_substring_regex(given, "^0[0-9]+$")).mean() > 0.01)


def _coded(cells: pa.Array, reason: str) -> Guessed:
    given = cells.drop_null()
    different = pc.count_distinct(given).as_py()
    return Guessed(
        field=Field(kind="category" if different <= MANY else "entity"),
        reason=f"{reason}: {different} different",
        values=cells,
        different=different,
        given=len(given),
        rows=len(cells),
    )


def _plain_number(name: str, values: pa.Array, mark: Mark) -> Guessed:
    given = values.drop_null()
    different = pc.count_distinct(given).as_py()
    least, most = pc.min(given).as_py(), pc.max(given).as_py()
    whole = bool(mask(pc.equal(pc.floor(given), given)).all())
    if TIME_NAME.search(name) and whole:
        for form, unit in ((UNIX, 1.0), (UNIX_MS, 1000.0)):
            if least >= YEARS_S[0] * unit and most <= YEARS_S[1] * unit:
                text = pc.if_else(pc.is_valid(values), values.cast(pa.int64(), safe=False).cast(pa.string()), None)
                return _told(Field(kind="time", format=form), f"seconds since 1970 ({form}), by name and size", text)
    if ENTITY_NAME.match(name) and whole and 2 <= different <= 0.5 * len(given):
        return _told(Field(kind="entity"), "whole numbers named as those of somebody or something", values)
    if CODE_NAME.search(name) and whole and different <= FEW:
        return _told(Field(kind="category"), "whole numbers named as a code", values)
    counts = whole and different <= FEW
    kind = Field(kind="number", whole=counts, decimal="," if mark == "," else None)
    span = f"{_short(least)} to {_short(most)}"
    comma = ", decimal comma" if mark == "," else ""
    words = f"whole numbers, {span}" if whole else f"numbers, {span}{comma}"
    return _told(kind, f"always {_short(least)}" if different == 1 else words, values)


def _told(kind: Field, reason: str, values: pa.Array) -> Guessed:
    given = values.drop_null()
    different = pc.count_distinct(given).as_py() if not pa.types.is_nested(values.type) else len(given)
    return Guessed(field=kind, reason=reason, values=values, different=different, given=len(given), rows=len(values))


def _time(name: str, given: pa.Array, cells: pa.Array, where: pa.Array) -> Guessed | None:
    try:
        form = decide_format(name, given, Field(kind="time"), where=where[0].as_py())
    except DataError as error:
        if "where the day is first" not in str(error):
            return None
        kind = Field(kind="text", input=False)
        return replace(_told(kind, "a date that can be read in two ways", cells), open=_short_error(error))
    return _told(Field(kind="time", format=form), f"times, as {given[0].as_py()[:30]}", cells)


def _short_error(error: DataError) -> str:
    return str(error).split(": ", 2)[-1].split(", and no other")[0] + "; write kind: time and dayfirst"


def _words(cells: pa.Array) -> Guessed:
    given = cells.drop_null()
    different = pc.count_distinct(given).as_py()
    letters = _letters(given)
    if letters is not None:
        return _told(Field(kind="letters", alphabet=letters), f"letters of {letters}", cells)
    if mask(pc.match_substring_regex(given, NESTED)).mean() >= 1 - TOLERATED and _is_json(given[0].as_py()):
        found = _told(Field(kind="text"), f"nested JSON as text, {different:,} different", cells)
        words = "holds nested JSON, which is read as a text: deliver what it holds as columns of their own"
        return replace(found, remark=f"{words}, or lists of numbers as kind: tensor")
    blanks = mask(pc.match_substring_regex(given, r"\s"))
    length = pc.mean(pc.utf8_length(given)).as_py()
    long = bool(mask(pc.match_substring(given, "\n")).any()) or length > 40
    phrases = different > MANY and bool(mask(pc.match_substring_regex(given, PHRASE)).mean() > 0.5)
    apart = blanks.mean() > 0.5 and different > max(FEW, 0.5 * len(given))
    if (long and different > 5) or apart or phrases:
        return _told(Field(kind="text"), f"text of {length:.0f} characters, {different:,} different", cells)
    repeated = different < len(given) or different == 1
    if different <= MANY and repeated and different <= max(FEW, 0.5 * len(given)):
        counts = np.asarray([one["counts"].as_py() for one in pc.value_counts(given)])
        few = different <= FEW and counts.min() >= 5
        known = tuple(sorted(pc.unique(given).to_pylist())) if few and different > 1 else None
        words = f"always {given[0].as_py()[:30]!r}" if different == 1 else f"{different} different words"
        return _told(Field(kind="category", values=known), words, cells)
    return _told(Field(kind="entity"), f"{different:,} different names", cells)


def _is_json(cell: str) -> bool:
    try:
        json.loads(cell)
    except (ValueError, RecursionError):
        return False
    return True


def _letters(given: pa.Array) -> str | None:
    """The alphabet of a column of sequences."""
    if pc.mean(pc.utf8_length(given)).as_py() < 8 or pc.min(pc.utf8_length(given)).as_py() < 4:
        return None
    upper = pc.utf8_upper(given)
    for name in ("dna", "rna"):
        if mask(pc.match_substring_regex(upper, f"^[{ALPHABETS[name]}]+$")).all():
            return name
    protein = mask(pc.match_substring_regex(given, "^[ACDEFGHIKLMNPQRSTVWYX]+$")).all()
    return "protein" if protein and pc.count_distinct(given).as_py() > 0.5 * len(given) else None


def _of_type(name: str, raw: pa.Array) -> Guessed:
    """A column of a format that has types of its own."""
    kind = raw.type
    if raw.null_count == len(raw):
        return _nothing(len(raw), pa.nulls(len(raw), pa.string()), [])
    if pa.types.is_boolean(kind):
        return _told(Field(kind="category", values=("false", "true")), "truth values", raw.cast(pa.string()))
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        found = _plain_number(name, raw.cast(pa.float64(), safe=False), "")
        whole = pa.types.is_integer(kind)
        coded = found.field.kind in ("category", "entity") and whole
        return replace(found, values=raw.cast(pa.string())) if coded else found
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        first = raw.drop_null()[0].as_py()
        told = iso(first) if pa.types.is_timestamp(kind) and first.tzinfo else str(first)
        return _told(Field(kind="time", format="iso"), f"times, as {told}", raw.cast(pa.string()))
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return _bytes(raw)
    shape = shape_of_lists(raw)
    if shape is not None:
        return _told(Field(kind="tensor", shape=shape), f"lists of {' x '.join(map(str, shape))} numbers", raw)
    raise DataError(f"column {name!r}: its type is {kind}, which no kind of field is read from; leave it out")


def _bytes(raw: pa.Array) -> Guessed:
    first = raw.drop_null()[0].as_py()
    for kind, marks in (("image", PICTURES), ("audio", SOUNDS)):
        if first.startswith(marks) and (first[8:12] == b"WEBP") == (kind == "image" and first[:4] == b"RIFF"):
            return _told(Field.model_validate({"kind": kind}), f"the bytes of an {kind} file", raw)
    raise DataError(f"bytes that begin with {first[:4]!r} are neither a picture nor a sound that is known")


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _share(part: int, whole: int) -> str:
    share = part / whole
    return f"{share:.0%}" if share >= 0.01 else f"{part:,} of {whole:,}"

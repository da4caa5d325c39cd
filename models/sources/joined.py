"""The format `joined`: two or more formats joined by id, such as a table beside pictures, sounds or other tables.

The first part is read in pieces; the others are held (`partners.py`), on disk where they are large. Columns are joined
by name, rows by the text of the id; what has no partner is set aside, each once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

from mlratchet.models.config import StrictModel
from mlratchet.models.errors import ConfigurationError, DataError
from mlratchet.models.nearest import nearest_hint
from mlratchet.models.sources.base import Example, Fetch, Format, NumberOptions, SourceOptions
from mlratchet.models.sources.formats import FORMATS, options_given
from mlratchet.models.sources.parquet import as_text
from mlratchet.models.sources.partners import Partner, Partners, Row
from mlratchet.models.sources.pieces import ID, WHERE, RawPiece
from mlratchet.models.sources.ranged import Open
from mlratchet.models.sources.record import RawObject, Reject
from pydantic import ConfigDict, Field

if TYPE_CHECKING:
    import pyarrow as pa


class JoinedPart(StrictModel):
    """One of what is joined: a format with its own options beside these."""

    model_config = ConfigDict(extra="allow")
    below: str = Field(min_length=1)
    """Folder or beginning of names below the prefix of the source; the keys of the part begin behind it."""
    format: str
    """A built-in format."""
    id: str | None = None
    """The column that holds the id, `@stem` (the name of a file without folder and suffix) or `@key` (its key below
    `below`). null: the column that `by` names, or `@stem` where the part has none."""


class JoinedOptions(NumberOptions):
    """Which parts there are, and what joins them."""

    format: Literal["joined"] = "joined"
    by: str = "id"
    """The column that says which rows belong together; it is the id of an example."""
    parts: tuple[JoinedPart, ...] = Field(default=(), strict=False)
    """Two or more. The first says which examples there are."""
    alone: Literal["set_aside", "keep"] = "set_aside"
    """What happens to a row of the first part without a partner: it is set aside, or its other columns are empty."""
    label_column: str = "label"
    group_column: str | None = None
    """Records of one group stay on one side of the split."""
    slice_columns: tuple[str, ...] | None = Field(default=None, strict=False)
    """Columns that travel with every row, for slices; null: all."""


class Joined(Format):
    """The rows of the first part, each with the columns of its partners."""

    name = "joined"
    Options = JoinedOptions
    options: JoinedOptions

    def __init__(self, options: SourceOptions) -> None:
        super().__init__(options)
        if len(self.options.parts) < 2:
            raise ConfigurationError(
                "source.parts: two or more parts are joined, e.g. [{below: tables/, format: csv}, ...]"
            )
        self._formats = [_format_of_part(part, self.options.prefix) for part in self.options.parts]

    def read(self, objects: list[RawObject], fetch: Fetch, *, columns: Sequence[str]) -> Iterator[Example | Reject]:
        """An example per row of the first part."""
        partners = Partners()
        yield from self._filled(partners, objects, fetch)
        part, options = self.options.parts[0], self.options
        if partners.on_disk:
            read = (one for one in self._examples(0, objects, fetch) if not isinstance(one, Reject))
            partners.expect(_id_of(one, part, options.by) for one in read)
        for one in self._examples(0, objects, fetch):
            if isinstance(one, Reject):
                yield one
                continue
            identity = _id_of(one, part, options.by)
            (found,) = partners.of([identity])
            values = self._with_partners(identity, one.where, dict(one.values), partners, found)
            if isinstance(values, Reject):
                yield values
                continue
            for name in (*columns, *((options.group_column,) if options.group_column else ())):
                if name not in values:
                    hint = nearest_hint(name, list(values), otherwise="name another column")
                    raise DataError(f"{one.where}: column {name!r} is missing from what was joined; {hint}")
            travelling = options.slice_columns
            yield replace(
                one,
                values=values,
                id=values[options.by],
                label=values.get(options.label_column, one.label),
                group=values[options.group_column] if options.group_column else one.group,
                columns={
                    n: v for n, v in values.items() if (n in travelling if travelling is not None else n not in columns)
                },
            )
        yield from _unasked(partners)

    def tables(
        self,
        objects: list[RawObject],
        open_object: Open,
        columns: Sequence[str] | None = None,  # noqa: ARG002
    ) -> Iterator[RawPiece | Reject]:
        """The pieces of the first part with the columns of the others, as text."""

        def fetch(item: RawObject) -> bytes:
            with open_object(item) as source:
                return source.read()

        partners = Partners()
        yield from self._filled(partners, objects, fetch)
        part, below = self.options.parts[0], self.options.parts[0].below
        inside, opening = _below(objects, below), _opening(open_object, below)
        if partners.on_disk:
            pieces = self._formats[0].tables(inside, opening, None)
            read = (one for one in pieces if not isinstance(one, Reject))
            partners.expect(name for one in read for name in _ids_of(one.table, part, self.options.by, one.key))
        for one in self._formats[0].tables(inside, opening, None):
            if isinstance(one, Reject):
                yield _renamed(one, below)
            else:
                yield from self._joined_piece(one, part, partners)
        yield from _unasked(partners)

    def _joined_piece(self, one: RawPiece, part: JoinedPart, partners: Partners) -> Iterator[RawPiece | Reject]:
        import pyarrow as pa

        table = one.table
        ids = _ids_of(table, part, self.options.by, one.key)
        places = [f"{part.below}{where}" for where in table[WHERE].to_pylist()]
        rows: list[Mapping[str, str]] = []
        kept: list[int] = []
        own = _cells_of(table, {name for other in partners.parts for name in other.columns})
        found = partners.of(ids)
        for number, (identity, where) in enumerate(zip(ids, places, strict=True)):
            cells_here = {name: cells[number] for name, cells in own.items()}
            values = self._with_partners(identity, where, cells_here, partners, found[number])
            if isinstance(values, Reject):
                yield values
            else:
                rows.append(values)
                kept.append(number)
        if not kept:
            return
        table = table.drop_columns([WHERE]).take(pa.array(kept, pa.int64()))
        for name in dict.fromkeys(name for row in rows for name in row):
            cells = pa.array([row.get(name) for row in rows], pa.string())
            if name in table.column_names:
                table = table.drop_columns([name])
            table = table.append_column(name, cells)
        table = table.append_column(WHERE, pa.array([places[number] for number in kept], pa.string()))
        yield RawPiece(f"{part.below}{one.key}", one.number, table)

    def _with_partners(
        self,
        identity: str,
        where: str,
        values: dict[str, str],
        partners: Partners,
        found: Sequence[Partner | None],
    ) -> dict[str, str] | Reject:
        if not identity:
            return Reject(
                where=where,
                code="missing_id",
                reason=f"{where}: no id to join by ({self.options.by})",
                field=self.options.by,
            )
        values[self.options.by] = identity
        for number, partner in enumerate(found):
            if partner is None:
                if self.options.alone == "keep":
                    continue
                words = f"{where}: id {identity[:60]!r} has no partner in {partners.parts[number].name}"
                return Reject(where=where, code="no_partner", reason=words)
            partners.ask(number, identity)
            for name, cell in partner[1].items():
                if name != self.options.by and values.setdefault(name, cell) != cell:
                    words = f"{where}: column {name!r} says {values[name][:60]!r} here, {cell[:60]!r} in {partner[0]}"
                    return Reject(where=where, code="contradiction", reason=words)
        return values

    def _filled(self, partners: Partners, objects: list[RawObject], fetch: Fetch) -> Iterator[Reject]:
        """The parts behind the first one; what of them cannot be joined."""
        for number, part in enumerate(self.options.parts[1:], start=1):
            yield from partners.fill(part.below, self._rows(number, part, objects, fetch))

    def _rows(self, number: int, part: JoinedPart, objects: list[RawObject], fetch: Fetch) -> Iterator[Row | Reject]:
        for one in self._examples(number, objects, fetch):
            identity = "" if isinstance(one, Reject) else _id_of(one, part, self.options.by)
            if isinstance(one, Reject):
                yield one
            elif not identity:
                yield Reject(where=one.where, code="missing_id", reason=f"{one.where}: no id to join by")
            else:
                yield identity, one.where, {name: as_text(cell) for name, cell in one.values.items()}

    def _examples(self, number: int, objects: list[RawObject], fetch: Fetch) -> Iterator[Example | Reject]:
        below = self.options.parts[number].below
        for one in self._formats[number].read(_below(objects, below), _fetching(fetch, below), columns=()):
            yield _renamed(one, below)


def _format_of_part(part: JoinedPart, prefix: str) -> Format:
    if part.format not in FORMATS or part.format == "joined":
        known = [name for name in FORMATS if name != "joined"]
        raise ConfigurationError(f"source.parts: unknown format {part.format!r}; {nearest_hint(part.format, known)}")
    return options_given({**(part.model_extra or {}), "prefix": f"{prefix}{part.below}"}, part.format)


def _below(objects: Sequence[RawObject], below: str) -> list[RawObject]:
    found = [replace(item, key=item.key.removeprefix(below)) for item in objects if item.key.startswith(below)]
    if not found:
        raise DataError(f"{below}: no object begins so; correct source.parts or deliver it")
    return found


def _fetching(fetch: Fetch, below: str) -> Fetch:
    return lambda item: fetch(replace(item, key=f"{below}{item.key}"))


def _opening(open_object: Open, below: str) -> Open:
    return lambda item: open_object(replace(item, key=f"{below}{item.key}"))


def _renamed(one: Any, below: str) -> Any:
    if isinstance(one, Reject):  # its reason begins with a file of the part
        return replace(one, where=f"{below}{one.where}", reason=f"{below}{one.reason}")
    return replace(one, where=f"{below}{one.where}")


def _id_of(one: Example, part: JoinedPart, by: str) -> str:
    item = one.picture or one.sound
    chosen = part.id or (by if by in one.values else "@stem")
    if chosen.startswith("@"):
        key = item.key if item is not None else (one.id or "")
        return _stem(key) if chosen == "@stem" else key
    return as_text(one.values.get(chosen))


def _ids_of(table: pa.Table, part: JoinedPart, by: str, key: str) -> list[str]:
    chosen = part.id or (by if by in table.column_names else "@stem")
    name = ID if chosen.startswith("@") else chosen
    if name not in table.column_names:
        hint = nearest_hint(chosen, table.column_names, otherwise="name another")
        raise DataError(f"{part.below}{key}: no column {chosen!r} to join by; {hint}")
    cells = [as_text(cell) for cell in table[name].to_pylist()]
    return [_stem(cell) for cell in cells] if chosen == "@stem" else cells


def _cells_of(table: pa.Table, names: set[str]) -> dict[str, list[str]]:
    """The columns that both sides have, as text."""
    return {name: [as_text(cell) for cell in table[name].to_pylist()] for name in table.column_names if name in names}


def _stem(key: str) -> str:
    return PurePosixPath(key).name.partition(".")[0]


def _unasked(partners: Partners) -> Iterator[Reject]:
    for identity, where in partners.unasked():
        yield Reject(where=where, code="no_partner", reason=f"{where}: id {identity[:60]!r} has no partner")

"""The rows that are joined to others by id: in memory while they are few, else in DuckDB, which spills to the disk.

There the ids of the first part are put beside them first, so that all is joined once and read in order.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlratchet.models.ports.temporary import folder_for
from mlratchet.models.sources.record import Reject

if TYPE_CHECKING:
    import duckdb

HELD_BYTES = 64 << 20  # of the cells of all parts together, in memory
MEMORY = "256MB"  # of DuckDB
BATCH = 8_192  # rows that go to it, and come from it, at once
ENTRY_BYTES = 200  # of Python's around the cells of a row
Partner = tuple[str, Mapping[str, str]]  # where it is, and its cells
Row = tuple[str, str, Mapping[str, str]]  # id, where, cells


@dataclass
class PartnerPart:
    """What one part gives to be joined."""

    name: str
    columns: set[str] = field(default_factory=set)  # of all its rows
    rows: dict[str, Partner] = field(default_factory=dict)  # by id; empty where they are on disk
    asked: set[str] = field(default_factory=set)  # likewise


class Partners:
    """The parts, filled one after the other, then asked for the partners of the rows of the first one, in order."""

    def __init__(self) -> None:
        self.parts: list[PartnerPart] = []
        self._bytes = 0
        self._disk: _Disk | None = None

    @property
    def on_disk(self) -> bool:
        """Whether the ids that will be asked for have to be told beforehand, by `expect`."""
        return self._disk is not None

    def fill(self, name: str, rows: Iterable[Row | Reject]) -> Iterator[Reject]:
        """One more part; gives its rejects, and what of it comes twice."""
        part = PartnerPart(name)
        self.parts.append(part)
        if self._disk is not None:
            self._disk.begin(len(self.parts) - 1)
        for one in rows:
            if isinstance(one, Reject):
                yield one
                continue
            identity, where, cells = one
            part.columns.update(cells)
            if self._disk is not None:
                self._disk.add(len(self.parts) - 1, one)
            elif identity in part.rows:
                yield _twice(where, identity, part.rows[identity][0])
            else:
                part.rows[identity] = (where, cells)
                self._bytes += ENTRY_BYTES + len(identity) + sum(map(len, cells.values()))
                if self._bytes > HELD_BYTES:
                    self._to_disk()
        if self._disk is not None:
            yield from self._disk.once(len(self.parts) - 1)

    def _to_disk(self) -> None:
        self._disk = _Disk()
        for number, part in enumerate(self.parts):
            self._disk.begin(number)
            for identity, (where, cells) in part.rows.items():
                self._disk.add(number, (identity, where, cells))
            if part is not self.parts[-1]:
                list(self._disk.once(number))  # nothing: each is there once
            part.rows = {}

    def expect(self, ids: Iterable[str]) -> None:
        """All that will be asked for, in order, where the parts are on disk."""
        assert self._disk is not None, "asked of parts on disk alone"
        self._disk.expect(ids, len(self.parts))

    def of(self, ids: Sequence[str]) -> list[list[Partner | None]]:
        """The partners of the next rows, one of every part; None where there is none."""
        if self._disk is not None:
            return self._disk.partners(len(ids))
        return [[part.rows.get(identity) for part in self.parts] for identity in ids]

    def ask(self, number: int, identity: str) -> None:
        """A row has taken its partner of a part."""
        if self._disk is not None:
            self._disk.ask(number, identity)
        else:
            self.parts[number].asked.add(identity)

    def unasked(self) -> Iterator[tuple[str, str]]:
        """Id and place of what no row has taken."""
        for number, part in enumerate(self.parts):
            if self._disk is not None:
                yield from self._disk.unasked(number)
            else:
                yield from ((i, where) for i, (where, _) in part.rows.items() if i not in part.asked)


def _twice(where: str, identity: str, first: str) -> Reject:
    words = f"{where}: id {identity[:60]!r} is there twice; the first ({first}) is kept"
    return Reject(where=where, code="duplicate_id", reason=words)


class _Disk:
    """A database in a folder of its own, gone with the last use."""

    def __init__(self) -> None:
        import duckdb

        self._folder = folder_for("join")
        self._base: duckdb.DuckDBPyConnection = duckdb.connect(
            str(Path(self._folder.name, "parts")),
            config={
                "memory_limit": MEMORY, "threads": 1, "temp_directory": self._folder.name,
                "preserve_insertion_order": False, "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
            },
        )  # fmt: skip
        self._waiting: dict[str, list[tuple[Any, ...]]] = {}
        self._number = 0
        self._joined: Iterator[tuple[Any, ...]] = iter(())

    def begin(self, number: int) -> None:
        """A part begins."""
        for table in (f"all_{number}", f"asked_{number}"):
            columns = "n BIGINT, id VARCHAR, place VARCHAR, cells VARCHAR" if table.startswith("all") else "id VARCHAR"
            self._base.execute(f"CREATE TABLE {table} ({columns})")

    def add(self, number: int, row: Row) -> None:
        """The next row of a part."""
        identity, where, cells = row
        self._number += 1
        self._put(f"all_{number}", (self._number, identity, where, json.dumps(dict(cells), ensure_ascii=False)))

    def _put(self, table: str, row: tuple[Any, ...]) -> None:
        waiting = self._waiting.setdefault(table, [])
        waiting.append(row)
        if len(waiting) >= BATCH:
            self._flush(table)

    def _flush(self, table: str) -> None:
        import pyarrow as pa

        if waiting := self._waiting.pop(table, []):
            columns = [pa.array(column) for column in zip(*waiting, strict=True)]
            batch = pa.table(columns, names=[str(place) for place in range(len(columns))])
            self._base.register("batch", batch)
            self._base.execute(f"INSERT INTO {table} SELECT * FROM batch")  # noqa: S608 - a name of ours
            self._base.unregister("batch")

    def once(self, number: int) -> Iterator[Reject]:
        """A part is complete: the first row of every id is kept; gives the others."""
        self._flush(f"all_{number}")
        self._base.execute(
            f"CREATE TABLE part_{number} AS SELECT id, min(n) AS n, arg_min(place, n) AS place, "  # noqa: S608 - as above
            f"arg_min(cells, n) AS cells FROM all_{number} GROUP BY id"
        )
        again = self._rows(
            f"SELECT a.place, a.id, p.place FROM all_{number} a JOIN part_{number} p ON a.id = p.id AND a.n > p.n "  # noqa: S608 - as above
            "ORDER BY a.n"
        )
        yield from (_twice(where, identity, first) for where, identity, first in again)
        self._base.execute(f"DROP TABLE all_{number}")

    def expect(self, ids: Iterable[str], parts: int) -> None:
        """See `Partners.expect`."""
        self._base.execute("CREATE TABLE expected (n BIGINT, id VARCHAR)")
        for n, identity in enumerate(ids):
            self._put("expected", (n, identity))
        self._flush("expected")
        wanted = ", ".join(f"p{number}.place, p{number}.cells" for number in range(parts))
        joins = " ".join(f"LEFT JOIN part_{number} p{number} ON e.id = p{number}.id" for number in range(parts))
        self._joined = self._rows(f"SELECT {wanted} FROM expected e {joins} ORDER BY e.n")  # noqa: S608 - as above

    def _rows(self, query: str) -> Iterator[tuple[Any, ...]]:
        found = self._base.cursor().execute(query)
        while some := found.fetchmany(BATCH):
            yield from some

    def partners(self, count: int) -> list[list[Partner | None]]:
        """Of the next rows."""
        found: list[list[Partner | None]] = []
        for _ in range(count):
            row = next(self._joined)
            pairs = zip(row[::2], row[1::2], strict=True)
            found.append([None if place is None else (place, json.loads(cells)) for place, cells in pairs])
        return found

    def ask(self, number: int, identity: str) -> None:
        """See `Partners.ask`."""
        self._put(f"asked_{number}", (identity,))

    def unasked(self, number: int) -> Iterator[tuple[str, str]]:
        """See `Partners.unasked`."""
        self._flush(f"asked_{number}")
        yield from self._rows(
            f"SELECT id, place FROM part_{number} p ANTI JOIN asked_{number} a ON p.id = a.id ORDER BY p.n"  # noqa: S608 - as above
        )

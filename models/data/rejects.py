"""What was set aside of a delivery, however much: in the order in which it was read, on disk beyond some thousands."""

from __future__ import annotations

import heapq
import json
import os
import tempfile
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import IO, TYPE_CHECKING, overload

from mlratchet.models.sources.record import Reject
from mlratchet.models.tensors.words import same_words

if TYPE_CHECKING:
    import pyarrow as pa

HELD = 20_000  # in memory
AT_ONCE = 1 << 20  # bytes that are read of the file
BEHIND_ALL = 1 << 62
Numbered = tuple[int, Reject]


class Rejects(Sequence[Reject]):
    """Added one after the other; those that a table holds are merged with them."""

    def __init__(self, scratch: Path | None = None) -> None:
        """`scratch`: where a file may be; None: where temporary files are."""
        self._scratch = scratch
        self._held: list[Numbered] = []
        self._file: IO[bytes] | None = None
        self._count = 0
        self.tables: list[Duplicates] = []
        self._kept: object = None

    def add(self, one: Reject, order: int = BEHIND_ALL) -> None:
        """One more. `order`: the number of the record that it was read before; never smaller than the last one's."""
        self._count += 1
        self._held.append((order, one))
        if len(self._held) >= HELD:
            if self._file is None:
                self._file = tempfile.TemporaryFile(dir=self._scratch)  # noqa: SIM115 - as long as this is
            lines = [json.dumps([number, *astuple(reject)]) for number, reject in self._held]
            self._file.seek(0, os.SEEK_END)
            self._file.write("".join(f"{line}\n" for line in lines).encode())
            self._file.flush()
            self._held = []

    def extend(self, others: Iterable[Reject]) -> None:
        """Behind all that there are."""
        for one in others:
            self.add(one)

    def merge(self, table: Duplicates) -> None:
        """These, too, each in its place."""
        self.tables.append(table)
        self._count += len(table)

    def beside(self, files: object) -> None:
        """What tables lie in is there as long as this is."""
        self._kept = files

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Reject]:
        # of one order what was added comes first: it was read before the record that a table refuses
        for _, one in heapq.merge(self._added(), *self.tables, key=lambda numbered: numbered[0]):
            yield one

    @overload
    def __getitem__(self, index: int) -> Reject: ...
    @overload
    def __getitem__(self, index: slice) -> list[Reject]: ...
    def __getitem__(self, index: int | slice) -> Reject | list[Reject]:
        if isinstance(index, slice):
            places = range(*index.indices(len(self)))
            wanted = dict.fromkeys(places)
            found = {place: one for place, one in self._up_to(max(places, default=-1)) if place in wanted}
            return [found[place] for place in places]
        place = index + len(self) if index < 0 else index
        if not 0 <= place < len(self):
            raise IndexError(f"reject {index} of {len(self)}")
        *_, (_, found_one) = self._up_to(place)
        return found_one

    def _up_to(self, last: int) -> Iterator[tuple[int, Reject]]:
        return zip(range(last + 1), self, strict=False)

    def __eq__(self, other: object) -> bool:
        return same_words(self, other)

    __hash__ = None  # type: ignore[assignment]  # as a list

    def _added(self) -> Iterator[Numbered]:
        yield from self._written()
        yield from list(self._held)

    def _written(self) -> Iterator[Numbered]:
        if self._file is None:
            return
        at, rest = 0, b""
        while part := os.pread(self._file.fileno(), AT_ONCE, at):  # several may read at once
            at += len(part)
            *lines, rest = (rest + part).split(b"\n")
            for line in lines:
                number, where, code, reason, records, field, value = json.loads(line)
                yield number, Reject(where=where, code=code, reason=reason, records=records, field=field, value=value)


class Without(Collection[Reject]):
    """All but those of some rules."""

    def __init__(self, rejects: Collection[Reject], codes: Collection[str]) -> None:
        self._rejects, self._codes = rejects, codes
        self._count = sum(1 for _ in self)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Reject]:
        return (one for one in self._rejects if one.code not in self._codes)

    def __contains__(self, one: object) -> bool:
        return any(one == mine for mine in self)


class Duplicates:
    """Records whose id another has before them, in the order in which they were read."""

    def __init__(self, table: pa.Table | Path, rows: int) -> None:
        """`table`, or the file that holds it: of columns order, id, where, kept (the place of the other one)."""
        self._table, self._rows = table, rows

    def __len__(self) -> int:
        return self._rows

    def __iter__(self) -> Iterator[Numbered]:
        from mlratchet.models.data.records import opened

        table = opened(self._table) if isinstance(self._table, Path) else self._table
        for batch in table.to_batches(max_chunksize=1024):
            for one in batch.to_pylist():
                where = one["where"] or one["id"]
                first = f" ({one['kept']})" if one["kept"] else ""
                words = f"{where}: id {one['id']!r} is there twice; the first{first} is kept"
                yield one["order"], Reject(where=where, code="duplicate_id", reason=words)

"""Shards that are mapped from files: the rows of a side, whatever its size, in the memory of what is looked at.

A mapping holds a shared lock on its file, so nobody removes the copy while its rows are read.
"""

from __future__ import annotations

import fcntl
import json
import math
import mmap
import os
import resource
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np
from mlratchet.models.data.dataset import ShardRef
from mlratchet.models.errors import SecurityError
from mlratchet.models.ports.local_files import LocalCopies
from mlratchet.models.ports.storage import StorageError
from mlratchet.models.tensors.named import Array, Inputs
from mlratchet.models.tensors.words import Words, same_words

TRIES = 8  # to map a copy before somebody makes room of it
MOST_HEADER = 100 << 20  # bytes, as safetensors itself allows
MOST_FILES = 32_768  # a kernel has 65,530 mappings for a process
TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1",
         "U8": "|u1", "U16": "<u2", "U32": "<u4", "U64": "<u8", "BOOL": "|b1"}  # fmt: skip


class MappedRows(NamedTuple):
    """Of one shard; nothing of it is read before somebody looks."""

    inputs: Inputs
    y: Array
    about: Array  # bytes of the JSON with ids and columns
    size_bytes: int  # of the file


class GoneError(StorageError):
    """The copy was removed between two looks."""


def map_arrays(file: Path, *, at_random: bool = False) -> dict[str, Array]:
    """The arrays of a safetensors file by name, read-only views of its mapping. `at_random`: little of it is looked at
    at a time, anywhere.

    Raises ``GoneError`` where the file was removed, ``SecurityError`` for what is no such file.
    """
    try:
        source = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise GoneError(f"{file}: is gone") from error
    try:
        fcntl.flock(source, fcntl.LOCK_SH)  # the mapping has a copy of the descriptor, and so keeps the lock
        about = os.fstat(source)
        if not about.st_nlink:
            raise GoneError(f"{file}: is gone")
        if about.st_size < 8:
            raise SecurityError(f"{file}: {about.st_size} bytes are no shard")
        mapped = mmap.mmap(source, 0, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ)
        if at_random and hasattr(os, "posix_fadvise"):
            # where memory is short, a look brings in its page alone: else 32 of them push out what others look at;
            # where it is not, all of the file is there before, in order
            mapped.madvise(mmap.MADV_RANDOM)
            os.posix_fadvise(source, 0, 0, os.POSIX_FADV_WILLNEED)
    finally:
        os.close(source)
    try:
        return _arrays_of(mapped)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SecurityError(f"{file}: is no shard: {error}") from error


def _arrays_of(mapped: mmap.mmap) -> dict[str, Array]:
    size = int.from_bytes(mapped[:8], "little")
    if not 0 < size <= min(MOST_HEADER, len(mapped) - 8):
        raise ValueError(f"a header of {size} bytes in {len(mapped)}")
    found = {}
    for name, one in json.loads(mapped[8 : 8 + size]).items():
        if name == "__metadata__":
            continue
        shape, (at, end) = tuple(map(int, one["shape"])), map(int, one["data_offsets"])
        kind = np.dtype(TYPES[one["dtype"]])
        if min(shape, default=0) < 0 or at < 0 or end - at != math.prod(shape) * kind.itemsize:
            raise ValueError(f"{name}: {end - at} bytes for {one['dtype']} {list(shape)}")
        if 8 + size + end > len(mapped):
            raise ValueError(f"{name}: ends behind the file")
        if at == end:  # an empty array may stand at the end of the file
            found[name] = np.zeros(shape, kind)
        else:
            found[name] = np.frombuffer(mapped, kind, math.prod(shape), offset=8 + size + at).reshape(shape)
    return found


def most_files() -> int:
    """That this process may have open: as many as it may allow itself."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(MOST_FILES, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return max(soft, wanted)


class MappedSide:
    """The shards of one side, each mapped when it is looked at. Goes to other processes by its names alone."""

    def __init__(
        self, files: LocalCopies, refs: Sequence[ShardRef], *, most_open: int, at_random: bool = False
    ) -> None:
        """`most_open`: shards that are mapped at once; a copy is kept for each for so long. `at_random`: see
        `look_at_random`."""
        self._files, self._refs, self._most_open, self._at_random = files, tuple(refs), most_open, at_random
        self.ends = np.cumsum([ref.rows for ref in refs], dtype=np.int64)
        self._open: OrderedDict[int, MappedRows] = OrderedDict()
        self._lock = threading.Lock()

    def __reduce__(self) -> Any:
        return _side, (self._files, self._refs, self._most_open, self._at_random)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Rows of each shard."""
        return tuple(ref.rows for ref in self._refs)

    def keep(self, most_open: int) -> None:
        """So many shards may be looked at by turns, as far as this process may have files open."""
        self._most_open = max(2, min(most_open, most_files() // 2))

    def look_at_random(self, at_random: bool) -> None:
        """Whether small rows are looked at in an order that has nothing to do with their places in the files."""
        with self._lock:
            if at_random != self._at_random:
                self._at_random = at_random
                self._open.clear()

    def rows(self, number: int) -> MappedRows:
        """Of one shard, in the order of the manifest."""
        with self._lock:
            if number in self._open:
                self._open.move_to_end(number)
                return self._open[number]
            while len(self._open) >= self._most_open:
                self._open.popitem(last=False)
            found = self._open[number] = self._mapped(self._refs[number])
            return found

    def _mapped(self, ref: ShardRef) -> MappedRows:
        for _ in range(TRIES):
            file = self._files.file(ref.key, ref.sha256)
            try:
                arrays = map_arrays(file, at_random=self._at_random)
            except GoneError:
                continue
            if "y" not in arrays or "about" not in arrays:
                raise SecurityError(f"{ref.key}: is no shard: it has no y, or no about")
            found = MappedRows(Inputs.from_arrays(arrays), arrays["y"], arrays["about"], file.stat().st_size)
            if not len(found.inputs) == len(found.y) == ref.rows:
                raise SecurityError(f"{ref.key}: holds {len(found.y)} rows, and its dataset says {ref.rows}")
            return found
        raise StorageError(
            f"{ref.key}: its copy was removed {TRIES} times before it could be read: others need the room; raise "
            "RATCHET_SHARD_CACHE_BYTES, or train less at a time"
        )

    def inputs(self, number: int) -> Inputs:
        """See `Pieces`."""
        return self.rows(number).inputs

    def targets(self, number: int) -> Array:
        """Of one shard."""
        return self.rows(number).y

    def size_bytes(self, number: int) -> int:
        """That one shard takes on the disk."""
        return self.rows(number).size_bytes

    def about(self, number: int) -> dict[str, Any]:
        """Ids and columns of a shard's rows."""
        told: dict[str, Any] = json.loads(self.rows(number).about.tobytes())
        return told

    def ahead(self, numbers: Sequence[int]) -> None:
        """These shards are looked at soon: begin to download them."""
        self._files.ahead([(self._refs[number].key, self._refs[number].sha256) for number in numbers])


def _side(files: LocalCopies, refs: Sequence[ShardRef], most_open: int, at_random: bool) -> MappedSide:
    return MappedSide(files, refs, most_open=most_open, at_random=at_random)


class Told:
    """What is told of the rows of a side in words; the words of one shard are held at a time."""

    def __init__(self, side: MappedSide) -> None:
        self.side = side
        self._number, self._about = -1, dict[str, Any]()

    def ids(self, number: int) -> list[str]:
        """Of one shard."""
        found: list[str] = self._told(number)["ids"]
        return found

    def column(self, number: int, name: str) -> list[str]:
        """Of one shard; empty words where its rows have no such column."""
        about = self._told(number)
        found: list[str] = about["columns"].get(name) or [""] * len(about["ids"])
        return found

    def names(self) -> list[str]:
        """Of the columns that any row has: every shard is looked at."""
        return sorted({name for number in range(len(self.side.ends)) for name in self._told(number)["columns"]})

    def _told(self, number: int) -> dict[str, Any]:
        if number != self._number:
            self._number, self._about = number, self.side.about(number)
        return self._about


class ShardedWords(Sequence[str]):
    """The ids of all rows, or one column, as a list. Walked through, they are read from one shard after the other; who
    asks for some of them makes them be held, compactly."""

    def __init__(self, told: Told, column: str | None = None) -> None:
        self._told, self._column = told, column
        self._held: Words | None = None

    def __len__(self) -> int:
        return int(self._told.side.ends[-1])

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if self._held is None:
            self._held = Words(iter(self))
        return self._held[index]

    def __iter__(self) -> Iterator[str]:
        if self._held is not None:
            yield from self._held
            return
        for number in range(len(self._told.side.ends)):
            yield from self._told.ids(number) if self._column is None else self._told.column(number, self._column)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.asarray(list(self), dtype=dtype)

    def __eq__(self, other: object) -> bool:
        return same_words(self, other)

    __hash__ = None  # type: ignore[assignment]  # as a list


class ShardedColumns(Mapping[str, Sequence[str]]):
    """Columns by name. Which there are is looked up when somebody asks."""

    def __init__(self, told: Told) -> None:
        self._told = told
        self._names: list[str] | None = None
        self._columns: dict[str, ShardedWords] = {}

    def _known(self) -> list[str]:
        if self._names is None:
            self._names = self._told.names()
        return self._names

    def __getitem__(self, name: str) -> Sequence[str]:
        if name not in self._known():
            raise KeyError(name)
        return self._columns.setdefault(name, ShardedWords(self._told, name))

    def __iter__(self) -> Iterator[str]:
        return iter(self._known())

    def __len__(self) -> int:
        return len(self._known())

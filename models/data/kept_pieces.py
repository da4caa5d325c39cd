"""What was read of an object is kept: another delivery that holds the same object does not read it again.

Objects that a format reads each by itself are read in groups, whose pieces of records lie under `pieces/<sha256>.zst`;
`kept/<reading>.json`, a signed record, leads to those of the newest delivery. A reading is the digest of everything
that decides what becomes of an object: code, workload, options of the source, what the first delivery decided.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from mlratchet.models.config import WorkloadRef
from mlratchet.models.identity.canonical import canonical_json, digest, digest_bytes
from mlratchet.models.identity.stored import stored_document
from mlratchet.models.ports.children import ForeignCodeError
from mlratchet.models.ports.storage import DigestMismatch, ObjectNotFound, ObjectStore
from mlratchet.models.sources.base import SourceOptions
from mlratchet.models.sources.formats import FORMATS, chosen_objects, format_of, name_of
from mlratchet.models.sources.record import RawObject
from mlratchet.models.sources.record_table import RecordPiece
from mlratchet.models.sources.unpacking import bare_name
from mlratchet.models.workloads.base import Workload, declared_marks
from mlratchet.models.workloads.handed_over import piece_of, to_hand_back

logger = logging.getLogger(__name__)
Group = Sequence[RawObject]
ReadGroups = Callable[[Sequence[Group]], Iterator[tuple[int, RecordPiece]]]
"""Groups -> pieces of each, with its number, in order."""
FEW = 64  # objects of a delivery of which each is a group
SMALL_BYTES = 1 << 20  # of an object that others are read together with, where there are more
GROUP_BYTES = 8 << 20  # of such a group
SIZE_BYTES = 8  # that say how many there are unpacked


def reading_identity(code: Any, workload: WorkloadRef, source: SourceOptions, first: Mapping[str, Any]) -> str:
    """`code` as for `dataset_parts`; `first`: what the first delivery decided."""
    options = source.model_dump(mode="json", exclude={"bucket", "prefix", "snapshot"})
    return digest({"code": code, "workload": workload.model_dump(mode="json"), "source": options, "first": dict(first)})


def reading_groups(workload: Workload, objects: Group, source: Mapping[str, Any]) -> list[list[RawObject]]:
    """Objects that are read together, in order: all of them, unless the format reads each by itself and everything is
    decided that else all of them tell."""
    name = source.get("format") or next(map(name_of, workload.formats), None)
    endings = format_of(name).alone if name in FORMATS and workload.reads_objects_alone else ()
    written = {*(source.get("number_marks") or {}), *(source.get("time_formats") or {})}
    columns = workload.number_columns(source)
    told = {*written, *declared_marks(source, columns)}.issuperset((*columns, *workload.time_columns()))
    if not endings or not told:
        return [list(objects)]
    chosen = sorted(chosen_objects(source, str(name), list(objects)), key=lambda one: one.key)
    alone = [one for one in chosen if bare_name(one.key).endswith(endings)]
    if not alone:
        return [list(objects)]
    others = [one for one in chosen if not bare_name(one.key).endswith(endings)]  # set aside, before the first
    found: list[list[RawObject]] = [[]]
    for one in alone:
        if found[-1] and (len(alone) <= FEW or _is_cut(found[-1], one)):
            found.append([])
        found[-1].append(one)
    return [[*others, *found[0]], *found[1:]]


def _is_cut(before: Group, one: RawObject) -> bool:
    """Whether a new group begins: by what the objects are called and how large they are, so that one object more or
    less moves hardly any cut."""
    large = max(one.size_bytes, before[-1].size_bytes) >= SMALL_BYTES
    full = sum(item.size_bytes for item in before) + one.size_bytes > GROUP_BYTES
    return large or full or digest_bytes(one.key.encode())[0] == "0"


class KeptPieces:
    """Of one delivery."""

    def __init__(self, store: ObjectStore, identity: str, snapshot_id: str) -> None:
        self._store, self._snapshot_id, self._key = store, snapshot_id, f"kept/{identity}.json"
        self._now: dict[str, list[str]] = {}
        self.read = self.reused = 0  # objects
        self._before = self._of_before()

    def _of_before(self) -> dict[str, list[str]]:
        try:
            return dict(stored_document(self._store, self._key, "snapshot")["groups"])
        except ObjectNotFound:
            return {}

    def pieces(self, workload: Workload, groups: Sequence[Group], read: ReadGroups) -> Iterator[RecordPiece]:
        """Of all groups in order: of those that were read before as they are kept, of the others as they are read."""
        names = [digest([[one.key, one.size_bytes, one.sha256] for one in group]) for group in groups]
        unread = [number for number, name in enumerate(names) if name not in self._before]
        self.read = sum(len(groups[number]) for number in unread)
        self.reused = sum(map(len, groups)) - self.read
        reading = _InTurn(read([groups[number] for number in unread]) if unread else iter(()))
        for number, name in enumerate(names):
            if name in self._before:
                yield from self._kept(workload, groups[number], self._before[name], read)
                self._now[name] = self._before[name]
                continue
            self._now[name] = []
            for piece in reading.of(unread.index(number)):
                self._now[name].append(self._keep(piece))
                yield piece
        if self._now != self._before:
            self._store.put(self._key, canonical_json({"snapshot": self._snapshot_id, "groups": self._now}))

    def _keep(self, piece: RecordPiece) -> str:
        import pyarrow as pa

        plain = to_hand_back(piece)
        data = len(plain).to_bytes(SIZE_BYTES, "little") + pa.compress(plain, codec="zstd", asbytes=True)
        name = digest_bytes(data)
        self._store.create(f"pieces/{name}.zst", data)
        return name

    def _kept(
        self, workload: Workload, group: Group, digests: Sequence[str], read: ReadGroups
    ) -> Iterator[RecordPiece]:
        import pyarrow as pa

        taken = 0
        try:
            for name in digests:
                data = self._store.get(f"pieces/{name}.zst", sha256=name)
                size = int.from_bytes(data[:SIZE_BYTES], "little")
                plain = pa.decompress(data[SIZE_BYTES:], decompressed_size=size, codec="zstd", asbytes=True)
                yield piece_of(plain, workload.input_spec(), workload.class_names())
                taken += 1
        except (ObjectNotFound, DigestMismatch, ForeignCodeError) as error:
            logger.warning("%s; %s is read again", error, ", ".join(one.key for one in group))
            self.read, self.reused = self.read + len(group), self.reused - len(group)
            for _, piece in islice(read([group]), taken, None):
                self._keep(piece)
                yield piece

    def line(self) -> str:
        """How much was read before; empty where nothing was."""
        whole = self.read + self.reused
        return f"{self.reused:,} of {whole:,} objects as they were read before" if self.reused else ""


class _InTurn:
    """Pieces by the number of their group."""

    def __init__(self, pieces: Iterable[tuple[int, RecordPiece]]) -> None:
        self._pieces = iter(pieces)
        self._next: tuple[int, RecordPiece] | None = None

    def of(self, number: int) -> Iterator[RecordPiece]:
        """Of the group, whose turn it is."""
        while (one := self._next or next(self._pieces, None)) is not None:
            self._next = one
            if one[0] != number:
                return
            self._next = None
            yield one[1]

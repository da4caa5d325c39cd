"""The index of a dataset: what is known of each record without its input, to find it again in another delivery.

Records join by id, labels by name, and raw cells by column name, whatever order files list them in.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from mlratchet.models.data.dataset import DatasetManifest
from mlratchet.models.data.records import HELD_BYTES, Records
from mlratchet.models.data.shards import load_split
from mlratchet.models.data.stored_entries import StoredEntries, downloaded
from mlratchet.models.errors import SecurityError
from mlratchet.models.identity.canonical import digest, digest_bytes
from mlratchet.models.ports.storage import ObjectStore
from mlratchet.models.schema.cell_bytes import ends_and_bytes
from mlratchet.models.sources.raw_cells import (
    DIGEST_BYTES,
    DIGITS,
    hexadecimal,
    sha256_between,
    sha256_of_each,
    within_json,
)
from mlratchet.models.sources.record import InputSpec, Record, Target, is_of_names
from mlratchet.models.sources.record_table import SLICE_ROWS, RecordLayout, as_target, held_in, inputs_in, targets_in
from mlratchet.models.tensors.named import Inputs, Ragged, Row

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT = 2  # the first one was `{id: [content SHA-256, number of the class]}`
BEGIN = b'{"format":%d,"records":{' % FORMAT
ENTRIES_BYTES = 4 << 20  # of a document whose entries are all held: they take six times as much
PART_BYTES = 16 << 20  # of a large document, that are sent at once
Label = str | float | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """One record."""

    label: Label  # a class or labels by name; a number
    row: str  # digest of its raw cells in the columns of the first delivery; empty: not told
    raw: str  # digest of the raw cells of its input; empty: not told
    prepared: str  # digest of its input as it was prepared


@dataclass(frozen=True, kw_only=True)
class RowIndex:
    """By record id."""

    entries: Mapping[str, Entry]
    legacy: bool = False  # written before raw cells were: `raw` is the digest of the input, in its own order


def label_of(target: Target, class_names: Sequence[str]) -> Label:
    """By name where there are names."""
    if isinstance(target, tuple) and not (class_names and is_of_names(target, class_names)):
        return digest(target)[:DIGITS]
    if isinstance(target, tuple):
        return tuple(sorted(name for name, on in zip(class_names, target, strict=True) if on))
    return class_names[int(target)] if class_names else float(target)


def labels_in(table: pa.Table, class_names: Sequence[str]) -> list[Label]:
    """The same of every row."""
    found = targets_in(table)
    if found.ndim == 1 and not class_names:
        return [float(one) for one in found.tolist()]
    return [label_of(as_target(one), class_names) for one in found.tolist()]


def prepared_digest(record: Record, columns: Sequence[str]) -> str:
    """Of the input, a table's in the order of the names of its columns."""
    return _digest_of(record.x, columns)


def _digest_of(x: Row, columns: Sequence[str]) -> str:
    return digest_of_input(x, columns)[:DIGITS]


def digest_of_input(x: Row, columns: Sequence[str] = ()) -> str:
    """SHA-256 hex of a record's values, a table's in the order of the names of its columns."""
    if isinstance(x, Mapping):
        return digest({n: [str(x[n].dtype), list(x[n].shape), digest_bytes(x[n].tobytes())] for n in x})
    ordered = x[np.argsort(np.asarray(columns))] if columns else x
    return digest_bytes(np.ascontiguousarray(ordered).tobytes())


def entry_of(record: Record, class_names: Sequence[str], columns: Sequence[str]) -> Entry:
    """Of a record that was read now."""
    return Entry(
        label_of(record.y, class_names), record.row_digest, record.raw_digest, prepared_digest(record, columns)
    )


def index_parts(records: Records, class_names: Sequence[str], columns: Sequence[str]) -> Iterator[bytes]:
    """The document, canonical: records come in the order of their ids."""
    yield BEGIN
    comma = b""
    for table in records.tables():
        for at in range(0, table.num_rows, SLICE_ROWS):
            yield comma + _lines(table.slice(at, SLICE_ROWS), class_names, columns)
            comma = b","
    yield b"}}"


def _lines(table: pa.Table, class_names: Sequence[str], columns: Sequence[str]) -> bytes:
    """The entries of the rows, with a comma between each two."""
    import pyarrow as pa
    import pyarrow.compute as pc

    prepared = _digests_of(inputs_in(table), held_in(table), columns)
    identity, row, raw = (within_json(table[name].combine_chunks()) for name in ("id", "row_digest", "raw_digest"))
    label = _labels(table, class_names)
    parts = ['"', identity, '":[', label, ',"', row, '","', raw, '","', prepared, '"],']
    found = [pa.scalar(part) if isinstance(part, str) else part for part in parts]
    return ends_and_bytes(pc.binary_join_element_wise(*found, pa.scalar("")))[1].tobytes()[:-1]


def _labels(table: pa.Table, class_names: Sequence[str]) -> pa.Array:
    """As JSON."""
    import pyarrow as pa

    found = targets_in(table)
    if found.ndim == 1 and class_names:
        names = pa.array([json.dumps(name, ensure_ascii=False) for name in class_names], pa.string())
        return names.take(pa.array(found.astype(np.int64)))
    if found.ndim == 1 and not np.isfinite(found).all():
        identity = table["id"][int(np.flatnonzero(~np.isfinite(found))[0])].as_py()
        raise ValueError(f"the target of record {identity!r} is no finite number")
    told = [list(one) if isinstance(one, tuple) else one for one in labels_in(table, class_names)]
    return pa.array([json.dumps(one, ensure_ascii=False, separators=(",", ":")) for one in told], pa.string())


def _digests_of(inputs: Inputs, held: RecordLayout, columns: Sequence[str]) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    only = inputs.columns.get(inputs.names[0])
    if held.named and len(inputs.names) == 1 and isinstance(only, Ragged) and not only.shape:  # as below, at once
        ends = np.ascontiguousarray(only.offsets, np.int64)
        bytes_of_all = np.ascontiguousarray(only.values).view(np.uint8)
        digests = hexadecimal(sha256_between(ends * only.values.itemsize, bytes_of_all), 2 * DIGEST_BYTES)
        sizes = pc.cast(pa.array(np.diff(ends)), pa.string())
        begin = pa.scalar(f'{{"{inputs.names[0]}":["{only.dtype}",[')
        told = pc.binary_join_element_wise(begin, sizes, pa.scalar('],"'), digests, pa.scalar('"]}'), pa.scalar(""))
        return sha256_of_each(told, DIGITS)
    rows = inputs.examples() if held.named or inputs.is_one else ()
    return pa.array([_digest_of(x, columns) for x in rows], pa.string())


class IndexDocument:
    """The document, written once: in memory, or in a file of its own where it is large."""

    def __init__(self, records: Records, class_names: Sequence[str], columns: Sequence[str]) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=HELD_BYTES)  # noqa: SIM115 - as long as this is
        found = hashlib.sha256()
        for part in index_parts(records, class_names, columns):
            found.update(part)
            self._file.write(part)
        self.sha256 = found.hexdigest()
        self._size = self._file.tell()

    def publish(self, store: ObjectStore) -> None:
        """As `indexes/<sha256>.json`."""
        key = f"indexes/{self.sha256}.json"
        self._file.seek(0)
        if self._size <= HELD_BYTES:
            store.create(key, self._file.read())
        else:
            store.put_stream(key, iter(lambda: self._file.read(PART_BYTES), b""))


def input_columns(spec: InputSpec) -> tuple[str, ...]:
    """Names of the input's values where they have some."""
    return spec.columns if spec.kind == "table" else ()


def load_index(store: ObjectStore, manifest: DatasetManifest, class_names: Sequence[str]) -> RowIndex:
    """Read back, verified. `class_names` are those of the dataset's pipeline, for an index that holds numbers.

    Raises ``ObjectNotFound``, ``DigestMismatch``, and ``SecurityError`` for a document that is none.
    """
    key = f"indexes/{manifest.index_sha256}.json"
    if store.head(key).size_bytes > ENTRIES_BYTES:
        held = downloaded(store, key, manifest.index_sha256)
        if held[: len(BEGIN)] == BEGIN:
            try:
                return RowIndex(entries=StoredEntries(held, len(BEGIN), _entry))
            except (ValueError, TypeError) as error:
                raise _no_index(store, key) from error
    document = json.loads(store.get(key, sha256=manifest.index_sha256))
    if document.get("format") != FORMAT:
        return _legacy(document, class_names)
    try:
        entries = {identity: _entry(told) for identity, told in document["records"].items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise _no_index(store, key) from error
    return RowIndex(entries=entries)


def _no_index(store: ObjectStore, key: str) -> SecurityError:
    return SecurityError(f"{store.bucket}/{key}: is not the index of a dataset; it was changed")


def _entry(told: list[Any]) -> Entry:
    label, row, raw, prepared = told
    return Entry(tuple(label) if isinstance(label, list) else label, row, raw, prepared)


def _legacy(document: dict[str, list[object]], class_names: Sequence[str]) -> RowIndex:
    entries = {}
    for identity, (content, y) in document.items():
        target: Target = tuple(y) if isinstance(y, list) else y  # type: ignore[assignment]  # as it was written
        known = not class_names or isinstance(target, tuple) or int(target) < len(class_names)
        entries[identity] = Entry(label_of(target, class_names) if known else str(y), "", str(content), "")
    return RowIndex(entries=entries, legacy=True)


@dataclass(frozen=True, kw_only=True)
class Redelivered:
    """What two deliveries of the same records differ in, label aside."""

    changed: set[str]  # other raw cells
    prepared_otherwise: set[str]  # other inputs, which no other raw cells explain
    why: str = ""  # what is known of their raw cells


def redelivered(ids: Iterable[str], now: Mapping[str, Entry], then: Mapping[str, Entry]) -> Redelivered:
    """Of the records of these ids that are in both. Where raw cells are not told, another input counts as another
    preparation."""
    changed, otherwise, why = set(), set(), "are the same"
    for identity in ids:
        ours, theirs = now.get(identity), then.get(identity)
        if ours is None or theirs is None:
            continue
        if ours.raw and theirs.raw:
            if ours.raw != theirs.raw:
                changed.add(identity)
            elif ours.prepared != theirs.prepared:
                otherwise.add(identity)
        elif ours.prepared != theirs.prepared:
            if ours.raw or theirs.raw:  # told of one of the two: a workload that tells them prepares a row by itself
                changed.add(identity)
            else:
                otherwise.add(identity)
                why = "are not told (Record.raw_digest)"
    return Redelivered(changed=changed, prepared_otherwise=otherwise, why=why)


def with_inputs(
    store: ObjectStore, manifest: DatasetManifest, index: RowIndex, ids: Sequence[str], spec: InputSpec
) -> RowIndex:
    """A legacy index with digests of the prepared inputs of `ids`, from the shards; raw cells were not told then."""
    wanted, entries = set(ids), dict(index.entries)
    columns = input_columns(spec)
    for side in manifest.splits:
        rows = load_split(store, manifest, side)
        for identity, x in zip(rows.ids, rows.x.examples(), strict=True):
            if identity in wanted:
                known = entries[identity]
                entries[identity] = Entry(known.label, "", "", _digest_of(x, columns))
    return RowIndex(entries=entries, legacy=True)

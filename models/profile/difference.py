"""What changed from one dataset to another: objects, rows by their ids, sides, labels and the distribution of fields.

Held of a row are 25 bytes, digests of its id, label and content; so a row without an id of its own, whose id is its
content, is never changed: it is gone, and another one is new.

Shape legend: N rows of a dataset, S rows of a sample.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from mlratchet.models.data.dataset import DatasetManifest
from mlratchet.models.data.snapshot import Snapshot
from mlratchet.models.data.split import SIDES
from mlratchet.models.ports.storage import ObjectStore
from mlratchet.models.profile.measure import FieldProfile, SideOfField, edges_of, labels_of, shares
from mlratchet.models.profile.profile import EVERY_SHARD, DataProfile
from mlratchet.models.profile.rows import RowLayout, blocks

EXAMPLES = 20  # rows, or objects, that are named of each kind of change
PLACES: Mapping[str, int] = {side: place for place, side in enumerate(SIDES)}
KEY = np.dtype([("id", "u8"), ("label", "u8"), ("content", "u8"), ("side", "u1")])

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class NamedRow:
    """A row that changed."""

    id: str
    before: str  # its side and label; empty: it was not there
    after: str


@dataclass(frozen=True, kw_only=True)
class ObjectChanges:
    """Of the delivered files."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class FieldDifference:
    """Of one field, over all sides."""

    name: str
    kind: str
    distance: float | None
    """0: the same, 1: nothing in common. Of words half of the summed differences of shares (total variation), of
    anything else the largest difference of the shares below a value (Kolmogorov-Smirnov). None: one has no such field.
    """
    missing_before: float | None  # share of the rows
    missing_after: float | None
    new_words: tuple[str, ...] = ()
    gone_words: tuple[str, ...] = ()
    chart: FieldProfile | None = field(default=None, repr=False)  # with the sides A and B


@dataclass(frozen=True, kw_only=True)
class DataDifference:
    """From A to B."""

    a: str  # ids of the datasets
    b: str
    rows_before: Mapping[str, int]
    rows_after: Mapping[str, int]
    added: int
    removed: int
    same: int
    changed: int  # of the rows in both: another content
    relabelled: int
    moved: Mapping[str, int]  # "train -> test" -> rows
    examples: Mapping[str, Sequence[NamedRow]]  # by kind of change
    objects: ObjectChanges | None  # None: a snapshot is gone
    classes: Mapping[str, tuple[int, int]]  # rows before and after
    fields: tuple[FieldDifference, ...]  # the most different first

    def document(self) -> dict[str, Any]:
        """As JSON."""
        told = asdict(self)
        for one in told["fields"]:
            del one["chart"]
        return told


def difference_of(
    store: ObjectStore,
    before: tuple[DatasetManifest, RowLayout, DataProfile],
    after: tuple[DatasetManifest, RowLayout, DataProfile],
    *,
    snapshots: tuple[Snapshot, Snapshot] | None = None,
) -> DataDifference:
    """Raises ``DigestMismatch`` or ``ObjectNotFound`` for a shard that was changed or is gone."""
    (a, layout_a, profile_a), (b, layout_b, profile_b) = before, after
    rows_a, rows_b = keys_of(store, a, layout_a), keys_of(store, b, layout_b)
    common, at_a, at_b = np.intersect1d(rows_a["id"], rows_b["id"], assume_unique=True, return_indices=True)
    both_a, both_b = rows_a[at_a], rows_b[at_b]
    changed, relabelled = (both_a[name] != both_b[name] for name in ("content", "label"))
    moved = both_a["side"] != both_b["side"]
    ways: dict[str, int] = {}
    for way, count in zip(
        *np.unique(both_a["side"][moved] * 4 + both_b["side"][moved], return_counts=True), strict=True
    ):
        ways[f"{SIDES[int(way) // 4]} -> {SIDES[int(way) % 4]}"] = int(count)
    wanted = {
        "added": np.setdiff1d(rows_b["id"], common, assume_unique=True),
        "removed": np.setdiff1d(rows_a["id"], common, assume_unique=True),
        "changed": common[changed],
        "relabelled": common[relabelled],
        "moved": common[moved],
    }
    named = {kind: frozenset(int(one) for one in ids[:EXAMPLES]) for kind, ids in wanted.items()}
    told_a, told_b = (told_rows(store, one[0], one[1], frozenset().union(*named.values())) for one in (before, after))
    examples = {
        kind: [_named(told_a.get(one), told_b.get(one)) for one in sorted(ids)] for kind, ids in named.items() if ids
    }
    return DataDifference(
        a=a.id, b=b.id, rows_before=dict(a.rows), rows_after=dict(b.rows), added=len(wanted["added"]),
        removed=len(wanted["removed"]), same=int((~changed & ~relabelled & ~moved).sum()), changed=int(changed.sum()),
        relabelled=int(relabelled.sum()), moved=ways, examples=examples,
        objects=objects_between(*snapshots) if snapshots is not None else None,
        classes=classes_between(profile_a.label, profile_b.label), fields=fields_between(profile_a, profile_b),
    )  # fmt: skip


def keys_of(store: ObjectStore, manifest: DatasetManifest, layout: RowLayout) -> Array:
    """(N,) records of `KEY`."""
    found = np.zeros(sum(manifest.rows.values()), dtype=KEY)
    at = 0
    for block in blocks(store, manifest, layout, most_shards=EVERY_SHARD):
        labels, side = labels_of(block, layout), PLACES[block.side]
        of_names = bool(layout.class_names) or block.y.ndim == 1
        exact = labels if of_names else block.y.tolist()  # words leave out where a box is
        for row, identity in enumerate(block.ids):
            content = int.from_bytes(block.content[row], "little")
            found[at] = (_short(identity.encode()), _short(str(exact[row]).encode()), content, side)
            at += 1
    return found[:at]


def told_rows(
    store: ObjectStore, manifest: DatasetManifest, layout: RowLayout, wanted: frozenset[int]
) -> dict[int, tuple[str, str]]:
    """(id, side and label) of a few rows, by the digests of their ids."""
    found = {}
    for block in blocks(store, manifest, layout, most_shards=EVERY_SHARD) if wanted else ():
        labels = labels_of(block, layout)
        for row, identity in enumerate(block.ids):
            key = _short(identity.encode())
            if key in wanted:
                found[key] = identity, f"{block.side}, {labels[row]}"
    return found


def _named(before: tuple[str, str] | None, after: tuple[str, str] | None) -> NamedRow:
    identity = (after or before or ("", ""))[0]
    return NamedRow(id=identity, before=before[1] if before else "", after=after[1] if after else "")


def _short(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def objects_between(a: Snapshot, b: Snapshot) -> ObjectChanges:
    """By their keys and digests."""
    then, now = ({one.key: one.sha256 for one in snapshot.objects} for snapshot in (a, b))
    return ObjectChanges(
        added=tuple(sorted(now.keys() - then.keys())),
        removed=tuple(sorted(then.keys() - now.keys())),
        changed=tuple(sorted(key for key in then.keys() & now.keys() if then[key] != now[key])),
    )


def classes_between(a: FieldProfile, b: FieldProfile) -> dict[str, tuple[int, int]]:
    """Rows of every class, before and after; nothing of a number."""
    then, now = (_totals(one) for one in (a, b))
    names = sorted({*then, *now}, key=lambda name: (-max(then.get(name, 0), now.get(name, 0)), name))
    return {name: (then.get(name, 0), now.get(name, 0)) for name in names}


def _totals(one: FieldProfile) -> dict[str, int]:
    found: dict[str, int] = {}
    for side in one.sides.values():
        for word, count in side.counts.items():
            found[word] = found.get(word, 0) + count
    return found


def fields_between(a: DataProfile, b: DataProfile) -> tuple[FieldDifference, ...]:
    """Of the fields of both, and of those that only one has; the label among them where it is a number."""
    label = () if a.classes or b.classes else (a.label,)
    then = {one.name: one for one in (*a.fields, *label)}
    now = {one.name: one for one in (*b.fields, *((b.label,) if label else ()))}
    found = [_field(name, then.get(name), now.get(name)) for name in dict.fromkeys((*now, *then))]
    return tuple(sorted(found, key=lambda one: (one.distance is not None, -(one.distance or 0.0), one.name)))


def _field(name: str, then: FieldProfile | None, now: FieldProfile | None) -> FieldDifference:
    either = now or then
    assert either is not None, "it is a field of one of the two"
    gap_then, gap_now = _gap(then), _gap(now)
    if then is None or now is None or then.kind != now.kind:
        return FieldDifference(
            name=name, kind=either.kind, distance=None, missing_before=gap_then, missing_after=gap_now
        )
    words_a, words_b = _totals(then), _totals(now)
    if words_a or words_b:
        return FieldDifference(
            name=name, kind=now.kind, distance=variation(words_a, words_b),
            missing_before=gap_then, missing_after=gap_now,
            new_words=tuple(sorted(words_b.keys() - words_a.keys())[:EXAMPLES]),
            gone_words=tuple(sorted(words_a.keys() - words_b.keys())[:EXAMPLES]),
            chart=_side_by_side(now, _of_words(words_a), _of_words(words_b), ()),
        )  # fmt: skip
    edges = edges_of([then.sample, now.sample])
    a, b = (SideOfField(given=one.given, missing=one.missing, bins=shares(one.sample, edges)) for one in (then, now))
    return FieldDifference(
        name=name, kind=now.kind, distance=largest_gap(then.sample, now.sample),
        missing_before=gap_then, missing_after=gap_now,
        chart=_side_by_side(now, a, b, edges),
    )  # fmt: skip


def _gap(one: FieldProfile | None) -> float | None:
    rows = one.given + one.missing if one is not None else 0
    return one.missing / rows if one is not None and rows else None


def _of_words(counts: Mapping[str, int]) -> SideOfField:
    return SideOfField(given=sum(counts.values()), missing=0, counts=counts, different=len(counts))


def _side_by_side(one: FieldProfile, a: SideOfField, b: SideOfField, edges: tuple[float, ...]) -> FieldProfile:
    return FieldProfile(
        name=one.name, kind=one.kind, measured=one.measured, unit=one.unit, input=one.input, sides={"A": a, "B": b},
        edges=edges,
    )  # fmt: skip


def variation(a: Mapping[str, int], b: Mapping[str, int]) -> float:
    """Total variation distance of two distributions of words."""
    whole_a, whole_b = sum(a.values()), sum(b.values())
    if not whole_a or not whole_b:
        return float(whole_a != whole_b)
    return sum(abs(a.get(word, 0) / whole_a - b.get(word, 0) / whole_b) for word in {*a, *b}) / 2


def largest_gap(a_S: Array, b_S: Array) -> float:
    """Kolmogorov-Smirnov's statistic of two samples."""
    if not len(a_S) or not len(b_S):
        return float(len(a_S) != len(b_S))
    a, b, every = np.sort(a_S), np.sort(b_S), np.concatenate([a_S, b_S])
    below = (np.searchsorted(one, every, side="right") / len(one) for one in (a, b))
    return float(np.abs(next(below) - next(below)).max())

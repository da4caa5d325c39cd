"""A dataset, looked at: rows by side and class, what every field holds, and examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from mlratchet.models.data.dataset import DatasetManifest
from mlratchet.models.data.split import SIDES
from mlratchet.models.ports.storage import ObjectStore
from mlratchet.models.profile.chosen import Choice, ChosenRow
from mlratchet.models.profile.measure import FieldMeter, FieldProfile, label_meter, labels_of
from mlratchet.models.profile.rows import FieldOfRows, RowLayout, blocks

EVERY_SHARD = 1_000_000
TOP = 20  # words that a document names


@dataclass(frozen=True, kw_only=True)
class DataProfile:
    """What a dataset holds."""

    dataset_id: str
    snapshot_id: str
    rows: Mapping[str, int]  # by side, as its manifest says
    looked_at: Mapping[str, int]  # by side: of how many rows the fields tell
    label: FieldProfile
    classes: tuple[str, ...]
    fields: tuple[FieldProfile, ...]
    examples: Mapping[str, Sequence[ChosenRow]] = field(default_factory=dict)  # by class, of training rows
    more_classes: int = 0  # of which no example is shown
    reading: str = ""  # what was read, used and set aside, in a line

    def document(self) -> dict[str, Any]:
        """As JSON, without the examples."""
        return {
            "dataset": self.dataset_id,
            "snapshot": self.snapshot_id,
            "rows": dict(self.rows),
            "looked_at": dict(self.looked_at),
            "reading": self.reading,
            "label": _told(self.label),
            "classes": list(self.classes),
            "fields": [_told(one) for one in self.fields],
        }


def _told(one: FieldProfile) -> dict[str, Any]:
    told = asdict(one)
    del told["sample"]
    for side in told["sides"].values():
        side["counts"] = dict(list(side["counts"].items())[:TOP])
        side["bins"] = list(side["bins"])
    return told | {"edges": list(one.edges)}


def profile_of(
    store: ObjectStore,
    manifest: DatasetManifest,
    layout: RowLayout,
    *,
    reading: str = "",
    most_shards: int = EVERY_SHARD,
) -> DataProfile:
    """Read shard by shard: what is held grows with fields and classes, not with rows. `most_shards`: of each side.

    Raises as `blocks`.
    """
    meters = {one.name: FieldMeter(one) for one in layout.fields}
    label, choice = label_meter(layout, in_words=bool(layout.class_names)), Choice(layout)
    looked_at: dict[str, int] = dict.fromkeys(SIDES, 0)
    for block in blocks(store, manifest, layout, most_shards=most_shards):
        labels = labels_of(block, layout)
        if not any(looked_at.values()):
            label = label_meter(layout, in_words=isinstance(labels[0], str))
        looked_at[block.side] += len(block.ids)
        label.see(block.side, labels)
        for name, values in block.fields.items():
            meters[name].see(block.side, values)
        for name, words in block.columns.items():
            if name not in meters:
                meters[name] = FieldMeter(FieldOfRows(name=name, kind="category", input=False))
            meters[name].see(block.side, words)
        choice.see(block)
    return DataProfile(
        dataset_id=manifest.id, snapshot_id=manifest.snapshot_id, looked_at=looked_at, label=label.profile(),
        rows={side: manifest.rows.get(side, 0) for side in SIDES}, classes=layout.class_names,
        fields=tuple(one.profile() for one in meters.values()), examples=choice.rows(),
        more_classes=choice.more_classes, reading=reading,
    )  # fmt: skip

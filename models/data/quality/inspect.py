"""All measures of a delivery, in one reading of its records and, where somebody asks for it, a few more."""

from __future__ import annotations

from collections.abc import Collection

from mlratchet.models.data.config import DataConfig
from mlratchet.models.data.dataset import DatasetManifest
from mlratchet.models.data.quality.before import Before
from mlratchet.models.data.quality.contents import Contents
from mlratchet.models.data.quality.inputs import InputValues
from mlratchet.models.data.quality.labels import Labels
from mlratchet.models.data.quality.measure import Measure, Names, QualityReport, share
from mlratchet.models.data.quality.measures import NEAR
from mlratchet.models.data.reading import reading_of
from mlratchet.models.data.rules import AS_USUAL, QualityConfig, counted
from mlratchet.models.data.split import Sides, sides_of
from mlratchet.models.ports.storage import ObjectStore
from mlratchet.models.schema.fields import Schema
from mlratchet.models.sources.record import Record, Reject


def inspect(
    store: ObjectStore,
    records: Collection[Record],
    rejects: Collection[Reject],
    previous: DatasetManifest | None,
    data: DataConfig,
    class_names: tuple[str, ...],
    *,
    columns: tuple[str, ...] = (),
    before: Names | None = None,
    asked: Collection[str] = (),
    quality: QualityConfig = AS_USUAL,
    schema: Schema | None = None,
    batch: int = 0,
    sides: Sides | None = None,
) -> QualityReport:
    """Measure the records; measures against `previous` are left out with n = 0 and value 0 when it is None.

    `columns` are those of the input; `before` are the names of classes and columns that the dataset `previous` was made
    with, where they are others than now. `asked`: measures that are taken on demand. `batch`: rows of a training step,
    all ranks together; `sides` those of the records, where they are known already. Records are read one after the
    other, never held.
    """
    ours = Names(classes=class_names, columns=columns)
    theirs = before or ours
    contents, inputs = Contents(), InputValues()
    against, labels = Before(store, previous, ours, theirs), Labels(previous, ours, theirs)
    sides = sides or sides_of(records, data.split)
    for record in records:
        side = sides(record)
        if side is None:
            raise ValueError(f"{record.where or record.id} is on no side of the split; measure what `divided` keeps")
        contents.add(record, side)
        inputs.add(record)
        against.add(record)
        labels.add(record, side)
    measures = {
        **_counts(records, rejects, quality),
        **contents.measures(records),
        **inputs.measures(),
        **against.measures(),
        **labels.measures(),
    }
    if set(NEAR) & set(asked):
        measures |= contents.near(records, quality.near, schema)
    broken = labels.broken()
    across = measures["cross_split_duplicate_fraction"]
    if across.value:
        broken["cross_split_duplicate"] = (
            f"{across.value:.2%} of {across.n:,} test records have a content that is also trained on ({across.detail})"
        )
    trained = contents.trained
    if trained < batch:
        broken["too_few_rows"] = (
            f"{trained:,} records are trained on, fewer than a step of all processes takes "
            f"(train.global_batch_size {batch}): deliver more or lower it"
        )
    return QualityReport(measures=measures, broken=broken)


def _counts(records: Collection[Record], rejects: Collection[Reject], quality: QualityConfig) -> dict[str, Measure]:
    reading = reading_of(records, rejects)
    aside = f"{reading.rules_met()}; e.g. {reading.example}" if rejects else ""
    return {
        "rows": Measure(value=float(len(records)), n=len(records)),
        "rejected_fraction": Measure(
            value=share(counted(rejects, quality), reading.read), n=reading.read, detail=aside
        ),
    }

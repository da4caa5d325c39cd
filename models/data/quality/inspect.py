"""All measures of a delivery, in one reading of its records and, where somebody asks for it, a few more."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlratchet.models.data.config import DataConfig
from mlratchet.models.data.dataset import DatasetManifest
from mlratchet.models.data.quality import distributions, leakage, noise, outliers
from mlratchet.models.data.quality.before import Before
from mlratchet.models.data.quality.contents import Contents
from mlratchet.models.data.quality.entities import Entities
from mlratchet.models.data.quality.inputs import InputValues
from mlratchet.models.data.quality.labels import Labels
from mlratchet.models.data.quality.measure import Measure, Names, share
from mlratchet.models.data.quality.measures import ENTITIES, NEAR, NOISE
from mlratchet.models.data.quality.report import QualityReport
from mlratchet.models.data.quality.sample import Sample, Sampler
from mlratchet.models.data.reading import by_rule, in_words
from mlratchet.models.data.records import Records, records_of
from mlratchet.models.data.rules import AS_USUAL, QualityConfig, counted
from mlratchet.models.data.split import NO_SIDE, Numbers, Sides, sides_of
from mlratchet.models.ports.storage import ObjectStore
from mlratchet.models.schema.fields import Schema
from mlratchet.models.sources.record import Record, Reject
from mlratchet.models.sources.record_table import targets_in

if TYPE_CHECKING:
    import pyarrow as pa

PIECE_ROWS = 32_768  # that are looked at together


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What is measured beside what always is, and by which rules."""

    measures: Collection[str] = ()  # that are taken on demand
    quality: QualityConfig = AS_USUAL
    schema: Schema | None = None
    batch: int = 0  # rows of a training step, all ranks together
    now_s: float | None = None  # seconds since the epoch, for the age of the newest record
    delivered_s: float | None = None  # when the newest object was delivered, for records without a time
    reference: Mapping[str, Any] | None = None  # profile of the champion's dataset
    outputs: noise.Outputs | None = None  # of the champion, on rows that it was not trained on

    def wants(self, *names: str) -> bool:
        """Whether one of them is asked for; what a rule holds against is."""
        return bool(set(names) & set(self.measures)) or (
            ENTITIES in names and self.quality.policy_of("entity_overlap") != "ignore"
        )


NOTHING = Inspection()


def inspect(
    store: ObjectStore,
    records: Records | Iterable[Record],
    rejects: Collection[Reject],
    previous: DatasetManifest | None,
    data: DataConfig,
    class_names: tuple[str, ...],
    *,
    columns: tuple[str, ...] = (),
    before: Names | None = None,
    asked: Inspection = NOTHING,
    sides: Sides | None = None,
) -> QualityReport:
    """Measure the records; measures against `previous` are left out with n = 0 and value 0 when it is None.

    `columns` are those of the input; `before` are the names of classes and columns that the dataset `previous` was made
    with, where they are others than now; `sides` those of the records, where they are known already. Records are looked
    at table by table, never held.
    """
    held = records_of(records)
    sides = sides or sides_of(held, data.split)
    ours = Names(classes=class_names, columns=columns)
    theirs = before or ours
    contents, inputs = Contents(len(held)), InputValues()
    against, labels = Before(store, previous, ours, theirs), Labels(previous, ours, theirs)
    pixels = asked.wants(NOISE) and asked.schema is None and not columns
    size = {"size": noise.ROWS} if pixels else {}
    sampler = Sampler(asked.schema, columns, pictures=pixels, **size)
    entities = Entities(asked.schema) if asked.wants(ENTITIES) else None
    unseen = set(asked.outputs.ids) if asked.outputs is not None and asked.wants(NOISE) else set()
    now: dict[str, int] = {}  # labels of what the champion has not seen
    for table, sides_N in _pieces(held, sides):
        contents.add(table, sides_N)
        inputs.add(table)
        against.add(table)
        labels.add(table, sides_N)
        sampler.add(table, sides_N)
        if entities is not None:
            entities.add(table, sides_N)
        if unseen:
            now |= _labels_of(table, unseen)
    measures = {
        **_counts(held, rejects, asked.quality),
        **contents.measures(held),
        **inputs.measures(),
        **against.measures(),
        **labels.measures(),
        **(entities.measures() if entities is not None else {}),
        **(contents.near(held, asked.quality.near, asked.schema) if asked.wants(*NEAR) else {}),
    }
    sampled = _of_the_sample(sampler.sample(), class_names, asked, now)
    measures |= sampled.measures
    broken = labels.broken() | dict(sampled.broken) | _broken(measures, contents.trained, asked)
    return QualityReport(
        measures=measures,
        broken=broken,
        profile=sampled.profile,
        reference=asked.reference,
        drifts=sampled.drifts,
        powers=sampled.powers,
        outliers=sampled.outliers,
        noise=sampled.noise,
    )


def _pieces(records: Records, sides: Sides) -> Iterator[tuple[pa.Table, Numbers]]:
    """The records in tables of some rows, with the side of each. Raises ``ValueError`` for one that is on none."""
    for whole in records.tables():
        for at in range(0, whole.num_rows, PIECE_ROWS):
            table = whole.slice(at, PIECE_ROWS)
            sides_N = sides.in_table(table)
            if (sides_N == NO_SIDE).any():
                where = table["where"][int((sides_N == NO_SIDE).argmax())].as_py()
                raise ValueError(f"{where or 'a record'} is on no side of the split; measure what `divided` keeps")
            yield table, sides_N


def _labels_of(table: pa.Table, identities: Collection[str]) -> dict[str, int]:
    """Of the records among these that are of one class each."""
    targets = targets_in(table)
    if targets.ndim > 1:
        return {}
    told = zip(table["id"].to_pylist(), targets.tolist(), strict=True)
    return {identity: int(label) for identity, label in told if identity in identities}


def _of_the_sample(
    sample: Sample, classes: Sequence[str], asked: Inspection, labels: Mapping[str, int]
) -> QualityReport:
    profile = distributions.profile_of(sample)
    found = distributions.drifts(profile, asked.reference) if asked.reference is not None else None
    powers = leakage.single_field_power(sample, classes=bool(classes))
    exclusive = bool(classes) and not any(isinstance(one, tuple) for one in sample.labels)
    noisy = noise.label_noise(sample, classes, asked.outputs, labels) if exclusive and asked.wants(NOISE) else None
    same = leakage.is_the_label(sample, classes=bool(classes))
    return QualityReport(
        measures={
            **leakage.measures(sample, powers),
            **outliers.measures(sample, now_s=asked.now_s, delivered_s=asked.delivered_s),
            **distributions.measures(found),
            **(noise.measures(noisy) if noisy is not None else {}),
        },
        broken={"feature_is_label": _told_by(same, len(sample))} if same else {},
        profile=profile,
        drifts=tuple(found or ()),
        powers=powers,
        outliers=outliers.outliers(sample),
        noise=noisy,
    )


def _told_by(fields: Sequence[str], n: int) -> str:
    named = ", ".join(map(repr, fields))
    return (
        f"input {named} is the label under another name in {n:,} records: leave it out (input: false), a model that is "
        "given it learns nothing else"
    )


def _broken(measures: Mapping[str, Measure], trained: int, asked: Inspection) -> dict[str, str]:
    """Rules of the delivery, by its measures."""
    found = {
        rule: f"{measures[name].value:.2%} of {measures[name].n:,} {words}: {measures[name].detail}"
        for rule, name, words in (
            ("cross_split_duplicate", "cross_split_duplicate_fraction", "test records have a content also trained on"),
            ("entity_overlap", ENTITIES, "test records are of an entity that is also trained on"),
            ("time_overlap", "time_overlap_fraction", "test records are older than what is trained on"),
            ("new_category", "new_category_fraction", "records have a word that the champion's dataset does not have"),
        )
        if name in measures and measures[name].value > 0
    }
    if trained < asked.batch:
        found["too_few_rows"] = (
            f"{trained:,} records are trained on, fewer than a step of all processes takes "
            f"(train.global_batch_size {asked.batch}): deliver more or lower it"
        )
    drift = measures["field_drift"]
    if drift.value > asked.quality.most_drift:
        found["distribution_shift"] = (
            f"a field is {drift.value:.3f} from the champion's dataset, beyond quality.most_drift "
            f"{asked.quality.most_drift}: {drift.detail}"
        )
    return found


def _counts(records: Records, rejects: Collection[Reject], quality: QualityConfig) -> dict[str, Measure]:
    rules = by_rule(rejects)
    read = len(records) + sum(one.records for one in rules)
    aside = f"{in_words(rules)}; e.g. {next(iter(rejects)).reason}" if rejects else ""
    return {
        "rows": Measure(value=float(len(records)), n=len(records)),
        "rejected_fraction": Measure(value=share(counted(rejects, quality), read), n=read, detail=aside),
    }

"""Which of the test rows a version was trained or tuned on: nothing may be judged on those."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from mlratchet.models.data.dataset import load_dataset
from mlratchet.models.data.shards import load_split
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.pipeline.spec import PipelineSpec
from mlratchet.models.pipeline.store import load_pipeline
from mlratchet.models.ports.storage import ObjectNotFound, ObjectStore
from mlratchet.models.promotion.registered import refuse_another_parent
from mlratchet.models.registration.record import Registration


def trained_on(store: ObjectStore, record: Registration) -> set[str]:
    """Ids of the rows that the version was trained or tuned on, its ancestors' not included.

    Raises ``ConfigurationError`` when its dataset is gone.
    """
    try:
        dataset = load_dataset(store, record.dataset_id)
        return {identity for side in ("train", "validation") for identity in load_split(store, dataset, side).ids}
    except ObjectNotFound as error:
        raise ConfigurationError(
            f"data.split changed since version {record.version}, and which rows it was trained on is not known any more"
        ) from error


def seen_rows(
    store: ObjectStore,
    spec: PipelineSpec,
    dataset_id: str,
    record: Registration,
    parent: Callable[[int], Registration | None],
) -> set[str]:
    """Ids that the version or one that it was warm started from was trained or tuned on; empty where the rule of the
    split is the one of `spec`, since no row has changed sides then: datasets are read only where one may have.

    Raises ``ConfigurationError`` when the dataset of one of them is gone, or its rows were named otherwise, and
    ``SecurityError`` as `lineage`.
    """
    seen: set[str] = set()
    for one in lineage(record, parent):
        if one.dataset_id == dataset_id or divides_alike(store, spec, one):
            break  # it was refused a parent that knew rows which are test rows by this rule
        seen |= trained_on(store, one)
    return seen


def lineage(record: Registration, parent: Callable[[int], Registration | None]) -> Iterator[Registration]:
    """The version, the one it was warm started from, and so on; a circle, which only a forger makes, ends it.

    Raises ``SecurityError`` for a parent whose record is not the one that its child was registered with.
    """
    known: set[str] = set()
    one: Registration | None = record
    while one is not None and one.work_key not in known:
        known.add(one.work_key)
        yield one
        before = parent(one.parent_version) if one.parent_version is not None else None
        if before is not None:
            refuse_another_parent(one, before)
        one = before


def divides_alike(store: ObjectStore, spec: PipelineSpec, record: Registration) -> bool:
    """Whether a row is on the same side as when the version was trained; False when that is not known.

    Raises ``ConfigurationError`` when rows were named otherwise then: no id says which of them are test rows now.
    """
    try:
        before = load_pipeline(store, record.revision)
    except ConfigurationError:
        return False
    ours, theirs = spec.source, before.source
    if ours.column_of("id") != theirs.column_of("id"):
        raise ConfigurationError(
            f"source.id_column was {theirs.column_of('id')} when version {record.version} was trained, now it is "
            f"{ours.column_of('id')}: which rows it was trained on is not known any more"
        )
    return ours.column_of("group") == theirs.column_of("group") and before.data.split == spec.data.split

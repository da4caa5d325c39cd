"""Which of the test rows a version was trained or tuned on: nothing may be judged on those.

Where neither the rule of the split nor the names of rows changed, no row has changed sides, and nothing is read. Else
rows are found by who they are: their raw cells in the columns of the first delivery, whatever their ids say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from mlratchet.models.data.dataset import DatasetManifest, load_dataset
from mlratchet.models.data.preprocess import FirstDelivery, raw_records
from mlratchet.models.data.row_index import RowIndex, digest_of_input, load_index
from mlratchet.models.data.shards import load_split
from mlratchet.models.data.snapshot import load_snapshot
from mlratchet.models.errors import ConfigurationError, DataError
from mlratchet.models.pipeline.spec import PipelineSpec
from mlratchet.models.pipeline.store import load_pipeline
from mlratchet.models.ports.storage import ObjectNotFound, ObjectStore
from mlratchet.models.promotion.registered import refuse_another_parent
from mlratchet.models.registration.record import Registration
from mlratchet.models.sources.raw_cells import DIGITS
from mlratchet.models.sources.record import Record
from mlratchet.models.workloads.loading import load_workload


def trained_on(store: ObjectStore, record: Registration) -> set[str]:
    """Ids of the rows that the version was trained or tuned on, its ancestors' not included.

    Raises ``ConfigurationError`` when its dataset is gone.
    """
    try:
        return trained_ids(store, load_dataset(store, record.dataset_id))
    except ObjectNotFound as error:
        raise ConfigurationError(
            f"data.split, or what says which row is which, changed since version {record.version}: which rows it was "
            "trained on is not known any more"
        ) from error


def trained_ids(store: ObjectStore, dataset: DatasetManifest) -> set[str]:
    """Ids of a dataset's rows that are trained or tuned on."""
    return {identity for side in ("train", "validation") for identity in load_split(store, dataset, side).ids}


def seen_rows(
    store: ObjectStore,
    spec: PipelineSpec,
    dataset_id: str,
    record: Registration,
    parent: Callable[[int], Registration | None],
) -> set[str]:
    """Ids of the dataset's test rows that the version, or one that it was warm started from, was trained or tuned on.

    Raises ``ConfigurationError`` when that cannot be known any more (then every test row counts as seen), and
    ``SecurityError`` as `lineage`.
    """
    seen: set[str] = set()
    now: Rows | None = None
    for one in lineage(record, parent):
        if one.dataset_id == dataset_id:
            break
        then = pipeline_of(store, one)
        if then is not None and divides_alike(spec, then) and named_alike(store, spec, one, dataset_id):
            if spec.source.column_of("id") is not None and one is record:
                seen |= renumbered(store, now or Rows(store, dataset_id), one)
            break  # it was refused a parent that knew rows which are test rows by this rule
        now = now or Rows(store, dataset_id)
        known_by = then.source.column_of("id") if then is not None else spec.source.column_of("id")
        if known_by == spec.source.column_of("id") is not None or not now.dataset.identity_columns:
            if known_by != spec.source.column_of("id"):
                raise unknown(one, spec, known_by)
            seen |= trained_on(store, one) & now.test
            if known_by is not None:
                seen |= renumbered(store, now, one)
        else:
            try:
                digests = trained_digests(store, one, now.dataset.identity_columns)
            except (ConfigurationError, DataError, ObjectNotFound) as error:
                raise unknown(one, spec, known_by) from error
            seen |= {i for i in now.test if now.index.entries[i].row in digests}
    return seen


class Rows:
    """The rows of the dataset that is judged on now."""

    def __init__(self, store: ObjectStore, dataset_id: str) -> None:
        self.dataset = load_dataset(store, dataset_id)
        self.index: RowIndex = load_index(store, self.dataset, ())
        self.test = set(load_split(store, self.dataset, "test").ids)


def unknown(one: Registration, spec: PipelineSpec, known_by: str | None) -> ConfigurationError:
    """Why nobody can say what the version was trained on."""
    now = spec.source.column_of("id")
    why = (
        f"source.id_column was {known_by} when version {one.version} was trained, now it is {now}"
        if known_by != now
        else f"rows were named otherwise when version {one.version} was trained"
    )
    return ConfigurationError(f"{why}: which rows it was trained on is not known any more")


def pipeline_of(store: ObjectStore, record: Registration) -> PipelineSpec | None:
    """The pipeline file that the version was made by; None when it is gone."""
    try:
        return load_pipeline(store, record.revision)
    except ConfigurationError:
        return None


def divides_alike(spec: PipelineSpec, before: PipelineSpec) -> bool:
    """Whether the rule of the split is the same."""
    ours, theirs = spec.source, before.source
    return (
        ours.column_of("id") == theirs.column_of("id")
        and ours.column_of("group") == theirs.column_of("group")
        and before.data.split == spec.data.split
    )


def named_alike(store: ObjectStore, spec: PipelineSpec, record: Registration, dataset_id: str) -> bool:
    """Whether a row without an id of its own has the name that it had. Raises ``ConfigurationError`` when the dataset
    of then is gone."""
    if spec.source.column_of("id") is not None:
        return True
    try:
        then = load_dataset(store, record.dataset_id)
    except ObjectNotFound as error:
        raise unknown(record, spec, None) from error
    return then.identity_columns == load_dataset(store, dataset_id).identity_columns


def renumbered(store: ObjectStore, now: Rows, record: Registration) -> set[str]:
    """Test rows that the version was trained on under another id: the raw cells say so. A row whose equal is trained on
    now as well is a duplicate, which `cross_split_duplicate_fraction` measures."""
    try:
        dataset = load_dataset(store, record.dataset_id)
    except ObjectNotFound:
        return set()  # the ids stand, and nothing says that they do not
    then = load_index(store, dataset, ())
    if then.legacy or dataset.identity_columns != now.dataset.identity_columns:
        return set()
    entries = now.index.entries
    gone = {
        then.entries[i].row
        for i in trained_ids(store, dataset)
        if then.entries[i].row and (i not in entries or entries[i].row != then.entries[i].row)
    }
    if not gone:
        return set()
    own = {entry.row for identity, entry in entries.items() if identity not in now.test}
    return {identity for identity in now.test if entries[identity].row in gone - own}


def trained_digests(store: ObjectStore, record: Registration, columns: tuple[str, ...]) -> set[str]:
    """Who the rows are that the version was trained or tuned on: digests of their raw cells in `columns`.

    Read again from its snapshot where its dataset names rows otherwise. Raises ``ConfigurationError``, ``DataError`` or
    ``ObjectNotFound`` when that is not possible any more.
    """
    dataset = load_dataset(store, record.dataset_id)
    trained = trained_ids(store, dataset)
    if dataset.identity_columns == columns:
        entries = load_index(store, dataset, ()).entries
        return {entries[identity].row for identity in trained}
    spec = load_pipeline(store, record.revision)
    workload = load_workload(spec.workload.use, dict(spec.workload.parameters))
    snapshot = load_snapshot(store, dataset.snapshot_id)

    def read(named_by: tuple[str, ...]) -> Iterator[Record]:
        first = FirstDelivery(identity_columns=named_by, number_marks=dataset.number_marks)
        found = raw_records(store, snapshot, workload, spec.source, first=first)
        return (one for one in found if isinstance(one, Record))

    now = read(columns)
    if spec.source.column_of("id") is not None:
        return {one.row_digest for one in now if one.id in trained}
    if dataset.identity_columns:
        pairs = zip(now, read(dataset.identity_columns), strict=True)
        named = {identity[:DIGITS] for identity in trained}
        return {one.row_digest for one, then in pairs if then.id[:DIGITS] in named}
    named = {identity[:DIGITS] for identity in trained}  # until then: the digest of the numbers as float32
    return {one.row_digest for one in now if digest_of_input(one.x)[:DIGITS] in named}


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

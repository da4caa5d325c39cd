"""Which of the test rows a version was trained or tuned on: nothing may be judged on those.

Where neither the rule of the split nor the names of rows changed, no row has changed sides, and nothing is read. Else
rows are found by who they are: their raw cells in the columns of the first delivery, whatever their ids say.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice

from mlratchet.models.data.dataset import DatasetManifest, load_dataset
from mlratchet.models.data.name_set import NameSet, pair_of_sets
from mlratchet.models.data.preprocess import FirstDelivery, raw_records
from mlratchet.models.data.row_index import Entry, RowIndex, digest_of_input, load_index
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

logger = logging.getLogger(__name__)
MOST_ANCESTORS = 100  # versions that are gone back: one index is read of each whose rows are others
MOST_INDEXES = 16  # kept in memory


def trained_on(store: ObjectStore, record: Registration) -> NameSet:
    """Ids of the rows that the version was trained or tuned on, its ancestors' not included.

    Raises ``ConfigurationError`` when its dataset is gone.
    """
    try:
        return NameSet(trained_ids(store, load_dataset(store, record.dataset_id)))
    except ObjectNotFound as error:
        raise ConfigurationError(
            f"data.split, or what says which row is which, changed since version {record.version}: which rows it was "
            "trained on is not known any more"
        ) from error


def trained_ids(store: ObjectStore, dataset: DatasetManifest) -> Iterator[str]:
    """Ids of a dataset's rows that are trained or tuned on."""
    for side in ("train", "validation"):
        yield from load_split(store, dataset, side).ids


def seen_rows(
    store: ObjectStore,
    spec: PipelineSpec,
    dataset_id: str,
    record: Registration,
    parent: Callable[[int], Registration | None],
) -> set[str]:
    """Ids of the dataset's test rows that the version, or one that it was warm started from, was trained or tuned on.

    Raises ``ConfigurationError`` when that cannot be known any more (then every test row counts as seen), unless a
    later one divides rows as now, and ``SecurityError`` as `lineage`.
    """
    seen: set[str] = set()
    now = Rows(store, dataset_id)
    looked_at: set[str] = set()  # datasets
    settled = False  # one that divides rows as now was refused a parent that knew rows of its own test side
    for one in islice(lineage(record, parent), MOST_ANCESTORS):
        if one.dataset_id == dataset_id:
            break
        if one.dataset_id in looked_at:
            continue
        looked_at.add(one.dataset_id)
        then = pipeline_of(store, one)
        try:
            if then is None or not divides_alike(spec, then) or not named_alike(store, spec, one, dataset_id):
                seen |= known_to(store, spec, now, one, then)
                continue
            settled = True  # and yet its own parents may know rows that it never saw
            if spec.source.column_of("id") is not None:
                seen |= renumbered(store, now, one)
        except ConfigurationError as error:
            if not settled:
                raise
            logger.warning("rows that only version %d was trained on are not looked for: %s", one.version, error)
    return seen


def known_to(
    store: ObjectStore, spec: PipelineSpec, now: Rows, one: Registration, then: PipelineSpec | None
) -> set[str]:
    """Test rows that a version which divides rows otherwise was trained or tuned on. Raises ``ConfigurationError`` when
    that cannot be known any more."""
    known_by = then.source.column_of("id") if then is not None else spec.source.column_of("id")
    if known_by == spec.source.column_of("id") is not None or not now.dataset.identity_columns:
        if known_by != spec.source.column_of("id"):
            raise unknown(one, spec, known_by)
        trained = trained_on(store, one)
        found = {identity for identity in now.test if identity in trained}
        return found | renumbered(store, now, one) if known_by is not None else found
    try:
        digests = trained_digests(store, one, now.dataset.identity_columns, then or spec)
    except (ConfigurationError, DataError, ObjectNotFound) as error:
        raise unknown(one, spec, known_by) from error
    return {i for i in now.test if now.index.entries[i].row in digests}


class Rows:
    """The rows of the dataset that is judged on now, read when they are asked for."""

    def __init__(self, store: ObjectStore, dataset_id: str) -> None:
        self._store, self._id = store, dataset_id

    @cached_property
    def dataset(self) -> DatasetManifest:
        """Its manifest."""
        return load_dataset(self._store, self._id)

    @cached_property
    def index(self) -> RowIndex:
        """What was delivered of every record."""
        return load_index(self._store, self.dataset, ())

    @cached_property
    def test(self) -> Sequence[str]:
        """Ids of the test rows."""
        return load_split(self._store, self.dataset, "test").ids

    @cached_property
    def own(self) -> NameSet:
        """Who the rows are that are trained or tuned on now."""
        test = NameSet(self.test)
        return NameSet(entry.row for identity, entry in self.index.entries.items() if identity not in test)

    @cached_property
    def only_in_test(self) -> NameSet:
        """Who the test rows are that have no equal among those."""
        entries = self.index.entries
        return NameSet(entries[identity].row for identity in self.test) - self.own - NameSet([""])


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
    """Whether the rule of the split is the same, and leaves every row on its side."""
    ours, theirs = spec.source, before.source
    return (
        spec.data.split.keeps_sides
        and ours.column_of("id") == theirs.column_of("id")
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
    if dataset.identity_columns != now.dataset.identity_columns:
        return set()
    then = rows_by_id(store, dataset)
    if then is None or not any(entry.row in now.only_in_test for entry in then.values()):
        return set()  # no shard is read: there is nobody to find
    entries = now.index.entries
    gone = NameSet(_gone(trained_ids(store, dataset), then, entries)) & now.only_in_test
    return {identity for identity in now.test if entries[identity].row in gone} if len(gone) else set()


def _gone(ids: Iterator[str], then: Mapping[str, Entry], now: Mapping[str, Entry]) -> Iterator[str]:
    """Who the rows of these ids were, where another row, or none, has the id now."""
    for identity in ids:
        before, after = then[identity].row, now.get(identity)
        if before and (after is None or after.row != before):
            yield before


_rows_by_id: dict[str, Mapping[str, Entry] | None] = {}  # by digest of the index; of the last few datasets


def rows_by_id(store: ObjectStore, dataset: DatasetManifest) -> Mapping[str, Entry] | None:
    """What was delivered of every row of a dataset, by its id; None where that was not told. Versions of one run ask
    for the same."""
    key = dataset.index_sha256
    if key not in _rows_by_id:
        found = load_index(store, dataset, ())
        while len(_rows_by_id) >= MOST_INDEXES:
            del _rows_by_id[next(iter(_rows_by_id))]
        _rows_by_id[key] = None if found.legacy else found.entries
    return _rows_by_id[key]


def trained_digests(store: ObjectStore, record: Registration, columns: tuple[str, ...], spec: PipelineSpec) -> NameSet:
    """Who the rows are that the version was trained or tuned on: digests of their raw cells in `columns`.

    Read again from its snapshot where its dataset names rows otherwise. `spec`: the file that it was made by; where
    that is gone (a run with --set of an early release published none), today's reads the same rows or is found out:
    every row has to be found. Raises ``ConfigurationError``, ``DataError`` or ``ObjectNotFound`` when that is not
    possible any more.
    """
    dataset = load_dataset(store, record.dataset_id)
    if dataset.identity_columns == columns:
        entries = load_index(store, dataset, ()).entries
        return NameSet(entries[identity].row for identity in trained_ids(store, dataset))
    workload = load_workload(spec.workload.use, dict(spec.workload.parameters))
    snapshot = load_snapshot(store, dataset.snapshot_id)

    def read(named_by: tuple[str, ...]) -> Iterator[Record]:
        marks, forms = dataset.number_marks, dataset.time_formats
        first = FirstDelivery(identity_columns=named_by, number_marks=marks, time_formats=forms)
        found = raw_records(store, snapshot, workload, spec.source, first=first)
        return (one for one in found if isinstance(one, Record))

    now = read(columns)
    names: Iterator[tuple[str, Record]]  # by the name of then
    if spec.source.column_of("id") is not None:
        names = ((one.id, one) for one in now)
    elif dataset.identity_columns:
        names = ((then.id[:DIGITS], one) for one, then in zip(now, read(dataset.identity_columns), strict=True))
    else:  # until then: the digest of the numbers as float32
        names = ((digest_of_input(one.x)[:DIGITS], one) for one in now)
    named = spec.source.column_of("id") is not None
    wanted = NameSet(one if named else one[:DIGITS] for one in trained_ids(store, dataset))
    found, digests = pair_of_sets((name, one.row_digest) for name, one in names if name in wanted)
    if len(found) < len(wanted):
        lost = len(wanted) - len(found)
        raise ConfigurationError(f"{lost} of {len(wanted)} rows of version {record.version} are not found again")
    return digests


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

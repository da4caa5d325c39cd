"""Compare two registered versions: both scored now, on the test rows of the later one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from mlratchet.infra.machine.temporary import temporary_folder
from mlratchet.models.comparison.compare import Comparison, compare
from mlratchet.models.comparison.latency import SideBySide, time_side_by_side
from mlratchet.models.comparison.page import render
from mlratchet.models.comparison.plots import comparison_plots
from mlratchet.models.errors import ConfigurationError, DataError
from mlratchet.models.evaluation.join import Common
from mlratchet.models.evaluation.seen import SEEN, SEEN_COLUMN, comparable
from mlratchet.models.ledger.entry import LedgerEntry
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.moments import utc
from mlratchet.models.registration.record import Registration
from mlratchet.tasks.support.examples import Examples, examples_of
from mlratchet.tasks.support.open_version import open_version
from mlratchet.tasks.support.score_versions import ancestor_of
from mlratchet.tasks.support.seen_rows import seen_rows
from mlratchet.tasks.support.versions import registration_of
from mlratchet.tasks.wiring import Adapters

Stage = Callable[[str], None]
Model = Callable[..., Any]


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Two versions side by side."""

    name: str
    a: dict[str, Any]
    b: dict[str, Any]
    rows_from: str
    comparison: Comparison
    latency: SideBySide
    page: str  # self-contained HTML

    def document(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "name": self.name,
            "a": self.a,
            "b": self.b,
            "rows_from": self.rows_from,
            **asdict(self.comparison),
            "latency": asdict(self.latency),
        }


def compare_versions(
    adapters: Adapters, name: str, a: int, b: int, *, seed: int = 0, on_stage: Stage = lambda _words: None
) -> Compared:
    """Fetch, verify, score and time both versions; nothing is moved or written.

    Raises ``ConfigurationError`` for versions that cannot be compared, ``SecurityError`` for changed bytes or
    registrations.
    """
    if a == b:
        raise ConfigurationError(f"version {a} of {name} against itself; `ratchet versions {name}` lists others")
    records = [registration_of(adapters, name, version) for version in (a, b)]
    entries = adapters.ledger.entries(name)
    with temporary_folder("compare") as folder:
        on_stage("fetching and verifying both versions")
        versions = [open_version(adapters, one, entries, Path(folder) / str(one.version)) for one in records]
        on_stage("reading the test rows")
        later = int(records[1].registered_s >= records[0].registered_s)
        examples = examples_of(adapters.store, versions[later])
        examples.refuse_other_kind(versions[1 - later])
        left_out = dict.fromkeys(seen_of(adapters, examples, entries, records[1 - later]), SEEN)
        on_stage(f"scoring {len(examples.rows.ids)} rows with both")
        outputs = [examples.score(one, left_out if place != later else {}) for place, one in enumerate(versions)]
        common = common_rows(records[later], records[1 - later], outputs[later], outputs[1 - later], examples)
        on_stage("timing both in turn")
        latency = time_side_by_side(
            versions[0].program, versions[1].program, *(examples.take(one).x for one in versions)
        )
    on_stage("intervals")
    sides = [common.ours, common.theirs] if later == 0 else [common.theirs, common.ours]
    rows_from = f"those of version {records[later].version}'s dataset{common.words}"
    signature = versions[later].signature
    found = compare(sides[0], sides[1], task=signature.task, class_names=common.class_names, seed=seed)
    facts = [facts_of(record) for record in records]
    page = render(
        found,
        name=name,
        a=facts[0],
        b=facts[1],
        rows_from=rows_from,
        latency=latency,
        pictures=comparison_plots(sides[0], sides[1], found),
    )
    return Compared(
        name=name, a=facts[0], b=facts[1], rows_from=rows_from, comparison=found, latency=latency, page=page
    )


def seen_of(adapters: Adapters, examples: Examples, entries: list[LedgerEntry], earlier: Registration) -> set[str]:
    """Ids of the test rows that the earlier version, or one that it began from, was trained or tuned on."""
    parents = partial(ancestor_of, adapters, earlier.name, entries)
    return seen_rows(adapters.store, examples.spec, examples.dataset.id, earlier, parents)


def common_rows(
    later: Registration, earlier: Registration, ours: RowOutputs, theirs: RowOutputs, examples: Examples
) -> Common:
    """What both know of the rows that neither has seen. Raises ``DataError`` when nothing is left."""
    common = comparable(ours, theirs, examples.layout.classes)
    if common.ours.ids:
        return common
    if set(theirs.columns.get(SEEN_COLUMN, [])) == {SEEN}:
        raise DataError(
            f"{later.name}: version {earlier.version} was trained on every test row of version {later.version}: "
            "the split, or what says which row is which, changed between them, and no row can compare them fairly; "
            "deliver rows that neither has seen"
        )
    raise DataError(
        f"{later.name}: no test row of version {later.version} compares it with version {earlier.version}{common.words}"
    )


def facts_of(record: Registration) -> dict[str, Any]:
    """What a person wants to know of a version, beside its numbers."""
    return {
        "version": record.version,
        "registered": utc(record.registered_s),
        "warm start": f"version {record.parent_version}" if record.parent_version else record.began_fresh or "none",
        "dataset": record.dataset_id[:12],
        "snapshot": record.snapshot_id[:12],
        "pipeline revision": record.revision[:12],
        "manifest": record.manifest_digest[:12],
    }


def log_page(adapters: Adapters, compared: Compared) -> str:
    """Put the page beside version B in MLflow; returns where a person looks at it."""
    record = registration_of(adapters, compared.name, int(compared.b["version"]))
    with temporary_folder("page") as folder:
        file = Path(folder) / "page.html"
        file.write_text(compared.page)
        path = f"compare/version-{compared.a['version']}-and-{compared.b['version']}.html"
        adapters.tracker.log_files(record.run_id, {path: file})
    return adapters.tracker.run_url(record.run_id, f"artifacts/{path}")

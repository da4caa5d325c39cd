"""Compare two registered versions: both scored now, on the test rows of the later one."""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mlratchet.infra.artifact.exported import load_exported
from mlratchet.infra.artifact.fetch import fetch_artifact
from mlratchet.models.artifact.signature import Signature
from mlratchet.models.comparison.compare import Comparison, compare
from mlratchet.models.comparison.latency import SideBySide, time_side_by_side
from mlratchet.models.comparison.page import render
from mlratchet.models.comparison.plots import comparison_plots
from mlratchet.models.data.dataset import load_dataset
from mlratchet.models.data.shards import load_split
from mlratchet.models.errors import ConfigurationError, DataError
from mlratchet.models.evaluation.score import score
from mlratchet.models.promotion.registered import refuse_changed_registration
from mlratchet.models.registration.record import Registration
from mlratchet.models.sources.record import Split
from mlratchet.tasks.support.seen_rows import trained_on
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
    for record in records:
        refuse_changed_registration(adapters.store, record, adapters.ledger.entries(name))
    with tempfile.TemporaryDirectory(prefix="ratchet-compare-") as folder:
        on_stage("fetching and verifying both versions")
        models, signatures = [], []
        for record in records:
            place = Path(folder) / str(record.version)
            fetch_artifact(adapters.bucket, record, place)
            signatures.append(Signature.from_json((place / "signature.json").read_text()))
            models.append(load_exported(place))
        check_alike(name, records, signatures)
        on_stage("reading the test rows")
        rows, rows_from = common_test_rows(adapters, *records)
        on_stage(f"scoring {len(rows.ids)} rows with both")
        outputs = [score(model, rows) for model in models]
        on_stage("timing both in turn")
        latency = time_side_by_side(models[0], models[1], rows.x)
    on_stage("intervals")
    signature = signatures[1]
    found = compare(outputs[0], outputs[1], task=signature.task, class_names=signature.classes, seed=seed)
    facts = [facts_of(record) for record in records]
    page = render(
        found,
        name=name,
        a=facts[0],
        b=facts[1],
        rows_from=rows_from,
        latency=latency,
        pictures=comparison_plots(outputs[0], outputs[1], found),
    )
    return Compared(
        name=name, a=facts[0], b=facts[1], rows_from=rows_from, comparison=found, latency=latency, page=page
    )


def check_alike(name: str, records: list[Registration], signatures: list[Signature]) -> None:
    """Raises ``ConfigurationError`` when the two cannot answer the same questions."""
    (a, b), (ours, theirs) = records, signatures
    for what in ("task", "classes", "input"):
        if getattr(ours, what) != getattr(theirs, what):
            raise ConfigurationError(
                f"{name}: versions {a.version} and {b.version} cannot be compared: {what} of {a.version} is "
                f"{getattr(ours, what)}, of {b.version} {getattr(theirs, what)}"
            )


def common_test_rows(adapters: Adapters, a: Registration, b: Registration) -> tuple[Split, str]:
    """Test rows of the later version's dataset, without those that the other was trained or tuned on."""
    later, earlier = (b, a) if b.registered_s >= a.registered_s else (a, b)
    rows = load_split(adapters.store, load_dataset(adapters.store, later.dataset_id), "test")
    words = f"those of version {later.version}'s dataset"
    if earlier.dataset_id == later.dataset_id:
        return rows, words
    seen = trained_on(adapters.store, earlier)
    keep = np.asarray([i for i, identity in enumerate(rows.ids) if identity not in seen], dtype=np.int64)
    if len(keep) == 0:
        raise DataError(
            f"{a.name}: version {earlier.version} was trained on every test row of version {later.version}: the split "
            "changed between them and no row can compare them fairly; deliver rows that neither has seen"
        )
    left_out = len(rows.ids) - len(keep)
    if left_out:
        words += f"; {left_out} that version {earlier.version} was trained on are left out"
        rows = Split(
            ids=[rows.ids[i] for i in keep],
            x=rows.x[keep],
            y=rows.y[keep],
            columns={name: [values[i] for i in keep] for name, values in rows.columns.items()},
        )
    return rows, words


def facts_of(record: Registration) -> dict[str, Any]:
    """What a person wants to know of a version, beside its numbers."""
    return {
        "version": record.version,
        "registered": dt.datetime.fromtimestamp(record.registered_s, dt.UTC).isoformat(timespec="seconds"),
        "warm start": f"version {record.parent_version}" if record.parent_version else "none",
        "dataset": record.dataset_id[:12],
        "snapshot": record.snapshot_id[:12],
        "pipeline revision": record.revision[:12],
        "manifest": record.manifest_digest[:12],
    }


def log_page(adapters: Adapters, compared: Compared) -> str:
    """Put the page beside version B in MLflow; returns where a person looks at it."""
    record = registration_of(adapters, compared.name, int(compared.b["version"]))
    with tempfile.TemporaryDirectory(prefix="ratchet-page-") as folder:
        file = Path(folder) / "page.html"
        file.write_text(compared.page)
        path = f"compare/version-{compared.a['version']}-and-{compared.b['version']}.html"
        adapters.tracker.log_files(record.run_id, {path: file})
    return f"{adapters.tracker.run_url(record.run_id)}/artifacts"

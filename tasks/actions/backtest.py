"""Backtest: judge every registered version again under other thresholds, from the evidence that was kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from mlratchet.infra.machine.temporary import temporary_folder
from mlratchet.models.backtest.simulate import Backtest, Past, simulate
from mlratchet.models.data.dataset import load_dataset
from mlratchet.models.decisions.decision import load_decision
from mlratchet.models.decisions.gate_run import list_gate_runs
from mlratchet.models.decisions.judge_again import verdict_on
from mlratchet.models.decisions.stored_evidence import Basis, thaw
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.evaluation.seen import SEEN
from mlratchet.models.gates.evidence import Evidence
from mlratchet.models.gates.needs import Demands, demands_of
from mlratchet.models.gates.policy import GatePolicy
from mlratchet.models.gates.result import GateResult, unknown
from mlratchet.models.ledger.entry import LedgerEntry
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.pipeline.store import load_pipeline
from mlratchet.models.promotion.registered import known_registrations, refuse_changed_registration
from mlratchet.models.registration.record import Registration, readable_registrations
from mlratchet.tasks.support.examples import Examples
from mlratchet.tasks.support.open_version import Version, open_version, signature_of_version
from mlratchet.tasks.support.seen_rows import seen_rows
from mlratchet.tasks.wiring import Adapters

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True, eq=False)
class KeptGate:
    """What is kept of one gate of one version."""

    evidence: Evidence
    basis: Basis
    champion_version: int | None  # whom the recorded rows of a champion are of


def backtest(
    adapters: Adapters, name: str, policy: GatePolicy, *, on_progress: Progress = lambda _done, _total: None
) -> Backtest:
    """Which versions of `name` the policy would have promoted. Nothing is moved or written.

    Measured evidence (latency, size, data measures) is what was recorded then; models are scored again where this
    history compares others than were compared. What was not measured then is missing, and does not pass.
    Raises ``ConfigurationError`` when there are no versions.
    """
    records = registrations_of(adapters, name)
    if not records:
        raise ConfigurationError(f"{name} has no versions to try a policy on; `ratchet run {name}` makes one")
    with temporary_folder("backtest") as folder:
        court = Court(adapters, policy, records, Path(folder), on_progress)
        pasts = [Past(version=r.version, work_key=r.work_key, registered_s=r.registered_s) for r in records]
        return simulate(pasts, adapters.ledger.entries(name), court.judge)


def registrations_of(adapters: Adapters, name: str) -> list[Registration]:
    """Every registered version, oldest first; the bucket is asked, not the registry."""
    signed = readable_registrations(adapters.store)[0].get(name, [])
    records = known_registrations(adapters.store, name, signed, adapters.ledger.entries(name))
    return sorted(records, key=lambda record: (record.registered_s, record.version))


class Court:
    """Judges one gate of one version against the champions of the simulated history."""

    def __init__(
        self,
        adapters: Adapters,
        policy: GatePolicy,
        records: Sequence[Registration],
        folder: Path,
        on_progress: Progress,
    ) -> None:
        self._adapters, self._policy, self._folder = adapters, policy, folder
        self._demands: Demands = demands_of(policy)
        self._records = {record.version: record for record in records}
        self._kept: dict[str, dict[str, KeptGate]] = {}
        self._scored: dict[tuple[int, str], RowOutputs | None] = {}
        self._opened: dict[int, Version] = {}
        self._asked: dict[str, Examples] = {}
        self._seen: set[int] = set()
        self._on_progress = on_progress

    def judge(self, gate: str, past: Past, champions: Sequence[Past]) -> GateResult:
        """See `models.backtest.simulate.Judge`."""
        if past.version not in self._seen:
            self._seen.add(past.version)
            self._on_progress(len(self._seen), len(self._records))
        kept = self._gates(past).get(gate)
        if kept is None:
            missing = unknown(gate, gate, "?", f"version {past.version} kept no evidence of its {gate} gate")
            return GateResult(gate=gate, verdict="inconclusive", checks=(missing,))
        basis = replace(kept.basis, first_model=not champions)
        return verdict_on(self._policy, self._against(kept, past, champions), basis)

    def _gates(self, past: Past) -> dict[str, KeptGate]:
        """Gate -> the newest evidence. Raises ``SecurityError`` for evidence that was changed."""
        if past.work_key not in self._kept:
            store, found = self._adapters.store, {}
            for run in list_gate_runs(store, past.work_key):
                decision = load_decision(store, run.decision)
                digest = decision["digests"].get("evidence")
                if digest is not None:
                    evidence, basis = thaw(store, digest)
                    found[run.gate] = KeptGate(
                        evidence=evidence, basis=basis, champion_version=decision["champion_version"]
                    )
            self._kept[past.work_key] = found
        return self._kept[past.work_key]

    def _against(self, kept: KeptGate, past: Past, champions: Sequence[Past]) -> Evidence:
        """The evidence as it would have been with these champions."""
        evidence = kept.evidence
        if evidence.candidate is None:
            return evidence
        serving = champions[-1].version if champions else None
        first = champions[0].version if champions else None
        previous = champions[-2].version if len(champions) > 1 else 0
        if serving == kept.champion_version:
            champion = evidence.champion
        else:
            champion = self._rows(serving, past) if serving is not None else None
            evidence = without_comparison(evidence)
        wanted = set(self._demands.versions)
        wanted |= {v for v, asked in ((first, self._demands.first), (previous, self._demands.previous)) if asked and v}
        versions = {v: evidence.versions.get(v) or self._rows(v, past) for v in wanted}
        return replace(
            evidence,
            champion=champion,
            versions={version: rows for version, rows in versions.items() if rows is not None},
            anchor_version=first,
            previous_version=previous,
        )

    def _rows(self, version: int, past: Past) -> RowOutputs | None:
        """A version on the test rows of another; None when it cannot be scored on them."""
        dataset_id = self._records[past.version].dataset_id
        if (version, dataset_id) not in self._scored:
            self._scored[version, dataset_id] = self._score(version, past)
        return self._scored[version, dataset_id]

    def _score(self, version: int, past: Past) -> RowOutputs | None:
        record = self._records.get(version)
        if record is None:
            return None
        store = self._adapters.store
        try:
            examples = self._examples(past)
            seen = seen_rows(store, examples.spec, examples.dataset.id, record, self._ancestor)
            return examples.score(self._open(record), dict.fromkeys(seen, SEEN))
        except ConfigurationError:  # it is not comparable, or not known which of the rows it was trained on
            return None

    def _open(self, record: Registration) -> Version:
        if record.version not in self._opened:
            folder = self._folder / str(record.version)
            self._opened[record.version] = open_version(self._adapters, record, self._entries, folder)
        return self._opened[record.version]

    def _examples(self, past: Past) -> Examples:
        """The test rows that a version was judged on, by the names of then."""
        record = self._records[past.version]
        if record.dataset_id not in self._asked:
            store = self._adapters.store
            signature = signature_of_version(self._adapters, record, self._entries)
            spec, dataset = load_pipeline(store, record.revision), load_dataset(store, record.dataset_id)
            self._asked[record.dataset_id] = Examples(store, spec, dataset, signature)
        return self._asked[record.dataset_id]

    @cached_property
    def _entries(self) -> list[LedgerEntry]:
        """What was really promoted."""
        name = next(iter(self._records.values())).name
        return self._adapters.ledger.entries(name)

    def _ancestor(self, version: int) -> Registration | None:
        """As `tasks.rescore.ancestor_of`; None for one whose record is gone."""
        record = self._records.get(version)
        if record is not None:
            refuse_changed_registration(self._adapters.store, record, self._entries)
        return record


def without_comparison(evidence: Evidence) -> Evidence:
    """What was measured against the champion of then says nothing of another one."""
    if evidence.attribution_shift is None:
        return evidence
    missing = {**evidence.missing, "attributions": "they were compared with another champion then"}
    return replace(evidence, attribution_shift=None, missing=missing)

"""Makes a long history quickly: generations 2 to N of a pipeline whose first was trained and promoted by a real run.

Every object that a run leaves and that a reader of history reads is there, written by the functions that a run writes
them with: files of the artifact, manifest, registration, the version in MLflow, per-row outputs, evidence, policy, four
judged and signed decisions, gate runs, the use of the test rows, and the ledger entry. What a run does beside that
(reading raw objects, training, measuring) is left out: the first version's results are taken again, with other outputs.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlparse

import numpy as np
from mlratchet.models.artifact.manifest import ArtifactManifest, publish_manifest
from mlratchet.models.decisions.decision import build_decision, load_decision
from mlratchet.models.decisions.environment import environment, judging_source_digest
from mlratchet.models.decisions.gate_run import GateRun, gate_run_id, publish_gate_run
from mlratchet.models.decisions.judge_again import load_policy, publish_policy, verdict_on
from mlratchet.models.decisions.signature import publish_decision
from mlratchet.models.decisions.stored_evidence import Basis, freeze, thaw
from mlratchet.models.gates.evidence import Evidence
from mlratchet.models.gates.holdout import record_use
from mlratchet.models.gates.policy import GatePolicy
from mlratchet.models.identity.canonical import digest, digest_bytes
from mlratchet.models.ledger.entry import LedgerEntry
from mlratchet.models.metrics.rows import RowOutputs, save_rows
from mlratchet.models.promotion.move import champion_tags, project, promote_version
from mlratchet.models.registration.record import Registration, find_registration, publish_registration
from mlratchet.tasks.wiring import Adapters

GATES = ("data", "candidate", "staging", "champion")
NOISE = 1e-3  # standard deviation of what is added to the outputs of the first version
WRITERS = 8  # threads


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What one gate of the first version judged."""

    evidence: Evidence
    basis: Basis
    digests: dict[str, str]


class Generations:
    """The history of one pipeline, as far as it has been made."""

    def __init__(self, adapters: Adapters, pipeline: str) -> None:
        self._adapters, self._name = adapters, pipeline
        self._store, self._signer = adapters.store, adapters.keys.signer()
        entries = adapters.ledger.entries(pipeline)
        self._head: LedgerEntry = entries[-1]
        found = find_registration(self._store, entries[0].work_key)
        assert found is not None, "the first generation was made by a run"
        self._first: Registration = found
        self._gates = {gate: self._judged(gate, entries[0].decision) for gate in GATES}
        self._policy: GatePolicy = load_policy(self._store, self._gates["champion"].digests["policy"])
        where = urlparse(self._first.source_uri)
        self._uploads, self._prefix = adapters.bucket(where.netloc), where.path.strip("/") + "/"
        self._files = {name: self._uploads.get(self._prefix + name) for name in self._first.manifest["files"]}

    def _judged(self, gate: str, champion: str) -> Judged:
        decision = load_decision(self._store, champion)
        if gate != "champion":
            decision = load_decision(self._store, decision["digests"][f"gate.{gate}"])
        evidence, basis = thaw(self._store, decision["digests"]["evidence"])
        return Judged(evidence=evidence, basis=basis, digests=dict(decision["digests"]))

    def make(self, until: int) -> None:
        """Every generation that is missing up to `until`; the registry follows at the end, as `reconcile` makes it."""
        with ThreadPoolExecutor(WRITERS) as pool:
            while self._head.generation < until:
                self._promote(pool)
        project(self._adapters.ledger, self._adapters.registry, self._name)

    def _promote(self, pool: ThreadPoolExecutor) -> None:
        generation = self._head.generation + 1
        work_key = digest({"pipeline": self._name, "generation": generation})
        record = self._register(pool, work_key, generation)
        outputs = self._outputs(generation)
        decision = self._judge_all(pool, record, outputs)
        self._head = promote_version(
            self._adapters.ledger,
            record,
            decision=decision,
            actor="benchmark",
            reason=f"champion gate passed (decision {decision[:12]})",
            expected_generation=self._head.generation,
        )
        self._adapters.registry.set_tags(self._name, record.version, champion_tags(self._head))

    def _outputs(self, generation: int) -> RowOutputs:
        """As of a slightly other model on the same rows."""
        held = self._gates["champion"].evidence.candidate
        assert held is not None
        noise = np.random.default_rng(generation).normal(0.0, NOISE, held.output.shape)
        return replace(held, output=(held.output + noise).astype(held.output.dtype))

    def _register(self, pool: ThreadPoolExecutor, work_key: str, generation: int) -> Registration:
        files = {**self._files, "card.md": self._files["card.md"] + f"\nGeneration {generation}.\n".encode()}
        prefix = f"1/models/m-{work_key[:32]}/artifacts/"
        list(pool.map(lambda name: self._uploads.put(prefix + name, files[name]), files))
        manifest = ArtifactManifest(
            files={name: digest_bytes(data) for name, data in files.items()},
            sizes_bytes={name: len(data) for name, data in files.items()},
        )
        publish_manifest(self._store, manifest)
        source_uri = f"s3://{self._uploads.bucket}/{prefix.rstrip('/')}"
        made = self._adapters.registry.create_version(
            self._name,
            work_key=work_key,
            run_id=self._first.run_id,
            source_uri=source_uri,
            model_id=None,
            description=self._first.description,
            tags=self._first.tags,
        )
        record = self._first.model_copy(
            update={
                "version": made.version,
                "work_key": work_key,
                "source_uri": source_uri,
                "manifest": manifest.model_dump(mode="json"),
                "manifest_digest": manifest.digest(),
                "rows_key": save_rows(self._store, self._outputs(generation)),
            }
        )
        return publish_registration(self._store, record)

    def _judge_all(self, pool: ThreadPoolExecutor, record: Registration, outputs: RowOutputs) -> str:
        """The four gates of a version; the digest of the champion gate's decision."""
        uses = record_use(self._store, self._name, record.work_key, outputs.ids).uses
        shared: dict[str, str] = {"manifest": record.manifest_digest, "registration": record.digest()}
        earlier = list(pool.map(lambda gate: self._judge(gate, record, outputs, uses, shared), GATES[:3]))
        named = {f"gate.{gate}": decision for gate, decision in zip(GATES[:3], earlier, strict=True)}
        return self._judge("champion", record, outputs, uses, {**shared, **named})

    def _judge(self, gate: str, record: Registration, outputs: RowOutputs, uses: int, named: dict[str, str]) -> str:
        """As the gate of a run does."""
        first, store = self._gates[gate], self._store
        measured: dict[str, Any] = {} if gate == "data" else {"candidate": outputs, "holdout_uses": uses}
        if gate in ("candidate", "staging", "champion"):
            measured["champion"] = self._outputs(self._head.generation)
        registered = first.evidence.version is not None
        evidence = replace(first.evidence, version=record.version if registered else None, **measured)
        basis = replace(first.basis, first_model=False)
        result = verdict_on(self._policy, evidence, basis)
        assert result.verdict == "pass", [check.reason for check in result.checks]
        digests = {name: value for name, value in first.digests.items() if not name.startswith("gate.")}
        digests = digests | {"policy": publish_policy(store, self._policy), "evidence": freeze(store, evidence, basis)}
        judged = {name: value for name, value in named.items() if name.startswith("gate.") or name in digests}
        digests |= {**judged, "code": judging_source_digest()}
        if "rows" in digests:
            before = save_rows(store, self._outputs(self._head.generation))
            digests |= {"rows": record.rows_key, "champion_rows": before}
        decision = publish_decision(
            store,
            build_decision(
                self._name,
                gate,
                result,
                version=evidence.version,
                work_key=record.work_key,
                champion_version=self._head.version,
                digests=digests,
                actor="benchmark",
                now_s=basis.now_s,
                run_id=record.run_id,
                environment=environment(),
            ),
            self._signer,
        )
        identity = gate_run_id(
            gate=gate,
            work_key=record.work_key,
            policy_digest=digests["policy"],
            champion_version=self._head.version,
            dataset_id=record.dataset_id,
            evidence={"evidence": digests["evidence"]},
        )
        publish_gate_run(
            store, GateRun(id=identity, gate=gate, work_key=record.work_key, verdict="pass", decision=decision)
        )
        return decision

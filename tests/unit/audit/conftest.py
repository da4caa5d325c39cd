"""A pipeline with a history, in memory: real gates judge real evidence, and everything is signed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlratchet.infra.keys.files import MemoryKeys
from mlratchet.infra.ledger.objects import ObjectLedger
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.approval.standing import Approvals
from mlratchet.models.artifact.manifest import ArtifactManifest, publish_manifest
from mlratchet.models.audit.audit import Audit
from mlratchet.models.audit.generation import Depth
from mlratchet.models.audit.report import AuditReport
from mlratchet.models.data.quality import Measure
from mlratchet.models.decisions.decision import build_decision
from mlratchet.models.decisions.environment import environment, judging_source_digest
from mlratchet.models.decisions.judge_again import publish_policy, verdict_on
from mlratchet.models.decisions.signature import publish_decision
from mlratchet.models.decisions.stored_evidence import Basis, freeze
from mlratchet.models.gates.evidence import Evidence
from mlratchet.models.gates.policy import GatePolicy
from mlratchet.models.identity.canonical import digest_bytes
from mlratchet.models.identity.keys import Keys
from mlratchet.models.identity.signed_records import RecordStore
from mlratchet.models.identity.signing import TrustedKey, TrustedKeys
from mlratchet.models.ledger.chain import entry_key
from mlratchet.models.ledger.entry import LedgerEntry
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.ports.storage import ObjectStore
from mlratchet.models.registration.record import Registration, publish_registration

POLICY = GatePolicy.model_validate(
    {
        "data": [{"kind": "data", "measure": "rows", "minimum": 10.0}],
        "candidate": [{"kind": "absolute", "metric": "accuracy", "minimum": 0.5}],
        "staging": [{"kind": "latency", "quantile": "p95", "maximum_milliseconds": 50.0}],
        "champion": [
            {"kind": "absolute", "metric": "accuracy", "minimum": 0.5},
            {"kind": "non_inferiority", "metric": "f1_macro", "margin": 0.2, "resamples": 1000},
        ],
    }
)
GATES = ("data", "candidate", "staging", "champion")
DAY = 86_400.0


class World:
    """What a run leaves in the bucket, without a run."""

    def __init__(
        self, rows: Callable[..., RowOutputs], keys: Keys | None = None, *, name: str = "digits",
        store: ObjectStore | None = None, uploads: ObjectStore | None = None,
    ) -> None:  # fmt: skip
        self.rows, self.name = rows, name
        self.keys: Any = keys or MemoryKeys()
        self.store: Any = store if store is not None else MemoryStore("store")
        self.uploads: Any = uploads if uploads is not None else MemoryStore("uploads")
        self.now_s = 100 * DAY
        self.records: dict[int, Registration] = {}
        self.policy = POLICY
        self.names_registration = True  # decisions of before registrations were named by digest do not
        self.approve: Callable[[Registration, int | None], Approvals] | None = None
        self.revision = "v"  # of the next records
        self.files: dict[str, bytes] = {}  # of the next artifacts; empty: words that name the version

    @property
    def ledger(self) -> ObjectLedger:
        """As a process that has just started sees it."""
        return ObjectLedger(self.store, self.keys)

    def bucket(self, name: str) -> Any:
        """By name."""
        return {self.store.bucket: self.store, self.uploads.bucket: self.uploads}[name]

    def _folder(self, version: int) -> str:
        return f"1/models/{'' if self.name == 'digits' else f'{self.name}-'}m-{version}/artifacts"

    def work_key(self, version: int) -> str:
        """Of a version."""
        return f"{version:064x}" if self.name == "digits" else digest_bytes(f"{self.name} {version}".encode())

    def register(self, version: int, **more: Any) -> Registration:
        """Artifact, manifest and record of a version."""
        names = ("data/model.pt2", "signature.json", "card.md")
        files = self.files or {name: f"{name} of version {version}".encode() for name in names}
        for name, data in files.items():
            self.uploads.put(f"{self._folder(version)}/{name}", data)
        manifest = ArtifactManifest(
            files={name: digest_bytes(data) for name, data in files.items()},
            sizes_bytes={name: len(data) for name, data in files.items()},
        )
        publish_manifest(self.store, manifest)
        facts: dict[str, Any] = {
            "name": self.name, "version": version, "work_key": self.work_key(version), "run_id": "r", "model_id": None,
            "source_uri": f"s3://{self.uploads.bucket}/{self._folder(version)}", "weights_key": "k",
            "weights_sha256": "s", "manifest": manifest.model_dump(mode="json"), "manifest_digest": manifest.digest(),
            "snapshot_id": "s", "dataset_id": "d", "rows_key": "r", "revision": self.revision, "parent_version": None,
            "registered_s": 0.0,
        }  # fmt: skip
        record = Registration(**facts | more)
        self.records[version] = record = publish_registration(RecordStore(self.store, self.keys), record)
        return record

    def judge(self, gate: str, record: Registration, champion: int | None, **digests: str) -> str:
        """Publish one gate's decision, as tasks/steps/gate.py does; returns its digest."""
        scored, version = gate in ("candidate", "champion"), record.version
        evidence = Evidence(
            version=version if gate in ("staging", "champion") else None,
            dataset_id="d",
            candidate=self.rows(seed=version) if scored else None,
            champion=self.rows(seed=champion) if gate == "champion" and champion else None,
            data_measures={"rows": Measure(value=400.0, n=400)} if gate == "data" else {},
            latency_ms={"p95": 1.5} if gate == "staging" else {},
            latency_n=300 if gate == "staging" else 0,
            approval=self.approve(record, champion) if self.approve is not None and gate == "champion" else None,
        )
        basis = Basis(
            gate=gate,
            first_model=champion is None,
            task="classification",
            class_names=("0", "1", "2"),
            now_s=self.now_s,
        )
        result = verdict_on(self.policy, evidence, basis)
        self.now_s += 1.0
        decision = build_decision(
            self.name, gate, result, version=evidence.version, work_key=record.work_key, champion_version=champion,
            digests={
                "policy": publish_policy(self.store, self.policy), "evidence": freeze(self.store, evidence, basis),
                "dataset": record.dataset_id, "code": judging_source_digest(), **digests,
            },
            actor="ada", now_s=self.now_s, run_id="run", environment=environment(),
        )  # fmt: skip
        return publish_decision(self.store, decision, self.keys.signer())

    def gates(self, record: Registration, champion: int | None) -> str:
        """All four; returns the champion gate's decision."""
        earlier = {f"gate.{gate}": self.judge(gate, record, champion) for gate in GATES[:3]}
        judged = {"manifest": record.manifest_digest}
        judged |= {"registration": record.digest()} if self.names_registration else {}
        return self.judge("champion", record, champion, **judged, **earlier)

    def promote(self, version: int, **more: Any) -> LedgerEntry:
        """A version from nothing to champion. `more`: of its registration."""
        entries = self.ledger.entries(self.name)
        record = self.register(version, **more)
        decision = self.gates(record, entries[-1].version if entries else None)
        return self.append(record, decision, len(entries))

    def append(self, record: Registration, decision: str, expected: int, **more: Any) -> LedgerEntry:
        """The ledger entry."""
        self.now_s += 1.0
        facts = {"action": "promote", "actor": "ada", "reason": "why", "now_s": self.now_s, **more}
        return self.ledger.append(
            self.name, version=record.version, work_key=record.work_key, decision=decision,
            manifest=record.manifest_digest, expected_generation=expected, **facts,
        )  # fmt: skip

    def roll_back(self, version: int) -> LedgerEntry:
        """To an earlier champion."""
        entries = self.ledger.entries(self.name)
        record = self.records[version]
        self.now_s += 1.0
        document = {
            "kind": "rollback", "pipeline": self.name, "gate": "rollback", "verdict": "pass", "version": version,
            "work_key": record.work_key, "champion_version": entries[-1].version, "actor": "ada", "reason": "why",
            "at_s": self.now_s, "checks": [],
        }  # fmt: skip
        digest = publish_decision(self.store, document, self.keys.signer())
        return self.append(record, digest, len(entries), action="rollback")

    def audit(self, *, trusted: TrustedKeys | None = None, replay: bool = False, **heads: str) -> AuditReport:
        """By the public list alone."""
        believed = trusted if trusted is not None else self.keys.trusted()
        made = Audit(self.store, self.bucket, believed, self.name, depth=Depth(replay=replay))
        return made.run(known_heads=heads)

    def remove(self, *generations: int) -> int:
        """Delete ledger entries; returns how many are left."""
        for generation in generations:
            self.store.delete(entry_key(self.name, generation))
        return sum(1 for _ in self.store.list(f"ledger/{self.name}/"))

    def copied(self) -> World:
        """Another with the same key, whose buckets hold the same."""
        made = World(self.rows, MemoryKeys(self.keys.signer(), self.keys.trusted()), name=self.name)
        for ours, theirs in ((made.store, self.store), (made.uploads, self.uploads)):
            for info in theirs.list():
                ours.create(info.key, theirs.get(info.key))
        made.now_s, made.records = self.now_s, dict(self.records)
        return made

    def change_keys(self, keys: MemoryKeys) -> None:
        """From now on another key signs; whom to believe comes with it."""
        self.keys = keys

    def change_trust(self, keys: list[TrustedKey]) -> None:
        """Whom to believe from now on, everywhere."""
        self.keys.list = TrustedKeys(keys)


def made_world(classified: Callable[..., RowOutputs]) -> World:
    """Versions 1 and 2 were promoted, 2 was rolled back, 3 was promoted."""

    def rows(seed: int) -> RowOutputs:
        made = classified(n=60, accuracy=0.9, seed=seed)
        return RowOutputs(ids=made.ids, y=made.y, output=made.output, dataset_id="d")

    made = World(rows)
    made.promote(1)
    made.promote(2)
    made.roll_back(1)
    made.promote(3)
    return made

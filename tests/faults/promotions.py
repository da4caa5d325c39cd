"""Registered versions with a tiny artifact, promotions of them, and what must hold of them whatever happened."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlratchet.infra.artifact.fetch import fetch_artifact
from mlratchet.infra.keys.files import MemoryKeys
from mlratchet.infra.ledger.objects import ObjectLedger
from mlratchet.models.artifact.manifest import ArtifactManifest, publish_manifest
from mlratchet.models.decisions.signature import Context, publish_decision
from mlratchet.models.fault_points import InjectedFault
from mlratchet.models.gates.names import EARLIER_GATES
from mlratchet.models.identity.canonical import digest, digest_bytes
from mlratchet.models.identity.keys import Keys
from mlratchet.models.ledger.entry import LedgerConflict, LedgerEntry
from mlratchet.models.ports.registry import Registry
from mlratchet.models.ports.storage import ObjectStore
from mlratchet.models.promotion.follow import project_versions
from mlratchet.models.promotion.move import HEAD, project, promote_version
from mlratchet.models.promotion.verify import verify_entry
from mlratchet.models.registration.record import Registration, find_registration, publish_registration
from mlratchet.models.serving.follower import ChampionFollower
from mlratchet.models.serving.slot import Slot

POINTS = (
    "promote.before_ledger",
    "promote.after_ledger",
    "promote.after_head",
    "promote.after_alias_champion",
    "promote.after_alias_previous",
    "promote.after_tags",
    "serve.before_swap",
)


@dataclass
class Scene:
    """One pipeline over one store and one registry; the store holds the artifacts, too."""

    name: str
    store: ObjectStore
    registry: Registry
    run_id: str = "run"
    records: list[Registration] = field(default_factory=list)
    keys: Keys = field(default_factory=MemoryKeys)
    began_s: float = field(default_factory=time.time)  # of every decision: the same again is the same document
    judged: dict[str, dict[str, str]] = field(default_factory=dict)  # work key -> gate -> digest of its decision

    def ledger(self) -> ObjectLedger:
        """As a process that has just started sees it."""
        return ObjectLedger(self.store, self.keys)

    def register(self, count: int) -> list[Registration]:
        """The next versions: one small file each, a champion gate that passed, a registration."""
        made = []
        for at in range(len(self.records) + 1, len(self.records) + count + 1):
            work_key = digest([self.name, at])
            data = f"weights of {self.name} {at}".encode()
            manifest = ArtifactManifest(
                files={"data/model.pt2": digest_bytes(data)}, sizes_bytes={"data/model.pt2": len(data)}
            )
            prefix = f"artifacts/{self.name}/{at}"
            self.store.put(f"{prefix}/data/model.pt2", data)
            publish_manifest(self.store, manifest)
            source = f"s3://{self.store.bucket}/{prefix}"
            version = self.registry.create_version(
                self.name, work_key=work_key, run_id=self.run_id, source_uri=source, model_id=None, description="",
                tags={"ratchet.manifest": manifest.digest()},
            )  # fmt: skip
            record = Registration(
                name=self.name, version=version.version, work_key=work_key, run_id=self.run_id, model_id=None,
                source_uri=source, manifest=manifest.model_dump(mode="json"), manifest_digest=manifest.digest(),
                weights_key="w", weights_sha256="w", snapshot_id="s", dataset_id="d", rows_key="r", revision="none",
                parent_version=None, registered_s=time.time(), tags={"ratchet.manifest": manifest.digest()},
            )  # fmt: skip
            made.append(publish_registration(self.store, record))
        self.records += made
        return made

    def decide(self, record: Registration, champion: int | None) -> str:
        """Four gates that passed against this champion, signed; the digest of the last one."""
        about = {
            "kind": "gate", "pipeline": self.name, "verdict": "pass", "version": record.version,
            "work_key": record.work_key, "champion_version": champion, "actor": "ada", "checks": [],
            "at_s": self.began_s,
        }  # fmt: skip
        digests = {"manifest": record.manifest_digest}
        signer = self.keys.signer()
        if record.work_key not in self.judged:  # the gates before the champion's do not look at the champion
            self.judged[record.work_key] = {
                f"gate.{gate}": publish_decision(self.store, {**about, "gate": gate, "digests": digests}, signer)
                for gate in EARLIER_GATES
            }
        earlier = self.judged[record.work_key]
        last = {**about, "gate": "champion", "digests": {**digests, **earlier}}
        return publish_decision(self.store, last, signer)

    def promote(self, record: Registration, expected: int, decision: str | None = None) -> LedgerEntry:
        """As the flow does: the entry, then what follows it. With a ledger of its own, like any process."""
        ledger = self.ledger()
        if decision is None:
            held = ledger.entries(self.name)[:expected]
            decision = self.decide(record, held[-1].version if held else None)
        entry = promote_version(
            ledger, record, decision=decision, actor=f"actor-{record.version}", reason="better",
            expected_generation=expected,
        )  # fmt: skip
        project(ledger, self.registry, self.name)
        return entry

    def head(self) -> LedgerEntry:
        """The newest entry."""
        head = self.ledger().head(self.name)
        assert head is not None
        return head

    def reconcile(self) -> list[str]:
        """What `ratchet reconcile` does for one pipeline."""
        ledger = self.ledger()
        repaired = project(ledger, self.registry, self.name)
        entries = ledger.entries(self.name)
        return repaired + project_versions(self.store, self.registry, self.name, self.records, entries)

    def fetch(self, record: Registration, into: Path) -> None:
        """The artifact, every byte verified."""
        fetch_artifact(lambda _: self.store, record, into)

    def check(self, folder: Path, generations: int) -> None:
        """I1 to I3 after a reconcile, and I10: a second one finds nothing."""
        versions = self.registry.list_versions(self.name)
        assert [v.version for v in versions] == [r.version for r in self.records]  # I1
        assert len({v.tags["ratchet.work_key"] for v in versions}) == len(versions)
        ledger = self.ledger()
        entries = ledger.entries(self.name)  # I2: the chain is verified by reading it
        assert [entry.generation for entry in entries] == list(range(1, generations + 1))
        head = entries[-1]
        champion = self.registry.get_alias(self.name, "champion")
        assert champion is not None
        assert champion.version == head.version
        assert self.registry.model_tags(self.name)[HEAD] == ledger.digests(self.name)[-1]
        record = find_registration(self.store, head.work_key)  # I3
        assert record is not None
        chain = ledger.chain(self.name)
        context = Context(self.keys.trusted(), chain, head.generation)
        decision = verify_entry(self.store, entries, head.generation, context)
        if head.action == "promote":
            assert decision["digests"]["manifest"] == record.manifest_digest == head.manifest
        self.fetch(record, folder)
        assert self.reconcile() == []


@dataclass(frozen=True)
class Served:
    """What the server holds: a version whose bytes were verified."""

    version: int
    generation: int

    def warm_up(self) -> None:
        """Nothing to warm."""


class TinyLoader:
    """An artifact that no torch has to load, verified as the real loader does."""

    def __init__(self, scene: Scene, folder: Path) -> None:
        self._scene, self._folder = scene, folder

    def load(self, record: Registration, generation: int) -> Any:
        """Every byte verified."""
        self._scene.fetch(record, self._folder / str(generation))
        return Served(record.version, generation)


class TinyFollower(ChampionFollower):
    """The server's own follower, over any store."""

    def __init__(self, scene: Scene, folder: Path) -> None:
        super().__init__(
            scene.name, Slot(), ledger=scene.ledger(), keys=scene.keys, store=scene.store,
            loader=TinyLoader(scene, folder),
        )  # fmt: skip

    @property
    def version(self) -> int | None:
        """What is served."""
        return self._slot.current.version if self._slot.current is not None else None


def at_once(records: list[Registration], promote: Callable[[Registration], LedgerEntry]) -> tuple[list[Any], list[str]]:
    """Promote all in threads of their own; what came of each, and what the losers were told."""
    losers: list[str] = []

    def attempt(record: Registration) -> LedgerEntry | str:
        try:
            return promote(record)
        except LedgerConflict as lost:
            losers.append(str(lost))
            return "lost"
        except InjectedFault as fault:
            return f"failed at {fault}"

    with ThreadPoolExecutor(len(records)) as pool:
        return list(pool.map(attempt, records)), losers

"""From a bucket of commit 9309f01 to the next promoted version: what a user without an approver's key is told, and what
follows once a person has taken over what was written then."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from mlratchet.flows.runs.report import Report
from mlratchet.infra.child.keep_out import keep_users_code_out
from mlratchet.infra.keys.files import MemoryKeys, public_half
from mlratchet.infra.launch import local
from mlratchet.infra.launch.local import LocalLauncher
from mlratchet.infra.ledger.objects import ObjectLedger
from mlratchet.models.audit.audit import Audit, Depth
from mlratchet.models.identity.signed_records import RecordStore, UnsignedRecord
from mlratchet.models.identity.signing import Signer
from mlratchet.models.pipeline.loading import read_pipeline
from mlratchet.models.ports.children import install
from mlratchet.models.promotion.registered import REGISTRATION
from mlratchet.tasks.actions.adopt import adopt
from mlratchet.tasks.steps.evaluate import evaluate
from mlratchet.tasks.steps.gate import pass_gate
from mlratchet.tasks.steps.ingest import ingest
from mlratchet.tasks.steps.preprocess import preprocess
from mlratchet.tasks.steps.promote import promote
from mlratchet.tasks.steps.recognise import recognise
from mlratchet.tasks.steps.register import register
from mlratchet.tasks.steps.stage import measure
from mlratchet.tasks.steps.train import train
from mlratchet.tasks.steps.validate import validate
from mlratchet.tasks.wiring import Run

from tests.fixtures.stored_bucket import BUCKET_9309F01, StoredBucket

pytestmark = pytest.mark.slow
NAME = "sites"


class Site:
    """The installation after the upgrade. The private key of then was not kept with the fixture: a new one signs."""

    def __init__(self, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stored, ours, self.person = StoredBucket(BUCKET_9309F01), Signer.generate(), Signer.generate()
        trusted = self.stored.trusted.replacing(public_half(ours, "pipeline", "tests"))
        self.keys = MemoryKeys(ours, trusted.replacing(public_half(self.person, "approver", "bea")))
        self.store = RecordStore(self.stored.store, self.keys)
        self.spec = read_pipeline(project / "sites.yaml")
        home = project / ".ratchet"
        self.adapters: Any = SimpleNamespace(
            **{**vars(self.stored.adapters()), "store": self.store, "keys": self.keys},
            launcher=LocalLauncher(home),
            settings=SimpleNamespace(home=home, prefect_api_url="http://127.0.0.1:1/api", pipelines_dir=project),
        )
        self.adapters.ledger = ObjectLedger(self.store, self.keys)
        monkeypatch.setattr(local, "signing_store", lambda _settings: self.store)

    def deliver(self, number: int, rows: int) -> None:
        """As the fixture's own script makes them."""
        weights, rng = np.random.default_rng(0).normal(size=10), np.random.default_rng(number)
        x = rng.normal(size=(rows, 10)).round(3)
        label = (x @ weights + 0.3 * rng.normal(size=rows) > 0).astype(int)
        lines = [",".join([*(f"x{i}" for i in range(10)), "site", "label"])]
        for at, (row, y) in enumerate(zip(x, label, strict=True)):
            lines.append(",".join([*map(str, row), "north" if at % 2 else "south", str(y)]))
        self.stored.raw.put(f"sites/rows-{number}.csv", "\n".join(lines).encode())

    def retrain(self) -> Any:
        """The road of `flows.retrain.climb`, without Prefect, to the ledger's new entry."""
        run = Run(self.spec, self.adapters, run_id="r", actor="test")
        try:
            snapshot = ingest.fn(run)
            work = recognise.fn(run, snapshot)
            checked = validate.fn(run, snapshot, work)
            data = self.passed(run, work, "data", checked.evidence, checked.digests)
            dataset = preprocess.fn(run, work, snapshot, checked)
            trained = train.fn(run, work)
            found = evaluate.fn(run, work, dataset, trained)
            rows = found.digests()
            weights = {"weights": trained.result.weights_sha256}
            candidate = self.passed(run, work, "candidate", found.evidence(), {**rows, **weights})
            record = register.fn(run, work, trained, found, candidate)
            judged = {"manifest": record.manifest_digest, REGISTRATION: record.digest()}
            evidence = found.evidence(version=record.version, staged=measure.fn(run, work, record, found))
            staging = self.passed(run, work, "staging", evidence, {**rows, **judged})
            gates = {f"gate.{one.gate}": one.decision for one in (data, candidate, staging)}
            champion = self.passed(run, work, "champion", evidence, {**rows, **judged, **gates})
            return promote.fn(run, work, record, champion)
        finally:
            run.close(failed=False)

    def passed(self, run: Run, work: Any, gate: str, evidence: Any, digests: dict[str, str]) -> Any:
        found = pass_gate.fn(run, work, gate, evidence, digests)
        assert found.verdict == "pass", found.reasons
        return found


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_pages: None) -> Iterator[Site]:
    for name in ("sites.yaml", "two_layers.py"):
        shutil.copy(BUCKET_9309F01 / "project" / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    home = tmp_path / ".ratchet"
    home.mkdir()
    (home / "stack.env").write_text(
        "RATCHET_S3_ACCESS_KEY=a\nRATCHET_S3_SECRET_KEY=b\nRATCHET_MLFLOW_TRACKING_URI=x\nRATCHET_PREFECT_API_URL=x\n"
    )
    keep_users_code_out(home)
    yield Site(tmp_path, monkeypatch)
    install(None)


def test_a_user_is_told_who_has_to_do_what_and_the_next_version_is_promoted_after_it(site: Site) -> None:
    with pytest.raises(UnsignedRecord) as refused:
        site.retrain()
    line = Report(run_id="r", pipeline=NAME).failed(refused.value).facts["line"]
    assert refused.value.exit_code == 6
    assert "somebody with an approver's key" in line
    assert "`ratchet adopt sites`" in line
    assert "`ratchet keys new --owner NAME` makes one" in line
    adopt(site.adapters, NAME, signer=site.person, owner="bea")
    site.deliver(4, 400)  # rows are named otherwise since: too few of the old ones are left that the champion never saw
    entry = site.retrain()
    assert (entry.generation, entry.version) == (8, 6)
    report = Audit(site.store, site.stored.bucket, site.keys.trusted(), NAME, depth=Depth(replay=True)).run()
    assert report.problems == []

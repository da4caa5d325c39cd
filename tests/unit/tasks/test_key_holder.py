"""A whole road over adapters in memory, every piece of the user's own: the process with the key imports none of it."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from mlratchet.flows.check_file import check_pipeline
from mlratchet.infra.child.keep_out import keep_users_code_out
from mlratchet.infra.keys.files import MemoryKeys
from mlratchet.infra.launch import local
from mlratchet.infra.launch.local import LocalLauncher
from mlratchet.infra.ledger.objects import ObjectLedger
from mlratchet.infra.registry.memory import MemoryRegistry
from mlratchet.infra.serving.server import ArtifactLoader
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.infra.tracking.memory import MemoryTracker
from mlratchet.models.decisions.decision import load_decision
from mlratchet.models.decisions.judge_again import replay
from mlratchet.models.finding import Finder
from mlratchet.models.gates.evidence import Evidence
from mlratchet.models.identity.signed_records import RecordStore
from mlratchet.models.ports.children import install
from mlratchet.models.tensors.named import Inputs
from mlratchet.tasks.steps.evaluate import evaluate
from mlratchet.tasks.steps.gate import pass_gate
from mlratchet.tasks.steps.ingest import ingest
from mlratchet.tasks.steps.preprocess import preprocess
from mlratchet.tasks.steps.recognise import recognise
from mlratchet.tasks.steps.register import register
from mlratchet.tasks.steps.stage import measure
from mlratchet.tasks.steps.train import train
from mlratchet.tasks.steps.validate import validate
from mlratchet.tasks.wiring import Run

from tests.conftest import REPOSITORY

pytestmark = pytest.mark.slow
EXAMPLE = REPOSITORY / "docs" / "examples" / "counts"
OWN = """
from typing import ClassVar
from mlratchet.models.gates.checks.base import Check
from mlratchet.models.gates.result import CheckResult

def many(evidence):
    return {"value": len(evidence.candidate.ids), "verdict": "pass", "reason": "rows", "n": 3}

def noise(x, rng):
    return (x + rng.normal(size=x.shape) * 0.01).astype(x.dtype)

def halves(rows):
    return ["a" if i % 2 else "b" for i in range(len(rows.ids))]

class Few(Check):
    kind: str
    gates: ClassVar[tuple[str, ...]] = ("champion",)
    wears: ClassVar[bool] = False

    def judge(self, case):
        return CheckResult(kind=self.kind, metric="few", verdict="pass", reason="few", threshold="", value=1.0, n=1)
"""
SPY = """

def secrets_in_reach():
    import os
    from pathlib import Path
    found = [name for name, value in os.environ.items() if "SECRET" in name or "s3-secret" in value]
    for file in ("stack.env", "keys/pipeline.pem"):
        try:
            found.append((Path("PROJECT") / ".ratchet" / file).read_text())
        except PermissionError:
            pass
    return found

class Counts(Counts):
    def answers(self, output, class_names):
        if secrets_in_reach():
            raise RuntimeError(f"in reach: {secrets_in_reach()}")
        return super().answers(output, class_names)

class VisitCounts(VisitCounts):
    task = Counts
"""
MORE = """
    - {kind: custom, function: "own:many"}
    - {kind: own:Few}
    - kind: robustness
      metric: poisson_deviance
      maximum_drop: 0.5
      perturbation: {kind: custom, function: "own:noise"}
    - {kind: slice, metric: poisson_deviance, function: "own:halves", maximum: 5.0}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_pages: None) -> Iterator[Path]:
    """The folder that the user works in."""
    for name in ("visits.py", "visits.yaml"):
        shutil.copy(EXAMPLE / name, tmp_path)
    with (tmp_path / "visits.py").open("a") as sink:
        sink.write(SPY.replace("PROJECT", str(tmp_path)))
    with (tmp_path / "visits.yaml").open("a") as sink:
        sink.write(MORE.lstrip("\n"))
    (tmp_path / "own.py").write_text(OWN)
    subprocess.run([sys.executable, str(EXAMPLE / "make_rows.py"), "600"], cwd=tmp_path, check=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, ""])
    home = tmp_path / ".ratchet"
    (home / "keys").mkdir(parents=True)
    (home / "keys" / "pipeline.pem").write_text("the key")
    monkeypatch.setenv("RATCHET_S3_SECRET_KEY", "s3-secret")
    (home / "stack.env").write_text(
        "RATCHET_S3_ACCESS_KEY=a\nRATCHET_S3_SECRET_KEY=s3-secret\nRATCHET_MLFLOW_TRACKING_URI=x\nRATCHET_PREFECT_API_URL=x\n"
    )
    keep_users_code_out(home)
    yield tmp_path
    install(None)


def opened(project: Path, raw: MemoryStore, store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Adapters in memory."""
    artifacts, keys = MemoryStore("mlflow"), MemoryKeys()
    signed = RecordStore(store, keys)
    monkeypatch.setattr(local, "signing_store", lambda _settings: signed)
    return SimpleNamespace(
        store=signed, raw=raw, keys=keys, ledger=ObjectLedger(signed, keys), registry=MemoryRegistry(),
        tracker=MemoryTracker(artifacts), bucket=lambda _name: artifacts, launcher=LocalLauncher(project / ".ratchet"),
        settings=SimpleNamespace(home=project / ".ratchet", prefect_api_url="http://127.0.0.1:1/api"),
    )  # fmt: skip


def test_the_process_with_the_key_imports_nothing_of_the_users(
    project: Path, raw: MemoryStore, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("visits", "own"):  # another test may have imported an example
        monkeypatch.delitem(sys.modules, name, raising=False)
    spec, _ = check_pipeline(project / "visits.yaml")
    raw.put("visits/rows.csv", (project / "visits.csv").read_bytes() + b"0,0,0,-1\n")
    run = Run(spec, opened(project, raw, store, monkeypatch), run_id="r", actor="test")
    snapshot = ingest.fn(run)
    work = recognise.fn(run, snapshot)
    checked = validate.fn(run, snapshot, work)
    assert [one.code for one in checked.rejects] == ["unknown_label"]
    dataset = preprocess.fn(run, work, snapshot, checked)
    trained = train.fn(run, work)
    evaluation = evaluate.fn(run, work, dataset, trained)
    assert 0.5 < evaluation.metrics["poisson_deviance"].value < 2.0
    candidate = judged(run, work, "candidate", evaluation.evidence())
    record = register.fn(run, work, trained, evaluation, candidate)
    staged = measure.fn(run, work, record, evaluation)
    assert staged.parity_max_difference < 1e-4
    assert staged.contract_failures == ()  # the objective answers there, and reaches no secret
    assert staged.contract_n > 0
    served = ArtifactLoader(lambda _: run.adapters.bucket(""), (project / ".ratchet",)).load(record, 1)
    served.warm_up()
    assert 0 < served.predict(Inputs({"x": np.zeros((1, 3), np.float32)}))[0]["rate"] < 10
    assert served.answer_schema == {"rate": {"type": "number", "minimum": 0}}
    champion = judged(run, work, "champion", evaluation.evidence(version=record.version, staged=staged))
    again = replay(run.adapters.store, load_decision(run.adapters.store, champion.decision))
    assert (again.problems, again.verdict) == ((), "pass")
    run.close(failed=False)
    assert not {"visits", "own"} & set(sys.modules)


def judged(run: Run, work: Any, gate: str, evidence: Evidence) -> Any:
    found = pass_gate.fn(run, work, gate, evidence, {})
    assert found.verdict == "pass", found.reasons
    return found


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("name", ["brotli_of_a_library", "mlratchet.evil"])
def test_an_import_of_a_librarys_finds_no_file_of_the_project(project: Path, name: str) -> None:
    file = project / f"{name.replace('.', '/')}.py"
    file.parent.mkdir(exist_ok=True)
    file.write_text("x = 1")
    importlib.invalidate_caches()
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(name)
    found = Finder().find(name)  # its source is found all the same
    assert found is not None
    assert (found.whose, found.origin) == ("own", str(file))

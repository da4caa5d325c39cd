"""A run over memory adapters: a table's dataset, trained weights, and versions whose programs are modules in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from mlratchet.infra.keys.files import MemoryKeys
from mlratchet.infra.ledger.objects import ObjectLedger
from mlratchet.infra.registry.memory import MemoryRegistry
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.infra.tracking.memory import MemoryTracker
from mlratchet.models.artifact.signature import Signature, signature_of
from mlratchet.models.data.dataset import DatasetManifest
from mlratchet.models.data.preprocess import read_dataset_records, write_dataset
from mlratchet.models.data.snapshot import take_snapshot
from mlratchet.models.decisions.decision import build_decision
from mlratchet.models.decisions.signature import publish_decision
from mlratchet.models.gates.result import GateResult
from mlratchet.models.identity.canonical import canonical_json, digest_bytes
from mlratchet.models.identity.signed_records import RecordStore
from mlratchet.models.pipeline.loading import parse_pipeline
from mlratchet.models.pipeline.store import publish_pipeline
from mlratchet.models.promotion.move import project
from mlratchet.models.registration.record import Registration, publish_registration
from mlratchet.models.training.result import TrainResult
from mlratchet.models.workloads.loading import load_workload
from mlratchet.models.workloads.standardise import neutral
from mlratchet.tasks.showing import prefect_page
from mlratchet.tasks.steps import evaluate as evaluating
from mlratchet.tasks.steps.train import Trained
from mlratchet.tasks.support import open_version
from mlratchet.tasks.support.exported_candidate import Exported
from mlratchet.tasks.support.work import Work
from safetensors.torch import save

from tests.unit.audit.conftest import World

PIPELINE = """
name: table
workload:
  use: mlratchet.models.workloads.tabular:TableClassifier
  parameters: {columns: [a, b, c], classes: ["no", "yes"]}
source: {prefix: t/}
data: {split: {test: 0.5}}
gates:
  data: [{kind: data, measure: rows, minimum: 1}]
  candidate: [{kind: absolute, metric: accuracy, minimum: 0.5}]
  staging: [{kind: parity, maximum_difference: 0.1}]
  champion: [{kind: absolute, metric: accuracy, minimum: 0.5}]
"""

KEYS = MemoryKeys()
OLD = {"columns": ["a", "b", "c"], "classes": ["no", "yes"]}  # of a version, unless it has a signature of its own


class Road:
    """What `evaluate` takes, and how tests change it."""

    def __init__(self, raw: MemoryStore, store: MemoryStore, scratch: Path) -> None:
        self.raw, self.store, self.scratch = raw, store, scratch
        self.registry, self.artifacts = MemoryRegistry(), MemoryStore("mlflow")
        self.tracker = MemoryTracker(self.artifacts)
        index = canonical_json({"format": 2, "records": {}})  # of dataset d, whose records nobody delivers again
        store.create(f"indexes/{digest_bytes(index)}.json", index)
        nothing = DatasetManifest(
            id="d", snapshot_id="s", splits=dict.fromkeys(("train", "validation", "test"), ()), rows={},
            target_counts={}, index_sha256=digest_bytes(index), identity_columns=("a", "b", "c", "region"),
        )  # fmt: skip
        store.create("datasets/d.json", canonical_json(nothing.model_dump(mode="json")))
        self.signatures: dict[str, Signature] = {}
        self.programs: dict[str, Any] = {}  # name of a version's directory -> module, or the error of its loading

    @staticmethod
    def run_policy(*checks: str) -> Any:
        """The gates of a pipeline whose champion gate begins with these checks."""
        text = PIPELINE.replace("  champion: [", "  champion: [" + "".join(f"{check}, " for check in checks))
        return parse_pipeline(text, where="test").gates

    def x_of(self, ids: list[str]) -> list[Any]:
        """What was delivered of these rows, by id."""
        return [self.delivered[identity] for identity in ids]

    def run(
        self, *checks: str, gate: str = "candidate", more: str = "",
        parameters: str = '{columns: [a, b, c], classes: ["no", "yes"]}', source: str = "{prefix: t/}",
        use: str = "TableClassifier", module: str = "tabular",
    ) -> Any:  # fmt: skip
        text = PIPELINE.replace('{columns: [a, b, c], classes: ["no", "yes"]}', parameters).replace(
            "{prefix: t/}", source
        )
        text = text.replace("tabular:TableClassifier", f"{module}:{use}")
        text = text.replace(f"  {gate}: [", f"  {gate}: [" + "".join(f"{check}, " for check in checks)) + more
        spec = parse_pipeline(text, where="test")
        adapters = SimpleNamespace(
            store=self.store, ledger=ObjectLedger(self.store, KEYS), registry=self.registry, tracker=self.tracker,
            bucket=self.bucket, keys=KEYS,
        )  # fmt: skip
        return SimpleNamespace(fitted="", data_code={},
            spec=spec, adapters=adapters, workload=load_workload(spec.workload.use, dict(spec.workload.parameters)),
            scratch=self.scratch, tracking_run=self.tracking_run, pages={}, reading="", run_id="r", actor="test",
            raw=self.raw, because=None,
        )  # fmt: skip

    def bucket(self, name: str) -> MemoryStore:
        """Where artifacts are, whatever the bucket's name."""
        return self.artifacts

    def dataset(self, run: Any, rows: int = 400, *, maybe: int = 0, empty_c: int = 0) -> DatasetManifest:
        """`maybe` rows more are of a third class; `empty_c`: every so many rows lack column c."""
        rng = np.random.default_rng(0)
        x = rng.normal(size=(rows, 3))
        lines = ["a,b,c,label,region"]
        for number, one in enumerate(x):
            label = "yes" if one[0] + one[1] > 0 else "no"
            c = "" if empty_c and number % empty_c == 0 else f"{one[2]:.6f}"
            lines.append(f"{one[0]:.6f},{one[1]:.6f},{c},{label},{'eu' if number % 3 else 'us'}")
        lines += [f"{one[0]:.6f},{one[1]:.6f},10,maybe,eu" for one in rng.normal(size=(maybe, 2))]
        self.raw.put("t/rows.csv", "\n".join(lines).encode())
        snapshot = take_snapshot(self.raw, self.store, prefix="t/")
        records, _ = read_dataset_records(self.store, snapshot, run.workload, run.spec.source)
        self.delivered = {record.id: record.x for record in records}
        return write_dataset(
            self.store, snapshot, records, "w", run.spec.workload, run.spec.data, run.spec.source,
            class_names=run.workload.class_names(), input_columns=run.workload.input_spec().columns,
        )  # fmt: skip

    @property
    def tracking_run(self) -> str:
        return self.tracker.open_run("table", work_key="new", flow_run="f", name="n", tags={})

    def trained(self, weights: tuple[float, float, float]) -> Trained:
        return self.trained_module(program(weights))

    def trained_module(self, module: torch.nn.Module) -> Trained:
        columns = next(p for p in module.parameters() if p.ndim == 2).shape[1]
        data = save(neutral(columns, target=False) | module.state_dict())
        key = f"work/new/e000001/weights-{digest_bytes(data)}.safetensors"
        self.store.create(key, data)
        self.store.put("work/new/e000001/result.json", b"{}")
        result = TrainResult(
            weights_key=key, weights_sha256=digest_bytes(data), history=(), steps=10, resumed_from_step=0, seconds=2.0
        )
        return Trained(
            result=result, tracking_run=self.tracking_run, parent_version=None,
            tensorboard=self.scratch / "none", trace=self.scratch / "none",
        )  # fmt: skip

    def version(
        self, program: Any, *, champion: bool = True, dataset_id: str = "d", revision: str = "",
        parent: Registration | None = None, names_registration: bool = True,
        signature: Signature | None = None, weights_sha256: str = "s",
    ) -> Registration:  # fmt: skip
        """Register a version; `program` is its module, or the error that loading it raises. A decision of before
        registrations were named by digest has no `names_registration`."""
        number = len(self.registry.list_versions("table")) + 1
        work_key = f"w{number}"
        known = publish_pipeline(self.store, parse_pipeline(PIPELINE, where="test"))
        self.registry.create_version(
            "table", work_key=work_key, run_id="r", source_uri="s3://mlflow/p", model_id=None, description="", tags={}
        )
        record = Registration(
            name="table", version=number, work_key=work_key, run_id="r", model_id=None, source_uri="s3://mlflow/p",
            manifest={}, manifest_digest=f"m{number}", weights_key="k", weights_sha256=weights_sha256, snapshot_id="s",
            dataset_id=dataset_id, rows_key="r", revision=revision or known, registered_s=0.0, tags={},
            parent_version=parent.version if parent else None,
            parent_registration=parent.digest() if parent and names_registration else None,
        )  # fmt: skip
        record = publish_registration(self.store, record)
        self.programs[f"version-{number}"] = program
        self.signatures[f"version-{number}"] = signature or signature_of(
            load_workload("mlratchet.models.workloads.tabular:TableClassifier", OLD)
        )
        if champion:
            ledger = ObjectLedger(self.store, KEYS)
            digests = {"dataset": dataset_id} | ({"registration": record.digest()} if names_registration else {})
            decision = build_decision(
                "table", "champion", GateResult(gate="champion", verdict="pass", checks=()), version=number,
                work_key=work_key, champion_version=None, digests=digests, actor="a", now_s=1.0, run_id="r",
            )  # fmt: skip
            ledger.append(
                "table", action="promote", version=number, work_key=work_key,
                decision=publish_decision(self.store, decision, KEYS.signer()), manifest=f"m{number}",
                actor="a", reason="r", now_s=float(number), expected_generation=len(ledger.entries("table")),
            )  # fmt: skip
        return record

    def work(self, dataset: DatasetManifest, incumbent: Registration | None = None) -> Work:
        head = ObjectLedger(self.store, KEYS).head("table")
        return Work(
            key="new", dataset_id=dataset.id, snapshot_id=dataset.snapshot_id, done=None, champion=head,
            incumbent=incumbent, was_champion=False,
        )  # fmt: skip


def as_it_is(module: Any) -> Exported:
    """A module for its own program: an export takes seconds."""
    return Exported(program=module, sha256="p", directory=None)


def program(weights: tuple[float, float, float]) -> torch.nn.Module:
    """A TableClassifier of 3-32-2 that says yes where the weighted sum is positive."""
    module = torch.nn.Sequential(torch.nn.Linear(3, 32), torch.nn.ReLU(), torch.nn.Linear(32, 2)).eval()
    with torch.no_grad():
        for tensor in module.parameters():
            tensor.zero_()
        module[0].weight[0], module[0].weight[1] = torch.tensor(weights), -torch.tensor(weights)
        module[2].weight[1, 0], module[2].weight[0, 1] = 4.0, 4.0
    return module


def summing(
    sums: Mapping[str, Mapping[str, float]], columns: Sequence[str], bias: Sequence[float], hidden: int = 32
) -> Any:
    """A table's model with an output for each name of `sums`: its weighted sum of the columns and its bias."""
    layers = torch.nn.Linear(len(columns), hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, len(sums))
    module = torch.nn.Sequential(*layers)
    with torch.no_grad():
        for tensor in module.parameters():
            tensor.zero_()
        for place, column in enumerate(columns):  # a column passes through two units: its positive and negative part
            for unit, sign in ((2 * place, 1.0), (2 * place + 1, -1.0)):
                module[0].weight[unit, place] = sign
                for row, weights in enumerate(sums.values()):
                    module[2].weight[row, unit] = sign * weights.get(column, 0.0)
        module[2].bias.copy_(torch.tensor(bias))
    return module.eval()


@pytest.fixture
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the time, where a test is not about them."""
    monkeypatch.setattr(evaluating, "show_evaluation", lambda *_: None)


@pytest.fixture
def make_road(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Road]:
    """Versions are loaded from `Road.programs`: exporting and loading real ones is the stack tests' part. Each road has
    buckets of its own, and its versions are found through them: several roads of one test do not mix."""
    made: list[Road] = []
    fetched: dict[Path, Road] = {}

    def fetch(bucket: Any, record: Registration, into: Path) -> None:
        fetched[into] = bucket.__self__
        into.mkdir(parents=True, exist_ok=True)
        (into / "signature.json").write_bytes(one(bucket, record, "signature.json"))

    def load(directory: Path) -> Any:
        found = fetched[directory].programs[f"version-{directory.name.removeprefix('version-')}"]
        if isinstance(found, Exception):
            raise found
        return found

    def one(bucket: Any, record: Registration, name: str) -> bytes:
        signatures: dict[str, Signature] = bucket.__self__.signatures
        return signatures[f"version-{record.version}"].to_json().encode()

    monkeypatch.setattr(open_version, "load_exported", load)
    monkeypatch.setattr(open_version, "fetch_artifact", fetch)
    monkeypatch.setattr(evaluating, "export_candidate", lambda _run, module, _example: as_it_is(module))
    monkeypatch.setattr(open_version, "fetch_one", one)

    def make() -> Road:
        made.append(Road(MemoryStore("raw"), MemoryStore("store"), tmp_path / str(len(made))))
        made[-1].scratch.mkdir()
        return made[-1]

    return make


@pytest.fixture
def road(make_road: Callable[[], Road]) -> Road:
    """A fresh one."""
    return make_road()


@pytest.fixture
def no_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a step shows in Prefect goes nowhere."""
    for name in ("table", "link", "markdown", "progress"):
        monkeypatch.setattr(prefect_page, f"create_{name}_artifact", lambda *_, **__: None)
    monkeypatch.setattr(prefect_page, "update_progress_artifact", lambda *_, **__: None)


def adapters_of(world: World) -> Any:
    """Over a world whose versions are all in a registry, which follows its ledger."""
    registry = MemoryRegistry()
    for record in world.records.values():
        registry.create_version(
            "digits", work_key=record.work_key, run_id="r", source_uri=record.source_uri, model_id=None,
            description="", tags={},
        )  # fmt: skip
    project(world.ledger, registry, "digits")
    return SimpleNamespace(
        store=RecordStore(world.store, world.keys), ledger=world.ledger, keys=world.keys, registry=registry,
        bucket=world.bucket,
    )  # fmt: skip

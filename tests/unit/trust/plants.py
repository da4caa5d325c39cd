"""What a stranger could want to be believed: a record of every kind, and who would act on it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from mlratchet.flows.runs.start import read_report
from mlratchet.infra.launch.nodes import Joiner
from mlratchet.infra.search.journal import BucketJournal
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.config import WorkloadRef
from mlratchet.models.data.dataset import DatasetManifest, load_dataset
from mlratchet.models.data.reading import line_of_dataset
from mlratchet.models.data.snapshot import Snapshot, SnapshotObject, load_snapshot, snapshot_id, take_snapshot
from mlratchet.models.decisions.gate_run import find_gate_run, list_gate_runs
from mlratchet.models.decisions.waiting import waiting_of
from mlratchet.models.errors import RatchetError
from mlratchet.models.gates.holdout import record_use
from mlratchet.models.identity.canonical import digest, digest_bytes
from mlratchet.models.identity.claim import is_current, read_claims, take_claim
from mlratchet.models.identity.signed_records import RecordStore
from mlratchet.models.monitoring.actions import FindingAnswer
from mlratchet.models.monitoring.answers import answers_of
from mlratchet.models.monitoring.finding import Finding, WindowSpan
from mlratchet.models.monitoring.retraining import RetrainRequest, take_request, window_identity
from mlratchet.models.pipeline.store import deployed_revisions, newest_deployment, take_order
from mlratchet.models.ports.storage import ObjectStore
from mlratchet.models.promotion.holds import HoldBook, HoldEntry
from mlratchet.models.registration.numbers import take_number, work_of
from mlratchet.models.registration.record import find_registration, readable_registrations
from mlratchet.models.training.checkpoint import newest_checkpoint
from mlratchet.models.training.config import TrainConfig
from mlratchet.models.training.job import Rendezvous, TrainJob
from mlratchet.models.training.result import find_result
from safetensors.torch import save

WEIGHTS = save({"layer": torch.ones(2)})
SHA = digest_bytes(WEIGHTS)
RAW = MemoryStore("raw")
RAW.put("t/rows.csv", b"a,b\n1,2\n")
OTHER = (SnapshotObject(key="rows.csv", size_bytes=8, sha256="0" * 64, etag=RAW.head("t/rows.csv").etag),)
POISON = Snapshot(id=snapshot_id(OTHER), prefix="t/", objects=OTHER)
SOURCE = digest([RAW.bucket, "t/"])
PRINT = digest([RAW.bucket, "t/", [[i.key, i.size_bytes, i.etag] for i in RAW.list("t/")]])


@dataclass(frozen=True, kw_only=True)
class Plant:
    """Records under names of ours, and whether a reader acts on them."""

    records: dict[str, Any]  # name -> document
    believed: Callable[[ObjectStore], bool]
    objects: dict[str, bytes] | None = None  # named by their digest: anybody may make those


def raised(read: Callable[[], object]) -> bool:
    with suppress(RatchetError):
        read()
        return False
    return True


@dataclass
class Opened:
    """As adapters are."""

    store: ObjectStore


def joined(store: ObjectStore) -> bool:
    joiner: Any = Joiner.__new__(Joiner)
    joiner._store, joiner._settings = store, type("Here", (), {"node_address": "10.0.0.2"})
    return joiner._seated() is not None


JOB = TrainJob(
    work_key="w", epoch=1, dataset_id="d", workload=WorkloadRef(use="evil.module:Code"),
    train=TrainConfig.model_validate({"nodes": 2, "processes": 1}), processes=1, scratch="/tmp/x",
    rendezvous=Rendezvous(endpoint="10.0.0.1:1", run_id="r"),
)  # fmt: skip
REGISTRATION = {
    "name": "digits", "version": 1, "work_key": "w", "run_id": "r", "model_id": None, "source_uri": "s3://mlflow/evil",
    "manifest": {"files": {}, "sizes_bytes": {}}, "manifest_digest": "m", "weights_key": "k", "weights_sha256": SHA,
    "snapshot_id": "s", "dataset_id": "d", "rows_key": "r", "revision": "v", "parent_version": None,
    "registered_s": 0.0,
}  # fmt: skip
RESULT = {
    "weights_key": f"work/w/e000001/weights-{SHA}.safetensors", "weights_sha256": SHA, "history": [], "steps": 1,
    "resumed_from_step": 0, "seconds": 1.0,
}  # fmt: skip
CLAIM = {"work_key": "w", "epoch": 2, "parent_version": 7, "owner": "o", "token": "t", "taken_s": 1.0}
POSITION = {"step": 40, "epochs_done": 1, "history": [], "sums": []}

HOLD = HoldEntry(
    name="digits", number=1, action="hold", finding="f" * 64, kind="data", words="w", actor="a", at_s=1.0, previous=""
)
LIFT = HoldEntry(
    name="digits", number=2, action="lift", finding="f" * 64, words="all is well", actor="a", at_s=2.0,
    previous=HOLD.digest(),
)  # fmt: skip

ALARM = Finding(
    pipeline="digits", version=3, generation=4, window=WindowSpan(from_s=0.0, to_s=9.0, rows=9), kind="quality",
    subject="accuracy", severity="alarm", measure="accuracy", n=9, threshold="w", method="m", words="w", policy="p",
    at_s=9.0,
)  # fmt: skip
RETRAIN = RetrainRequest(
    pipeline="digits", finding=ALARM.id, champion=4, window=window_identity(ALARM, 4), actor="monitoring", at_s=9.0
)


def taken(store: ObjectStore) -> None:
    take_request(store, "digits", ALARM.id, run_id="r", generation=4, has_ended=lambda _: False, lives=lambda _: False)


def overtaken(store: ObjectStore) -> bool:
    """By the second epoch, seen by who has the first."""
    mine = [one for one in read_claims(store, "w") if one.epoch == 1]
    return bool(read_claims(store, "w")) or any(not is_current(store, one) for one in mine)


PLANTS = {
    "registration": Plant(
        records={"registrations/w.json": REGISTRATION},
        believed=lambda s: find_registration(s, "w") is not None or readable_registrations(s)[0] != {},
    ),
    "result": Plant(
        records={"work/w/e000001/result.json": RESULT}, believed=lambda s: find_result(s, "w") is not None
    ),
    "checkpoint": Plant(
        records={
            "work/w/e000001/checkpoints/000000040/marker.json": {
                "position": POSITION, "parts": [{"group": "model-0", "sha256": SHA}],
            }
        },
        objects={f"work/w/e000001/checkpoints/000000040/{SHA}.safetensors": WEIGHTS},
        believed=lambda s: newest_checkpoint(s, "w", up_to_epoch=9) is not None,
    ),
    "claim": Plant(records={"work/w/claim-000002.json": CLAIM}, believed=overtaken),
    "dataset": Plant(
        records={
            "datasets/d.json": DatasetManifest(
                id="d", snapshot_id="s", splits={}, rows={}, target_counts={}, index_sha256=""
            ).model_dump(mode="json")
        },
        believed=lambda s: not raised(lambda: load_dataset(s, "d")),
    ),
    "snapshot": Plant(
        records={f"snapshots/{POISON.id}.json": POISON.model_dump(mode="json")},
        believed=lambda s: not raised(lambda: load_snapshot(s, POISON.id)),
    ),
    "listing": Plant(
        records={
            f"listings/{SOURCE}/{PRINT}.json": {"snapshot": POISON.id},
            f"snapshots/{POISON.id}.json": POISON.model_dump(mode="json"),
        },
        believed=lambda s: take_snapshot(RAW, s, prefix="t/").id == POISON.id,
    ),
    "reading": Plant(
        records={"readings/d.json": {"quarantine": SHA, "line": "1,800 read, 1,800 used"}},
        believed=lambda s: line_of_dataset(s, "d") != "",
    ),
    "gate run": Plant(
        records={
            "gates/w/g.json": {
                "id": "g", "gate": "champion", "work_key": "w", "verdict": "pass", "decision": SHA, "reasons": [],
            }
        },
        believed=lambda s: find_gate_run(s, "w", "g") is not None or list_gate_runs(s, "w") != [],
    ),
    "number": Plant(
        records={"versions/digits/00000005.json": {"name": "digits", "work_key": "w"}},
        believed=lambda s: work_of(s, "digits", 5) is not None,
    ),
    "deployment": Plant(
        records={
            "deployments/digits/00000001.json": {
                "name": "digits", "number": 1, "revision": SHA, "previous": "", "actor": "a", "at_s": 1.0,
            }
        },
        believed=lambda s: newest_deployment(s, "digits") is not None or deployed_revisions(s) != {},
    ),
    "answer": Plant(
        records={
            f"answers/digits/{SHA}.json": FindingAnswer(pipeline="digits", finding=SHA, at_s=1.0).model_dump(
                mode="json"
            ),
        },
        believed=lambda s: list(answers_of(s, "digits")) != [],
    ),
    "retrain": Plant(
        records={
            ALARM.key: ALARM.model_dump(mode="json"),
            RETRAIN.key: RETRAIN.model_dump(mode="json"),
            RETRAIN.window_key: {"finding": ALARM.id},
        },
        believed=lambda s: not raised(lambda: taken(s)),
    ),
    "hold": Plant(  # a lift is what helps a stranger
        records={
            "holds/digits/00000001.json": HOLD.model_dump(mode="json"),
            "holds/digits/00000002.json": LIFT.model_dump(mode="json"),
        },
        believed=lambda s: HoldBook(s).entries("digits") != [] and HoldBook(s).standing("digits") == [],
    ),
    "order": Plant(
        records={
            "orders/digits/o.json": {"name": "digits", "revision": SHA, "actor": "a", "at_s": 1.0, "token": "t"}
        },
        believed=lambda s: not raised(lambda: take_order(s, "digits", "o", run_id="r", now_s=2.0)),
    ),
    "wait": Plant(
        records={
            "waits/digits/r.json": {
                "run": "r", "pipeline": "digits", "revision": SHA, "snapshot": SHA, "actor": "a", "request": "q",
                "form": "f", "until_s": 2.0,
            }
        },
        believed=lambda s: waiting_of(s, "digits", "r", now_s=1.0) is not None,
    ),
    "wear": Plant(
        records={
            "holdout/digits/00000001.json": {
                "number": 1, "previous": "", "uses": {digest(["a"]): ["k" * 16]}, "sketches": {},
            }
        },
        believed=lambda s: record_use(s, "digits", "w", ["a"]).uses == 1,
    ),
    "study": Plant(
        records={"studies/s/journal/000000000.json": {"epoch": 1, "token": "t", "logs": [{"op_code": 0}]}},
        believed=lambda s: list(BucketJournal(s, "s").read_logs(0)) != [],
    ),
    "report": Plant(
        records={"runs/r.json": {"outcome": "promoted", "exit_code": 0}, "runs/last/digits.json": {"gates": []}},
        believed=lambda s: read_report(Opened(s), "r") is not None,  # type: ignore[arg-type]  # the store alone is asked
    ),
    "invitation": Plant(
        records={"nodes/w-000001/invitation.json": JOB.model_dump(mode="json")}, believed=joined
    ),
}  # fmt: skip

BIG = 10**9
DEPLOYMENT = {"name": "digits", "number": BIG, "revision": SHA, "previous": "", "actor": "a", "at_s": 1.0}
BESIDE = JOB.model_copy(update={"work_key": "a/w"})

BESIDE_THE_NAMES = {
    "a deployment of ten digits": Plant(
        records={f"deployments/digits/{BIG:08d}.json": DEPLOYMENT},
        believed=lambda s: newest_deployment(s, "digits") is not None or deployed_revisions(s) != {},
    ),
    "a number of a version in ten digits": Plant(
        records={f"versions/digits/{BIG}.json": {"name": "digits", "work_key": "w"}},
        believed=lambda s: take_number(s, "digits", "w", taken=()) == BIG,
    ),
    "a number of a version in one digit": Plant(
        records={"versions/digits/3.json": {"name": "digits", "work_key": "w"}},
        believed=lambda s: take_number(s, "digits", "w", taken=(7,)) == 3,
    ),
    "a result of an epoch of seven digits": Plant(
        records={"work/w/e1000000/result.json": RESULT}, believed=lambda s: find_result(s, "w") is not None
    ),
    "a result in a folder": Plant(
        records={"work/w/e000001/a/e1/result.json": RESULT}, believed=lambda s: find_result(s, "w") is not None
    ),
    "a checkpoint of ten digits": Plant(
        records={
            "work/w/e000001/checkpoints/1000000000/marker.json": {
                "position": POSITION, "parts": [{"group": "model-0", "sha256": SHA}],
            }
        },
        objects={f"work/w/e000001/checkpoints/1000000000/{SHA}.safetensors": WEIGHTS},
        believed=lambda s: newest_checkpoint(s, "w", up_to_epoch=9) is not None,
    ),
    "a claim of seven digits": Plant(records={"work/w/claim-1000000.json": CLAIM}, believed=overtaken),
    "a gate run in a folder": Plant(
        records={
            "gates/w/a/g.json": {
                "id": "g", "gate": "champion", "work_key": "w", "verdict": "pass", "decision": SHA, "reasons": [],
            }
        },
        believed=lambda s: list_gate_runs(s, "w") != [],
    ),
    "an order in a folder": Plant(
        records={
            "orders/digits/a/o.json": {"name": "digits", "revision": SHA, "actor": "a", "at_s": 1.0, "token": "t"}
        },
        believed=lambda s: not raised(lambda: take_order(s, "digits", "a/o", run_id="r", now_s=2.0)),
    ),
    "an invitation of a work in a folder": Plant(
        records={"nodes/a/w-000001/invitation.json": BESIDE.model_dump(mode="json")}, believed=joined
    ),
}  # fmt: skip


def epoch_of_the_next(store: RecordStore) -> int:
    """That an attempt takes."""
    return take_claim(store, "w", parent_version=None, owner="o", now_s=1.0).epoch

"""From raw images to a served champion, on real servers."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from mlflow.tracking import MlflowClient
from mlratchet.infra.machine.free_ports import find_port
from mlratchet.infra.storage.s3 import S3Store
from mlratchet.models.data.dataset import load_dataset
from mlratchet.models.data.shards import load_split
from mlratchet.models.errors import RatchetError
from mlratchet.models.metrics.rows import load_rows
from mlratchet.models.registration.record import find_registration
from mlratchet.tasks.support.versions import verify_bytes

from tests.conftest import wait_for

pytestmark = [pytest.mark.stack, pytest.mark.slow]
GATES = ["data", "candidate", "staging", "champion"]


def test_the_first_model_is_promoted_by_the_bootstrap_rule(stack: Any, first: dict[str, Any]) -> None:
    assert (first["outcome"], first["version"], first["generation"]) == ("promoted", 1, 1)
    assert [(g["gate"], g["verdict"]) for g in first["gates"]] == [(gate, "pass") for gate in GATES]
    assert first["metrics"]["accuracy"] > 0.95
    assert first["champion_before"] is None
    words = stack("decision", "digits", "1").stdout
    assert "bootstrap rule: absolute checks alone decide" in words


def test_the_second_is_warm_started_compared_on_the_same_rows_and_promoted(stack: Any, second: Any) -> None:
    report = second.report
    assert (report["outcome"], report["version"], report["champion_before"]) == ("promoted", 2, 1)
    assert report["training"]["parent_version"] == 1
    decisions = {d["decision"]["gate"]: d["decision"] for d in stack.json("decision", "digits", "2")}
    checks = {(c["kind"], c["metric"]): c for c in decisions["champion"]["checks"]}
    accuracy, f1 = checks["non_inferiority", "accuracy"], checks["non_inferiority", "f1_macro"]
    for check in (accuracy, f1):
        assert check["verdict"] == "pass"
        assert check["interval"][0] > -0.03
        assert (
            check["n"] == load_dataset(stack.adapters.store, decisions["champion"]["digests"]["dataset"]).rows["test"]
        )
    assert accuracy["method"] == "Tango score, exact tail (paired)"
    assert f1["method"].startswith("paired bootstrap, wider of percentile and BCa")


def test_the_second_is_measured_against_its_perturbed_rows_the_anchor_and_the_contract(stack: Any, second: Any) -> None:
    decisions = {d["decision"]["gate"]: d["decision"] for d in stack.json("decision", "digits", "2")}
    found = {(gate, c["kind"]): c for gate, decision in decisions.items() for c in decision["checks"]}
    wanted = [("candidate", "robustness"), ("staging", "memory"), ("staging", "contract"), ("champion", "anchor"),
              ("champion", "attribution")]  # fmt: skip
    assert {where: found[where]["verdict"] for where in wanted} == dict.fromkeys(wanted, "pass")
    assert found["staging", "contract"]["n"] >= 25  # shapes, recorded rows, refusals, and version 1's requests
    assert 100 < found["staging", "memory"]["value"] < 1500
    low, high = found["champion", "attribution"]["interval"]
    assert 0 < low <= found["champion", "attribution"]["value"] <= high < 0.5
    digests = decisions["champion"]["digests"]
    assert digests["rows of version 1"] == digests["champion_rows"]  # the anchor is the champion: scored once
    assert load_rows(stack.adapters.store, digests["rows under gaussian_noise(seed=0,sigma=0.1)"]).ids
    client = MlflowClient(stack.settings.mlflow_tracking_uri)
    run_id = second.report["training"]["mlflow_run"]
    shown = {f.path for folder in ("attributions", "decisions") for f in client.list_artifacts(run_id, folder)}
    assert {f"decisions/{gate}.html" for gate in GATES} <= shown
    assert {"attributions/examples.png", "attributions/importance.png", "attributions/slices.png"} <= shown


def test_a_run_says_what_was_read_in_its_report_in_prefect_and_in_mlflow(stack: Any, second: Any) -> None:
    report = second.report
    line = "1,797 read, 1,797 used, 0 set aside"
    assert report["reading"] == line
    tags = MlflowClient(stack.settings.mlflow_tracking_uri).get_run(report["training"]["mlflow_run"]).data.tags
    assert tags["ratchet.reading"] == line
    assert tags["mlflow.note.content"].endswith(line)
    with stack.prefect() as client:
        state = client.read_flow_run(report["run_id"]).state
    assert state.message.endswith(line)
    assert stack("rejects", "digits").stdout.startswith("digits, run ")


def test_the_server_swapped_without_losing_a_request(second: Any) -> None:
    load = second.load
    assert load.errors == []
    assert {status for status, _ in load.answers} == {200}
    assert len(load.answers) > 200
    versions = [version for _, version in load.answers]
    assert {"1", "2"} <= set(versions)
    assert versions[0] == "1"
    assert versions[-1] == "2"


def test_a_damaged_delivery_is_stopped_and_the_champion_goes_on(stack: Any, second: Any, url: str) -> None:
    stack("seed", "digits", "--delivery", "damaged")
    try:
        report = stack.json("run", "digits", code=4)
    finally:
        stack("seed", "digits", "--delivery", "2")
    assert (report["outcome"], report["exit_code"]) == ("stopped_by_gate", 4)
    assert re.search(r"relabelled_fraction 0\.29\d* > 0\.05 \(n=1797\)", report["line"])
    shown = report["line"].rpartition("`ratchet ")[2].rstrip("`").split()
    assert "data gate of digits" in stack(*shown).stdout
    assert [g["gate"] for g in report["gates"]] == ["data"]
    assert "training" not in report
    assert httpx.get(f"{url}/ready", timeout=120).json()["version"] == 2
    assert len(stack.json("versions", "digits")) == 2


def test_the_same_delivery_again_trains_nothing(stack: Any, second: Any) -> None:
    stack("seed", "digits", "--delivery", "2")
    report = stack.json("run", "digits")
    assert (report["outcome"], report["version"]) == ("unchanged", 2)
    assert "training" not in report
    assert report["work_key"] == second.report["work_key"]


def test_predictions_of_files_and_over_http(stack: Any, url: str, digits_png: dict[str, bytes], tmp_path: Path) -> None:
    names = sorted(digits_png)[:20]
    for name in names:
        (tmp_path / name).write_bytes(digits_png[name])
    answer = stack.json("predict", "digits", *(str(tmp_path / name) for name in names))
    assert answer["version"] == 2
    instances = [{"image_base64": base64.b64encode(digits_png[name]).decode()} for name in names]
    reply = httpx.post(f"{url}/predict", json={"instances": instances}, timeout=120)
    assert [p["class"] for p in reply.json()["predictions"]] == [p["class"] for p in answer["predictions"]]
    assert "[version 2]" in stack("predict", "digits", str(tmp_path / names[0])).stdout
    (tmp_path / "not.png").write_text("text")
    assert "instances[0].image_base64" in stack("predict", "digits", str(tmp_path / "not.png"), code=3).stderr
    assert "cannot be read" in stack("predict", "digits", str(tmp_path / "absent.png"), code=3).stderr


def test_the_server_answers_as_the_recorded_rows_say(stack: Any, second: Any, url: str) -> None:
    """What is served is what was measured: the same rows, the same classes."""
    adapters = stack.adapters
    record = find_registration(adapters.store, second.report["work_key"])
    assert record is not None
    rows = load_split(adapters.store, load_dataset(adapters.store, record.dataset_id), "test")
    reply = httpx.post(f"{url}/predict", json={"instances": rows.x.array[:200].tolist()}, timeout=120).json()[
        "predictions"
    ]
    right = sum(int(p["class"]) == int(y) for p, y in zip(reply, rows.y[:200], strict=True))
    assert right / 200 > 0.95
    verify_bytes(adapters, record)


def test_rollback_and_promotion_by_hand(stack: Any, second: Any, url: str) -> None:
    before = len(stack.json("history", "digits"))
    assert "never champion before" in stack("rollback", "digits", "--to", "9", code=2).stderr
    back = stack.json("rollback", "digits", "--reason", "on-call says so")  # without --to: the champion before
    assert (back["action"], back["version"], back["reason"]) == ("rollback", 1, "on-call says so")
    _until_served(url, 1)
    forward = stack.json("promote", "digits", "2")  # its gate compared it with version 1, which serves again
    assert (forward["action"], forward["version"]) == ("promote", 2)
    assert stack.json("promote", "digits", "2") == forward
    refused = stack("promote", "digits", "1", code=4).stderr
    assert "version 1 of digits was judged without a champion, but version 2 serves now; `ratchet rollback" in refused
    _until_served(url, 2)
    history = stack.json("history", "digits")
    assert len(history) == before + 2
    assert [e["generation"] for e in history] == list(range(1, len(history) + 1))
    aliases = {v["version"]: v["aliases"] for v in stack.json("versions", "digits")}
    assert "champion" in aliases[2]
    assert "previous" in aliases[1]
    assert "no version 9" in stack("promote", "digits", "9", code=2).stderr


def _until_served(url: str, version: int) -> None:
    with httpx.Client(timeout=120) as client:  # one: to make one takes 25 ms of CPU
        wait_for(
            f"version {version} to be served",
            lambda: client.get(f"{url}/ready").headers["x-model-version"] == str(version),
            60,
        )


def test_mlflow_shows_both_versions_with_the_same_metrics_and_charts(stack: Any, first: Any, second: Any) -> None:
    client = MlflowClient(stack.settings.mlflow_tracking_uri)
    shown = []
    for report in (first, second.report):
        run = client.get_run(report["training"]["mlflow_run"])
        assert run.info.status == "FINISHED"
        assert run.info.artifact_uri.startswith("s3://ratchet-mlflow/")
        assert {"epochs", "optimizer.learning_rate", "seed", "snapshot", "parent_version"} <= set(run.data.params)
        assert run.inputs.dataset_inputs[0].dataset.digest == report["snapshot"][:36]
        history = client.get_metric_history(run.info.run_id, "validation_accuracy")
        assert sorted(m.step for m in history) == list(range(1, 13))
        paths = {f.path for folder in ("plots", "tensorboard") for f in client.list_artifacts(run.info.run_id, folder)}
        assert {"plots/confusion_matrix.png", "plots/training_curves.png", "plots/reliability.png"} <= paths
        assert any("tfevents" in path for path in paths)
        shown.append(set(run.data.metrics))
        version = client.get_model_version("digits", str(report["version"]))
        assert version.description.startswith("# digits")
        assert {"ratchet.work_key", "ratchet.dataset", "ratchet.code", "ratchet.decision.champion"} <= set(version.tags)
    assert shown[0] == shown[1]
    wanted = {"train_loss", "validation_loss", "test_accuracy", "test_precision_macro", "test_recall_macro"}
    assert wanted | {"test_f1_macro", "test_f1_class_0", "system/cpu_utilization_percentage"} <= shown[0]
    parts = {f"training/{part}_ms" for part in ("data", "forward_backward", "communication", "optimizer", "total")}
    use = {"training/rank0_cpu_percent", "training/rank0_memory_mb", "training/rows_per_second"}
    assert parts | use | {"training/loss", "training/learning_rate", "training/gradient_norm"} <= shown[0]


def test_mlflows_own_server_serves_the_same_version(stack: Any, first: Any, second: Any, url: str) -> None:
    port = find_port(set())
    beside = Path(sys.executable).parent  # an activated environment: MLflow starts `uvicorn` by its name
    environment = {**os.environ, "PATH": f"{beside}:{os.environ['PATH']}"}
    command = [
        str(beside / "mlflow"), "models", "serve", "-m", "models:/digits/2",
        "--env-manager", "local", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
    ]  # fmt: skip
    log = Path(stack.home) / "mlflow-serve.log"
    with log.open("wb") as sink:
        process = subprocess.Popen(command, env=environment, stdout=sink, stderr=sink, start_new_session=True)
    try:
        rows = [[[[0.5] * 8] * 8], [[[0.1] * 8] * 8]]
        with httpx.Client(timeout=120) as client:

            def answers() -> bool:
                assert process.poll() is None, log.read_text()[-2000:]
                with contextlib.suppress(httpx.HTTPError):
                    return client.get(f"http://127.0.0.1:{port}/ping").status_code == 200
                return False

            wait_for("MLflow's server to answer", answers)
        theirs = httpx.post(f"http://127.0.0.1:{port}/invocations", json={"inputs": rows}, timeout=120)
        assert theirs.status_code == 200, theirs.text
        ours = httpx.post(f"{url}/predict", json={"instances": rows}, timeout=120).json()["predictions"]
        for said, prediction in zip(theirs.json()["predictions"], ours, strict=True):
            assert said["class"] == prediction["class"]
            assert said["probability"] == pytest.approx(prediction["probability"], abs=1e-5)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(300)


def test_an_auditor_finds_every_decision_in_the_bucket_alone(stack: Any, second: Any) -> None:
    store = stack.adapters.store
    entries = [json.loads(store.get(info.key)) for info in store.list("ledger/digits/")]
    assert entries[0]["previous"] == ""
    for entry in entries:
        decision = json.loads(store.get(f"decisions/{entry['decision']}.json", sha256=entry["decision"]))
        assert decision["verdict"] == "pass"
        assert decision["version"] == entry["version"]
        assert decision["actor"]
        if entry["action"] == "promote":
            assert {"policy", "dataset", "rows", "manifest"} <= set(decision["digests"])


@pytest.fixture
def auditor(stack: Any, tmp_path: Path) -> dict[str, str]:
    """Somebody elsewhere, who may read the bucket and was handed the public list of keys."""
    credentials = json.loads((stack.home / "credentials.json").read_text())
    (tmp_path / "keys.json").write_text(stack("keys", "export").stdout)
    return {
        "RATCHET_HOME": str(tmp_path / "nothing"),
        "RATCHET_S3_ENDPOINT_URL": stack.settings.s3_endpoint_url,
        "RATCHET_S3_ACCESS_KEY": credentials["s3_auditor_access_key"],
        "RATCHET_S3_SECRET_KEY": credentials["s3_auditor_secret_key"],
        "RATCHET_TRUSTED_KEYS": str(tmp_path / "keys.json"),
    }


def test_an_audit_needs_nothing_but_reading_and_the_public_keys(
    stack: Any, second: Any, auditor: dict[str, str]
) -> None:
    report = stack.json("audit", "digits", "--replay", **auditor)
    assert report["problems"] == []
    assert report["replayed"] >= 8
    assert report["head"] == stack.adapters.ledger.digests("digits")[-1]
    reader = S3Store(
        "ratchet-store", endpoint_url=auditor["RATCHET_S3_ENDPOINT_URL"], region="us-east-1",
        access_key=auditor["RATCHET_S3_ACCESS_KEY"], secret_key=auditor["RATCHET_S3_SECRET_KEY"],
    )  # fmt: skip
    with pytest.raises(RatchetError, match="AccessDenied"):
        reader.put("ledger/digits/00000099.json", b"{}")
    words = stack("decision", "digits", "2", "--verify").stdout
    assert words.count("judged again in the recorded environment") == words.count("every number identical") >= 4
    assert stack.json("champion", "digits")["version"] == stack.adapters.ledger.head("digits").version
    assert "had no champion at 2001" in stack("champion", "digits", "--at", "2001-01-01T00:00Z", code=4).stderr
    assert all(entry["verified"] for entry in stack.json("history", "digits"))


def test_what_was_edited_behind_our_back_is_named_and_repaired(
    stack: Any, second: Any, auditor: dict[str, str]
) -> None:
    adapters = stack.adapters
    head = adapters.ledger.head("digits")
    source = find_registration(adapters.store, head.work_key).source_uri.removeprefix("s3://ratchet-mlflow/")
    uploads, extra = adapters.bucket("ratchet-mlflow"), f"{source.rstrip('/')}/extra.py"
    uploads.put(extra, b"import os")
    try:
        refused = stack("audit", "digits", code=6, **auditor).stdout
    finally:
        uploads.delete(extra)
    assert "file extra.py is extra" in refused
    assert refused.strip().splitlines()[-1].startswith("audit of digits: FAILED: ")
    stack("reconcile")  # what other tests left
    adapters.registry.set_alias("digits", "champion", 3 - head.version)
    told = stack("audit", "digits", "--no-bytes", code=6).stdout
    assert f"names version {3 - head.version}, but the ledger's champion is version {head.version}" in told
    assert {f["what"]: f["ok"] for f in stack.json("doctor", code=5)}["ledger of digits"] is False
    assert stack.json("reconcile") == [f"digits: alias champion moved to version {head.version}"]
    assert stack.json("audit", "digits", "--no-bytes")["passed"]


def test_status_doctor_logs_gc_and_reconcile(stack: Any, second: Any) -> None:
    stack("reconcile")  # what other tests left
    wait_for("every service to be healthy", stack.healthy)
    services = {s["name"]: s for s in stack.json("status")}
    assert {"seaweedfs", "mlflow", "prefect", "worker", "serve"} <= set(services)
    assert all(s["healthy"] and s["pid"] for s in services.values())
    findings = {f["what"]: f for f in stack.json("doctor")}
    assert findings["s3 conditional writes"]["found"] == "honoured"
    assert stack("logs", "prefect", "-n", "5").stdout.strip()
    assert stack.json("reconcile") == []
    cut_off = f"work/{second.report['work_key']}/e000001/checkpoints/000000001/part.safetensors"  # as a kill leaves it
    stack.adapters.store.put(cut_off, b"x")
    listed = stack.json("gc")
    assert cut_off in [item["key"] for item in listed]
    assert stack.json("gc", "--delete") == listed
    assert stack.json("gc") == []


def test_no_secret_is_in_any_log(stack: Any, second: Any) -> None:
    credentials = json.loads((stack.home / "credentials.json").read_text())
    for log in (stack.home / "logs").glob("*.log"):
        text = log.read_text(errors="replace")
        assert not [
            name for name, secret in credentials.items() if not name.endswith("access_key") and secret in text
        ], log

"""People in the loop: a run waits for a person, whatever becomes of the run; and probation after the promotion."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import Any

import httpx
import pytest
from mlratchet.infra.keys.files import new_key
from mlratchet.infra.serving.local import LocalServers
from mlratchet.infra.stack.worker_queue import runs_with_a_process
from mlratchet.models.decisions.decision import load_decision
from mlratchet.models.pipeline.store import deployed_revisions
from mlratchet.models.registration.record import find_registration

from tests.conftest import Stack, wait_for

pytestmark = [pytest.mark.stack, pytest.mark.slow]
FAST = ("epochs: 20 -> epochs: 3", "processes: 2 -> processes: 1", "minimum: 0.8} -> minimum: 0.5}")
APPROVAL = "  champion:\n ->   champion:\n    - {kind: approval, approvers: [alice, bob]}\n"


@pytest.fixture(scope="module")
def approved(stack: Any) -> str:
    """A pipeline whose champion gate asks alice or bob; mallory has a key too."""
    for owner in ("alice", "mallory"):
        new_key(stack.settings, "approver", owner, now_s=time.time())
    name: str = stack.pipeline("approved", *FAST, APPROVAL)
    stack("upload", name, "rows.csv")
    return name


def is_served(stack: Stack, pipeline: str) -> bool:
    """Whether a champion of it answers."""
    url = LocalServers(stack.home).url(pipeline)
    return url is not None and httpx.get(f"{url}/ready", timeout=120).status_code == 200


def test_a_killed_run_that_waited_is_approved_and_promoted_without_training(stack: Stack, approved: str) -> None:
    process = stack.start("run", approved, "--local")
    waiting = stack.asks(approved)
    assert (waiting["version"], waiting["state"]) == (1, "waiting")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert stack.adapters.ledger.head(approved) is None
    assert "waits for 1 of alice, bob" in stack("promote", approved, "1", code=4).stderr

    mallory = stack("approve", approved, "--as", "mallory", "--reason", "x", code=6)
    assert "mallory is not one of those who may answer: alice, bob" in mallory.stderr
    pipeline_key = str(stack.home / "keys" / "pipeline.pem")
    assert "has the role pipeline" in stack("approve", approved, "--key", pipeline_key, "--reason", "x", code=2).stderr
    assert "a reason is required" in stack("approve", approved, "--as", "alice", code=2).stderr

    said = stack.json("approve", approved, "1", "--as", "alice", "--reason", "slices compared", "--expires-in", "2h")
    assert (said["approver"], said["settled"]) == ("alice", True)
    assert stack.json("approvals", approved)[0]["state"] == "approved"
    entry = stack.json("promote", approved, "1")
    assert (entry["version"], entry["generation"]) == (1, 1)
    decision = load_decision(stack.adapters.store, entry["decision"])
    (check,) = [one for one in decision["checks"] if one["kind"] == "approval"]
    assert "approved by alice: slices compared (signature" in check["reason"]
    assert stack.json("approvals", approved) == []
    assert stack.json("audit", approved)["passed"]
    stack("reconcile")  # the killed run is over, and the version that it did not live to deploy is served
    wait_for("the server of the approved version", lambda: stack.healthy() and is_served(stack, approved))


def test_a_run_that_waits_holds_no_process_and_goes_on_with_what_it_asked_about(stack: Stack, approved: str) -> None:
    """Whatever was delivered, deployed or killed meanwhile."""
    assert approved, "alice has a key"
    name: str = stack.pipeline("waits", *FAST, APPROVAL)
    stack("upload", name, "rows.csv")
    process = stack.start("run", name, "--json")
    run_id = stack.asks(name)["run_id"]
    with stack.prefect() as client:
        wait_for("the run to be suspended", lambda: client.read_flow_run(run_id).state_name == "Suspended")
    wait_for("its process to have ended", lambda: run_id not in runs_with_a_process())
    assert not (stack.home / "scratch" / run_id).exists()
    assert not stack.adapters.store.exists(f"leases/{run_id}.json")
    assert "version 1 waits for 1 of alice, bob" in stack("ls").stdout

    (stack.project / "more.csv").write_text("".join((stack.project / "rows.csv").open().readlines()[:300]))
    stack("upload", name, "more.csv")
    file = stack.pipelines / f"{name}.yaml"
    file.write_text(f"{file.read_text()}\ntags: [later]\n")
    stack("deploy", name)
    for service in ("worker", "prefect"):
        killed = stack.services()[service].pid
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        wait_for(f"another {service}", lambda of=service, pid=killed: stack.services()[of].pid not in (pid, None))
    wait_for("the stack to be healthy", stack.healthy)
    assert not [line for line in stack.json("reconcile") if run_id in line]

    assert stack.json("approve", name, "1", "--as", "alice", "--reason", "slices compared")["settled"]
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, out + err
    report = json.loads(out)
    assert (report["outcome"], report["version"], report["run_id"]) == ("promoted", 1, run_id)
    record = find_registration(stack.adapters.store, report["work_key"])
    assert record is not None
    assert record.snapshot_id == report["snapshot"]
    assert record.revision != deployed_revisions(stack.adapters.store)[name]
    assert [*stack.adapters.store.list("waits/")] == []


def test_a_failed_probation_rolls_back_by_itself(stack: Stack) -> None:
    name = stack.pipeline("on-probation", *FAST)
    stack("upload", name, "rows.csv")
    champion = "--set=gates.champion=[{kind: absolute, metric: accuracy, minimum: 0.5}]"
    assert stack.json("run", name, "--local", champion)["outcome"] == "promoted"
    overrides = (
        "--set=train.seed=1",
        champion,
        "--set=gates.probation=[{kind: contract, minimum_requests: 100}, {kind: latency, maximum_milliseconds: 0.001}]",
    )
    report = stack.json("run", name, "--local", *overrides, code=4)
    assert (report["outcome"], report["version"], report["champion_after"]) == ("rolled_back", 2, 1)
    promotion, back = stack.adapters.ledger.entries(name)[-2:]
    assert (promotion.version, promotion.action) == (2, "promote")
    assert (back.version, back.action, back.actor) == (1, "rollback", "probation")
    assert "latency_p95" in back.reason
    judged = load_decision(stack.adapters.store, report["gates"][-1]["decision"])
    verdicts = {check["kind"]: check["verdict"] for check in judged["checks"]}
    assert verdicts == {"contract": "pass", "latency": "fail"}
    assert judged["champion_version"] == 1
    assert httpx.get(f"{report['url']}/ready", timeout=120).headers["x-model-version"] == "1"

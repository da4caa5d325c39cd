"""People in the loop: a run waits for a person, whatever becomes of the run; and probation after the promotion."""

from __future__ import annotations

import signal
import time
from typing import Any

import pytest
from mlratchet.infra.keys import new_key
from mlratchet.models.gates.decision import load_decision
from mlratchet.models.identity.signing import Role

from tests.conftest import Stack, wait_for

pytestmark = [pytest.mark.stack, pytest.mark.slow]
APPROVAL = "  champion:\n ->   champion:\n    - {{kind: approval, approvers: [alice, bob]{more}}}\n"
FAST = ("epochs: 20 -> epochs: 3", "processes: 2 -> processes: 1", "minimum: 0.8} -> minimum: 0.5}")


@pytest.fixture(scope="module")
def people(stack: Any) -> dict[str, str]:
    """Key files of alice, who may approve, and mallory, who may not."""
    files = {}
    for owner in ("alice", "mallory"):
        role: Role = "approver"
        new_key(stack.settings, role, owner, now_s=time.time())
        files[owner] = str(stack.home / "keys" / f"approver-{owner}.pem")
    return files


def test_a_killed_run_that_waited_is_approved_and_promoted_without_training(
    stack: Stack, people: dict[str, str]
) -> None:
    name = stack.pipeline("approved", *FAST, APPROVAL.format(more=""))
    stack("upload", name, "rows.csv")
    process = stack.start("run", name, "--local")
    (waiting,) = wait_for("the run to ask", lambda: stack.json("approvals", name))
    assert (waiting["version"], waiting["state"]) == (1, "waiting")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert stack.adapters.ledger.head(name) is None

    assert "mallory is not one of those" in stack("approve", name, "--as", "mallory", "--reason", "x", code=6).stderr
    pipeline_key = str(stack.home / "keys" / "pipeline.pem")
    assert "role pipeline" in stack("approve", name, "--key", pipeline_key, "--reason", "x", code=2).stderr
    assert "a reason is required" in stack("approve", name, "--as", "alice", code=2).stderr
    assert "approval" in stack("promote", name, "1", code=4).stderr

    said = stack.json("approve", name, "1", "--as", "alice", "--reason", "slices compared", "--expires-in", "2h")
    assert (said["approver"], said["settled"]) == ("alice", True)
    (approved,) = stack.json("approvals", name)
    assert approved["state"] == "approved"
    entry = stack.json("promote", name, "1")
    assert (entry["version"], entry["generation"]) == (1, 1)
    decision = load_decision(stack.adapters.store, entry["decision"])
    (check,) = [one for one in decision["checks"] if one["kind"] == "approval"]
    assert "approved by alice: slices compared (signature" in check["reason"]
    assert stack.json("approvals", name) == []

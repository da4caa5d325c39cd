"""The decisions of a run are read by its id, or as the last one's, whether or not it made a version."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from mlratchet.infra.keys.files import MemoryKeys
from mlratchet.infra.ledger.objects import ObjectLedger
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.decisions.decision import build_decision
from mlratchet.models.decisions.signature import publish_decision
from mlratchet.models.errors import ConfigurationError, SecurityError
from mlratchet.models.gates.result import GateResult
from mlratchet.tasks.support.versions import decisions_of_run


@pytest.fixture
def adapters() -> Any:
    store, keys = MemoryStore("store"), MemoryKeys()
    decision = build_decision(
        "table", "candidate", GateResult(gate="candidate", verdict="fail", checks=()), version=None, work_key="w",
        champion_version=None, digests={}, actor="a", now_s=1.0, run_id="r7",
    )  # fmt: skip
    digest = publish_decision(store, decision, keys.signer())
    report = json.dumps({"pipeline": "table", "gates": [{"decision": digest}]}).encode()
    for key in ("runs/r7.json", "runs/last/table.json"):
        store.put(key, report)
    return SimpleNamespace(store=store, keys=keys, ledger=ObjectLedger(store, keys))


@pytest.mark.parametrize("run", ["r7", "last"])
def test_a_refused_candidate_is_read_without_a_version(adapters: Any, run: str) -> None:
    (found,) = decisions_of_run(adapters, "table", run)
    assert (found["decision"]["gate"], found["decision"]["verdict"], found["problem"]) == ("candidate", "fail", "")
    assert found["signed_by"] == adapters.keys.signer().key_id


def test_a_run_of_another_pipeline_is_not_shown_as_this_ones(adapters: Any) -> None:
    with pytest.raises(ConfigurationError, match="one of table, not of other"):
        decisions_of_run(adapters, "other", "r7")


def test_a_report_that_no_run_wrote_is_refused(adapters: Any) -> None:
    for planted in (b"{}", b"nonsense", b'{"pipeline": "table", "gates": [3]}'):
        adapters.store.put("runs/r7.json", planted)
        with pytest.raises(SecurityError, match="no run wrote it"):
            decisions_of_run(adapters, "table", "r7")


def test_a_foreign_signature_is_shown_as_not_believed(adapters: Any) -> None:
    stranger = SimpleNamespace(store=adapters.store, keys=MemoryKeys(), ledger=adapters.ledger)
    (found,) = decisions_of_run(stranger, "table", "last")
    assert found["signed_by"] is None
    assert found["problem"]

"""How a run ended is signed; a run that has no key to sign with says so all the same."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from mlratchet.flows.runs import report as reports
from mlratchet.flows.runs.report import Report, finish
from mlratchet.flows.runs.start import read_report
from mlratchet.infra.keys.files import MemoryKeys
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.identity.canonical import canonical_json
from mlratchet.models.identity.signed_records import RecordStore


class NoKey(MemoryKeys):
    def signer(self) -> Any:
        raise ConfigurationError("no private key here")


@pytest.fixture(autouse=True)
def without_prefect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "tag_run", lambda *_: None)


def failed() -> Report:
    return Report(run_id="r", pipeline="digits").failed(ConfigurationError("no private key here"))


def test_a_report_is_believed_that_the_run_signed_and_none_that_was_planted(store: MemoryStore) -> None:
    adapters: Any = SimpleNamespace(store=RecordStore(store, MemoryKeys()))
    finish(failed(), adapters)
    told = read_report(adapters, "r")
    assert told is not None
    assert (told["outcome"], told["exit_code"]) == ("failed", 2)
    store.put("runs/r.json", canonical_json({**told, "outcome": "promoted", "exit_code": 0}))
    assert read_report(adapters, "r") is None


def test_a_run_without_a_key_ends_with_its_reason(store: MemoryStore) -> None:
    adapters: Any = SimpleNamespace(store=RecordStore(store, NoKey()))
    state = finish(failed(), adapters)
    assert state.is_failed()
    assert "no private key here" in str(state.message)
    assert list(store.list()) == []

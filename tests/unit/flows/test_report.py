"""How a run ended is signed; a run that has no key to sign with says so all the same."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from mlratchet.flows.runs import report as reports
from mlratchet.flows.runs.report import Report, finish
from mlratchet.flows.runs.start import command_of, read_report
from mlratchet.flows.tune import finish as end_of_study
from mlratchet.infra.keys.files import MemoryKeys
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.identity.canonical import canonical_json
from mlratchet.models.identity.signed_records import RecordStore
from mlratchet.models.ports.storage import StorageError
from mlratchet.tasks.showing import prefect_page


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


def test_a_study_without_a_key_ends_with_its_reason(store: MemoryStore) -> None:
    adapters: Any = SimpleNamespace(store=RecordStore(store, NoKey()))
    facts = {"run_id": "r", "pipeline": "digits", "outcome": "failed", "exit_code": 2, "line": "no private key here"}
    state = end_of_study(facts, adapters, seconds=1.0)
    assert (state.is_failed(), state.message) == (True, "no private key here")


@pytest.mark.parametrize("kind", ["table", "markdown", "link"])
def test_what_prefect_does_not_show_fails_no_step(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise httpx.ConnectError("All connection attempts failed")

    monkeypatch.setattr(prefect_page, f"create_{kind}_artifact", away)
    show = {"table": prefect_page.show_table, "markdown": prefect_page.show_markdown, "link": prefect_page.show_link}
    show[kind]("quality", [], "words")  # type: ignore[arg-type]


def test_a_run_with_settings_of_its_own_is_asked_for_again_with_them() -> None:
    assert command_of("digits", ()) == "ratchet run digits"
    asked = ("train.seed=7", 'train.optimizer={"name": "sgd"}')
    same = """ratchet run digits --set train.seed=7 --set 'train.optimizer={"name": "sgd"}'"""
    assert command_of("digits", asked) == same


def test_a_run_that_the_store_failed_ends_with_that_reason(monkeypatch: pytest.MonkeyPatch, store: MemoryStore) -> None:
    def away(*_: Any) -> None:
        raise StorageError("create runs/r.json: could not connect")

    monkeypatch.setattr(store, "create", away)
    monkeypatch.setattr(store, "delete", away)
    adapters: Any = SimpleNamespace(store=RecordStore(store, MemoryKeys()))
    state = finish(
        Report(run_id="r", pipeline="digits").failed(StorageError("read raw/a: could not connect")), adapters
    )
    assert (state.is_failed(), state.message) == (True, "STORAGE: read raw/a: could not connect")

"""What a bucket writer leaves as the report of a run, or as a seat, decides nothing and breaks nothing."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mlratchet.flows.cli.output import emit
from mlratchet.flows.cli.runs import report_lines
from mlratchet.flows.runs import report as reporting
from mlratchet.flows.runs.report import Report, finish
from mlratchet.flows.runs.start import read_report
from mlratchet.infra.keys.files import MemoryKeys
from mlratchet.infra.launch.nodes import Joiner
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.identity.canonical import canonical_json
from mlratchet.models.identity.signed_records import RecordStore, signed_record
from mlratchet.models.identity.signing import Signer
from mlratchet.models.ports.storage import StorageError
from mlratchet.tasks.support.versions import decisions_of_run
from prefect.client.schemas.objects import StateType

from tests.unit.trust.plants import JOB

FORGED = {
    "run_id": "r", "pipeline": "digits", "outcome": "promoted", "exit_code": 0, "gates": [],
    "line": "version 9 is champion\x1b[2K\x1b]0;mine\x07",
}  # fmt: skip
INVITATION, SEAT = "nodes/w-000001/invitation.json", "nodes/w-000001/seat-1.json"


class World:
    """A bucket in which a stranger writes, beside who has the key."""

    def __init__(self, pipelines: Path) -> None:
        self.raw, self.keys = MemoryStore("store"), MemoryKeys()
        self.store = RecordStore(self.raw, self.keys)
        settings = SimpleNamespace(pipelines_dir=pipelines)
        self.adapters: Any = SimpleNamespace(store=self.store, keys=self.keys, settings=settings)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    (tmp_path / "digits.yaml").write_text("")
    monkeypatch.setattr(reporting, "tag_run", lambda *_: None)
    return World(tmp_path)


@pytest.mark.parametrize("forged", [json.dumps(FORGED).encode(), b"[]", b"\xff", b'{"exit_code": "0"}', b"[" * 99_999])
def test_a_forged_report_is_no_report_and_the_runs_own_takes_its_name(world: World, forged: bytes) -> None:
    for key in ("runs/r.json", "runs/last/digits.json"):
        world.raw.put(key, forged)
    assert read_report(world.adapters, "r") is None
    for run in ("r", "last"):
        with pytest.raises(ConfigurationError, match="has left no report"):
            decisions_of_run(world.adapters, "digits", run)
    failed = Report(run_id="r", pipeline="digits").failed(ConfigurationError("no such column"))
    assert finish(failed, world.adapters).type == StateType.FAILED
    told = read_report(world.adapters, "r")
    assert told is not None
    assert (told["exit_code"], told["line"]) == (2, "CONFIG: no such column")
    assert decisions_of_run(world.adapters, "digits", "last") == []


def test_a_run_whose_key_cannot_sign_ends_with_its_reason_all_the_same(world: World, monkeypatch: Any) -> None:
    def revoked() -> Signer:
        raise ConfigurationError("key k was revoked")

    monkeypatch.setattr(world.keys, "signer", revoked)
    state = finish(Report(run_id="r", pipeline="digits").failed(ConfigurationError("no key")), world.adapters)
    assert (state.type, state.message) == (StateType.FAILED, "CONFIG: no key")


def test_nothing_that_is_printed_moves_the_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    emit(FORGED, report_lines(FORGED), as_json=False)
    emit(FORGED, report_lines(FORGED), as_json=True)
    said = capsys.readouterr().out
    assert "version 9 is champion?[2K?]0;mine?" in said
    assert not {"\x1b", "\x07"} & set(said)


def joiner(world: World) -> tuple[Any, list[str]]:
    said: list[str] = []
    made: Any = Joiner.__new__(Joiner)
    made._store, made._settings, made._complaint = world.store, SimpleNamespace(node_address="10.0.0.2"), ""
    made._say = said.append
    return made, said


@pytest.mark.parametrize("seat", [b"", b"\xff", b"[" * 99_999, b"null", b'{"address": "10.6.6.6"}'])
def test_a_forged_seat_is_taken_and_ends_no_node(world: World, seat: bytes) -> None:
    world.store.create(INVITATION, canonical_json(JOB.model_dump(mode="json")))
    world.raw.put(SEAT, seat)
    node, _ = joiner(world)
    assert node._seated() is None
    world.raw.delete(SEAT)
    assert node._seated().work_key == "w"
    assert node._seated().work_key == "w"  # its own


def test_an_invitation_by_a_key_that_nobody_knows_keeps_no_node_from_the_others(world: World) -> None:
    evil = "nodes/a-000001/invitation.json"
    body = {**JOB.model_dump(mode="json"), "work_key": "a"}
    world.raw.put(evil, signed_record(body, evil, Signer.generate(), at_s=1.0))
    node, said = joiner(world)
    assert node._seated() is None
    assert node._seated() is None
    assert len(said) == 1
    assert evil in said[0]
    world.store.create(INVITATION, canonical_json(JOB.model_dump(mode="json")))
    assert node._seated().work_key == "w"


def test_a_store_that_is_away_is_no_reason_to_write_no_report(world: World, monkeypatch: Any) -> None:
    """Then the run has not ended well, whatever its last step said."""

    def away(*_: object) -> None:
        raise StorageError("write store/runs/r.json: away")

    monkeypatch.setattr(world.raw, "create", away)
    monkeypatch.setattr(world.raw, "put", away)
    with pytest.raises(StorageError):
        finish(Report(run_id="r", pipeline="digits"), world.adapters)

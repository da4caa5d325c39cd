"""A name that nobody has heard of is an error of whoever typed it; a pipeline without a history is none."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mlratchet.flows.cli.app import app
from mlratchet.flows.cli.models import with_what_came_after
from mlratchet.infra.keys.files import MemoryKeys
from mlratchet.infra.ledger.objects import ObjectLedger
from mlratchet.infra.registry.memory import MemoryRegistry
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.errors import ConfigurationError, RatchetError
from mlratchet.models.identity.signed_records import RecordStore
from mlratchet.models.pipeline.store import publish_deployment
from mlratchet.models.promotion.holds import HoldBook
from mlratchet.tasks import wiring
from mlratchet.tasks.actions.approving import choose
from mlratchet.tasks.actions.compare import compare_versions
from mlratchet.tasks.actions.override import promote_by_override
from mlratchet.tasks.actions.promote import promote_by_hand
from mlratchet.tasks.actions.roll_back import roll_back
from mlratchet.tasks.support.versions import decisions_of
from typer.testing import CliRunner

from tests.unit.audit.conftest import World
from tests.unit.promotion.canaries import Canary

COMMANDS: dict[str, Callable[[Any, str], object]] = {
    "decision": lambda adapters, name: decisions_of(adapters, name, 1),
    "compare": lambda adapters, name: compare_versions(adapters, name, 1, 2),
    "promote": lambda adapters, name: promote_by_hand(adapters, name, 1),
    "override": lambda adapters, name: promote_by_override(adapters, name, 1, reason="r", expires="1h"),
    "rollback": lambda adapters, name: roll_back(adapters, name, to=None, reason="r"),
    "approve": lambda adapters, name: choose(adapters, name, None),
}


@pytest.fixture
def adapters(store: MemoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """One pipeline has a file and was never deployed, another was deployed from somewhere else; none was promoted."""
    (tmp_path / "letters.yaml").write_text("")
    publish_deployment(store, "digits", "0" * 64, actor="a", at_s=0.0)
    keys = MemoryKeys()
    made = SimpleNamespace(
        store=store, keys=keys, ledger=ObjectLedger(store, keys), registry=MemoryRegistry(),
        settings=SimpleNamespace(pipelines_dir=tmp_path),
    )  # fmt: skip
    monkeypatch.setattr(wiring, "open_adapters", lambda: made)
    return made


@pytest.mark.parametrize("command", COMMANDS)
def test_whatever_takes_a_name_refuses_an_unknown_one_with_the_nearest(adapters: Any, command: str) -> None:
    with pytest.raises(
        ConfigurationError, match=r"no pipeline 'digitz' in .*, no deployment and no ledger of it in store; did you "
    ):
        COMMANDS[command](adapters, "digitz")
    with pytest.raises(RatchetError) as known:
        COMMANDS[command](adapters, "digits")
    assert "no pipeline" not in str(known.value)


@pytest.mark.parametrize("command", ["history", "versions", "approvals", "champion"])
def test_a_list_of_an_unknown_name_is_an_error_and_an_empty_list_is_none(adapters: Any, command: str) -> None:
    unknown = CliRunner().invoke(app, [command, "zzz"])
    assert isinstance(unknown.exception, ConfigurationError)
    assert "there are: digits, letters" in str(unknown.exception)
    for name in ("digits", "letters"):
        known = CliRunner().invoke(app, [command, name])
        if command == "champion":  # documented: 4 when none was
            assert getattr(known.exception, "exit_code", None) == 4
        else:
            assert known.exit_code == 0
            assert re.fullmatch(r"no.*\n", known.stdout)
            assert CliRunner().invoke(app, [command, name, "--json"]).stdout.strip() == "[]"


@pytest.mark.parametrize(("count", "told"), [(20, ""), (21, "1 earlier entry is left out; --all shows everything\n")])
def test_a_long_history_says_what_it_leaves_out(adapters: Any, count: int, told: str) -> None:
    for version in range(1, count + 1):
        adapters.ledger.append(
            "digits", action="promote", version=version, work_key="w", decision="0" * 64, manifest="m", actor="a",
            reason="r", now_s=1.0, expected_generation=version - 1,
        )  # fmt: skip
    shown = CliRunner().invoke(app, ["history", "digits", "--json"])
    assert ([e["generation"] for e in json.loads(shown.stdout)], shown.stderr) == (
        [*range(count - 19, count + 1)],
        told,
    )
    everything = CliRunner().invoke(app, ["history", "digits", "--all", "--json"])
    assert (len(json.loads(everything.stdout)), everything.stderr) == (count, "")


def test_a_history_for_scripts_has_what_people_are_shown_between_the_entries(adapters: Any, world: World) -> None:
    """Under the entry that it came after."""
    begun = Canary(world).put("shadow")
    adapters.keys, adapters.ledger = world.keys, world.ledger
    adapters.store = store = RecordStore(world.store, world.keys)
    at_s = [entry.at_s for entry in world.ledger.entries("digits")]
    placed = {"kind": "data", "words": "no rows", "actor": "monitor"}
    for number, when_s in enumerate((at_s[1], at_s[1] + 0.5, at_s[-1] + 9.0)):
        HoldBook(store).place("digits", finding=f"f{number}", at_s=when_s, **placed)
    told = json.loads(CliRunner().invoke(app, ["history", "digits", "--all", "--json"]).stdout)
    assert [[one["finding"] for one in entry["holds"]] for entry in told] == [[], ["f0", "f1"], [], ["f2"]]
    assert [[one["number"] for one in entry["canaries"]] for entry in told] == [[], [], [], [begun.number]]


def test_a_hold_stands_under_one_entry_where_a_clock_went_back() -> None:
    hold: Any = SimpleNamespace(at_s=70.0, model_dump=lambda mode: "hold")
    told = with_what_came_after([{"at_s": at_s} for at_s in (10.0, 100.0, 50.0)], [hold], [])
    assert [entry["holds"] for entry in told] == [["hold"], [], []]


@pytest.mark.parametrize(("count", "told"), [(20, ""), (22, "earlier versions are left out; --all shows everything\n")])
def test_many_versions_say_that_there_are_more(adapters: Any, count: int, told: str) -> None:
    for number in range(1, count + 1):
        adapters.registry.create_version(
            "digits", work_key=str(number), run_id="r", source_uri="s3://b/m", model_id=None, description="", tags={}
        )
    shown = CliRunner().invoke(app, ["versions", "digits", "--json"])
    assert ([v["version"] for v in json.loads(shown.stdout)], shown.stderr) == ([*range(count - 19, count + 1)], told)
    everything = CliRunner().invoke(app, ["versions", "digits", "--all", "--json"])
    assert (len(json.loads(everything.stdout)), everything.stderr) == (count, "")

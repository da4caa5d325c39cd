"""A pipeline that a person takes out of service stays out until a person brings it back, and loses nothing."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mlratchet.flows import withdraw as flow
from mlratchet.flows.withdraw import bring_back, withdraw
from mlratchet.infra.serving.local import LocalServers, model_servers
from mlratchet.infra.stack import supervisor as supervising
from mlratchet.infra.stack.supervisor import SupervisedService, Supervisor
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.serving.config import ServingConfig
from mlratchet.tasks.actions import reconcile
from prefect.exceptions import ObjectNotFound

from tests.unit.audit.conftest import World
from tests.unit.serving.test_server import settings_of


class FakePrefect:
    """Deployments by name."""

    def __init__(self, *names: str) -> None:
        self.held = {name: SimpleNamespace(id=name, paused=False) for name in names}

    def __enter__(self) -> FakePrefect:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def read_deployment_by_name(self, name: str) -> Any:
        if name not in self.held:
            raise ObjectNotFound(Exception(name))
        return self.held[name]

    def pause_deployment(self, identity: str) -> None:
        self.held[identity].paused = True

    def resume_deployment(self, identity: str) -> None:
        self.held[identity].paused = False

    def delete_deployment(self, identity: str) -> None:
        del self.held[identity]


@pytest.fixture
def prefect(monkeypatch: pytest.MonkeyPatch) -> FakePrefect:
    made = FakePrefect("retrain/digits", "tune/digits", "retrain/quote")
    monkeypatch.setattr(flow, "get_client", lambda **_: made)
    return made


@pytest.fixture
def adapters(world: World, tmp_path: Path) -> Any:
    """Of the world's bucket and a home with a server of digits."""
    servers = LocalServers(tmp_path)
    servers.request("digits", ServingConfig())
    settings = settings_of(tmp_path, pipelines_dir=tmp_path)
    return SimpleNamespace(store=world.store, ledger=world.ledger, servers=servers, settings=settings)


def test_stop_ends_the_server_and_pauses_the_schedules_and_may_be_repeated(
    adapters: Any, prefect: FakePrefect, world: World
) -> None:
    before = [(info.key, info.etag) for info in world.store.list()]
    done = withdraw(adapters, "digits", how="stopped")
    assert done["server_ended"]
    assert done["changed"] == ["retrain: schedule paused", "tune: schedule paused"]
    assert [one.paused for one in prefect.held.values()] == [True, True, False]
    again = withdraw(adapters, "digits", how="stopped")
    assert (again["server_ended"], again["changed"]) == (False, [])
    assert model_servers(adapters.settings, adapters.settings.home) == []
    assert [(info.key, info.etag) for info in world.store.list()] == before


def test_remove_takes_the_deployments_away_and_nothing_from_the_bucket(
    adapters: Any, prefect: FakePrefect, world: World
) -> None:
    before = [info.key for info in world.store.list()]
    assert withdraw(adapters, "digits", how="removed")["changed"] == [
        "retrain: deployment removed",
        "tune: deployment removed",
    ]
    assert set(prefect.held) == {"retrain/quote"}
    assert withdraw(adapters, "digits", how="removed")["changed"] == []
    assert [info.key for info in world.store.list()] == before
    assert adapters.servers.withdrawn("digits") == "removed"


def test_a_repair_does_not_bring_back_what_a_person_stopped(adapters: Any, prefect: FakePrefect, world: World) -> None:
    withdraw(adapters, "digits", how="stopped")
    assert reconcile.serve(adapters, world.records[3]) == []
    assert not adapters.servers.requested("digits")


def test_a_deployment_made_again_brings_it_back_and_a_pause_in_prefect_stays(
    adapters: Any, prefect: FakePrefect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile, "load_pipeline", lambda *_: SimpleNamespace(serving=ServingConfig()))
    withdraw(adapters, "digits", how="stopped")
    prefect.held["retrain/quote"].paused = True
    for name in ("digits", "quote"):
        bring_back(adapters, name)
    assert [prefect.held[name].paused for name in ("retrain/digits", "retrain/quote")] == [False, True]
    assert adapters.servers.withdrawn("digits") is None
    assert adapters.servers.requested("digits")  # and is served again at once, by the deployment alone
    assert not adapters.servers.requested("quote")  # which has no champion
    adapters.servers.withdraw("digits", "stopped")
    adapters.servers.request("digits", ServingConfig())  # as a run that promotes does
    assert adapters.servers.withdrawn("digits") is None


def test_a_name_that_nobody_has_heard_of_is_told(adapters: Any, prefect: FakePrefect) -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'digits'"):
        withdraw(adapters, "digit", how="stopped")


def test_the_supervisor_ends_a_server_that_nobody_asks_for(
    adapters: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ended: list[Any] = []
    monkeypatch.setattr(supervising, "end_group", lambda process, _: ended.append(process))
    monkeypatch.setattr(supervising, "services", lambda *_: [])
    supervisor = Supervisor(adapters.settings, tmp_path)
    (service,) = model_servers(adapters.settings, tmp_path)
    kept = SupervisedService(service, tmp_path)
    kept.process = SimpleNamespace(pid=1)  # type: ignore[assignment]  # it is only handed on
    supervisor._kept[service.name] = kept
    supervisor.end_unwanted([service])
    assert ended == []
    adapters.servers.withdraw("digits", "stopped")
    supervisor.end_unwanted(model_servers(adapters.settings, tmp_path))
    assert ended == [kept.process]
    assert supervisor._kept == {}

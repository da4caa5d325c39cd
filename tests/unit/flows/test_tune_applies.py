"""The best of a study is sent through the gates once, and again where that run came to nothing."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mlratchet.flows import tune as flow
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.pipeline.loading import read_pipeline
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed, Crashed, Running

DIGITS = Path(__file__).parents[3] / "deployments" / "pipelines" / "digits.yaml"


class Prefect:
    """Gives the run of an idempotency key again, as it is by now."""

    def __init__(self) -> None:
        self.runs: dict[str, Any] = {}

    def __enter__(self) -> Prefect:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def read_deployment_by_name(self, name: str) -> Any:
        return SimpleNamespace(id=name)

    def create_flow_run_from_deployment(self, _deployment: str, *, parameters: Any, idempotency_key: str) -> Any:
        new = SimpleNamespace(id=f"run-{len(self.runs)}", state=None, parameters=parameters)
        return self.runs.setdefault(idempotency_key, new)

    def end(self, run: str, state: State[Any]) -> None:
        next(one for one in self.runs.values() if one.id == run).state = state


def test_it_is_one_run_unless_that_was_killed_or_cancelled(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    prefect = Prefect()
    monkeypatch.setattr(flow, "get_client", lambda **_: prefect)
    run: Any = SimpleNamespace(adapters=SimpleNamespace(store=store), spec=read_pipeline(DIGITS), actor="ada")
    summary: Any = SimpleNamespace(study="s" * 64, pipeline="digits", assignments=("train.epochs=3",))

    def applied() -> str:
        return flow.start_retrain(run, summary)

    assert applied() == applied() == "run-0"
    prefect.end("run-0", Running())
    assert applied() == "run-0"
    for number, state in enumerate((Crashed(), Cancelled())):
        prefect.end(f"run-{number}", state)
        assert applied() == applied() == f"run-{number + 1}"
    prefect.end("run-2", Completed())
    assert applied() == "run-2"

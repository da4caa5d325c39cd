"""Whoever follows a run sees how each step ended, how far the training is, and what the run waits for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from mlratchet.flows.runs import following
from mlratchet.flows.runs.following import Follower
from prefect.client.schemas.objects import FlowRun, State, StateType, TaskRun


def flow_run(name: str, kind: StateType) -> FlowRun:
    return FlowRun(flow_id=uuid4(), state=State(type=kind, name=name), state_name=name, state_type=kind)


def task(name: str, state: str) -> TaskRun:
    return TaskRun(flow_run_id=uuid4(), task_key="t", dynamic_key="0", name=name, state_name=state)


class Client:
    """Prefect, look by look."""

    def __init__(self, looks: list[tuple[FlowRun, list[TaskRun]]]) -> None:
        self.looks, self.at = looks, -1
        self.words = "Training two: epoch 3 of 20, loss 0.31, 12 s left"

    def read_flow_run(self, _id: Any) -> FlowRun:
        self.at += 1
        return self.looks[self.at][0]

    def read_task_runs(self, **_filters: Any) -> list[TaskRun]:
        return self.looks[self.at][1]

    def read_artifacts(self, **_filters: Any) -> list[Any]:
        return [SimpleNamespace(data=15.0, description=self.words)]


@pytest.fixture
def follow(monkeypatch: pytest.MonkeyPatch) -> Any:
    def run(looks: list[tuple[FlowRun, list[TaskRun]]]) -> Follower:
        now = iter(range(0, 100_000, 4))  # seconds: each question for the time is 4 s later
        monkeypatch.setattr(
            following, "time", SimpleNamespace(monotonic=lambda: float(next(now)), sleep=lambda _s: None)
        )
        made = Follower(
            Client(looks),  # type: ignore[arg-type]
            uuid4(),
            pulse=SimpleNamespace(check=lambda *_: None),  # type: ignore[arg-type]
            ask=lambda: "who?",
            quiet=False,
        )
        made.follow()
        return made

    return run


def test_a_gate_that_said_no_has_no_tick(follow: Any, capsys: pytest.CaptureFixture[str]) -> None:
    red = [task("Evaluate", "Completed"), task("Gate: candidate", "Failed"), task("Gate: champion", "Asking")]
    follow([(flow_run("Failed", StateType.FAILED), red)])
    said = capsys.readouterr().err
    lines = {line.split("  ")[1].strip()[0]: line for line in said.splitlines()}
    assert "Evaluate" in lines["✓"]
    assert "Gate: candidate" in lines["✗"]
    assert "Gate: champion" in lines["‖"]


def test_what_a_run_waits_for_is_said_once_when_it_lasts(follow: Any, capsys: pytest.CaptureFixture[str]) -> None:
    waiting = (flow_run("AwaitingConcurrencySlot", StateType.SCHEDULED), [])
    follow([waiting] * 6 + [(flow_run("Completed", StateType.COMPLETED), [])])
    assert capsys.readouterr().err.count("waiting for another run of this pipeline to end") == 1


def test_a_training_is_shown_with_its_loss_and_the_time_left() -> None:
    made = Follower(
        Client([(flow_run("Running", StateType.RUNNING), [task("Train two", "Running")])]),  # type: ignore[arg-type]
        uuid4(), pulse=None, ask=lambda: "", quiet=True,  # type: ignore[arg-type]
    )  # fmt: skip
    made._client.read_flow_run(made._run_id)
    assert made.look() == "Train two  15 %  epoch 3 of 20, loss 0.31, 12 s left"


def test_steps_are_asked_for_once_a_second_and_when_the_run_is_over(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    monkeypatch.setattr(
        following,
        "time",
        SimpleNamespace(monotonic=lambda: now[0], sleep=lambda pause: now.__setitem__(0, now[0] + pause)),
    )
    under_way = (flow_run("Running", StateType.RUNNING), [task("Evaluate", "Running")])
    client = Client([*[under_way] * 8, (flow_run("Completed", StateType.COMPLETED), [task("Evaluate", "Completed")])])
    asked: list[int] = []
    monkeypatch.setattr(client, "read_task_runs", lambda **_: asked.append(client.at) or client.looks[client.at][1])
    pulse = SimpleNamespace(check=lambda *_: None)
    Follower(client, uuid4(), pulse=pulse, ask=lambda: "", quiet=False).follow()  # type: ignore[arg-type]
    assert asked == [0, 2, 4, 6, 8]
    assert "✓ Evaluate" in capsys.readouterr().err

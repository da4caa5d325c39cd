"""A step hands values on without Prefect looking inside them."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from mlratchet.tasks.step import Sealed, seal, step, unseal, worth_repeating
from prefect.client.schemas.objects import State, StateType


@dataclass(frozen=True)
class Rows:
    ids: list[str]


def test_dataclasses_are_sealed_and_nothing_else() -> None:
    rows = Rows(["a"])
    assert isinstance(seal(rows), Sealed)
    assert unseal(seal(rows)) is rows
    for plain in ("text", 3, None, [rows], Rows):
        assert seal(plain) is plain


def test_a_step_gives_its_function_the_values_and_the_caller_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    @step("Count")
    def count(rows: Rows, *, twice: Rows) -> Rows:
        return Rows(rows.ids + twice.ids)

    task = count._through_prefect
    monkeypatch.setattr(
        count, "_through_prefect", lambda *args, **kwargs: seen.append((args, kwargs)) or task.fn(*args, **kwargs)
    )
    assert count(Rows(["a"]), twice=Rows(["b"])) == Rows(["a", "b"])
    ((args, kwargs),) = seen
    assert isinstance(args[0], Sealed)
    assert isinstance(kwargs["twice"], Sealed)
    assert count.fn(Rows(["a"]), twice=Rows([])) == Rows(["a"])


def test_the_fault_points_lie_on_either_side(monkeypatch: pytest.MonkeyPatch) -> None:
    @step("Work")
    def work() -> int:
        return 1

    passed: list[str] = []
    monkeypatch.setattr("mlratchet.tasks.step.fault_point", passed.append)
    assert work._through_prefect.fn() == 1
    assert passed == ["work.before", "work.after"]


def test_a_verdict_that_is_no_success_ends_red_and_the_caller_still_gets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def red(rows: Rows) -> State[None] | None:
        return State(type=StateType.FAILED, message="no rows") if not rows.ids else None

    @step("Judge", state_of=red)
    def judge(rows: Rows) -> Rows:
        return rows

    ended = []
    task = judge._through_prefect
    monkeypatch.setattr(judge, "_through_prefect", lambda *args: ended.append(task.fn(*args)) or ended[-1])
    nothing = Rows([])
    assert judge(nothing) is nothing
    assert judge(Rows(["a"])) == Rows(["a"])
    assert (ended[0].type, ended[0].message) == (StateType.FAILED, "no rows")
    assert isinstance(ended[1], Sealed)
    assert not worth_repeating(None, None, ended[0])

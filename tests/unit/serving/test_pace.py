"""Where a model is asked: on the event loop while it is quick and cannot last, else on a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from mlratchet.models.artifact.signature import Signature
from mlratchet.models.serving.batcher import Batcher
from mlratchet.models.serving.pace import LONGER, MOST_ROWS, PROOF, QUICK_S, SLOW_S, Pace, is_straight
from mlratchet.models.serving.predictor import Predictor
from mlratchet.models.tensors.batch import ByName
from mlratchet.models.tensors.checked_once import checked_once
from mlratchet.models.tensors.named import Inputs

from tests.unit.serving.conftest import TABLE


class Sum(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.sum(1)


class Branches(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = torch.cond(x.sum() > 0, lambda y: y.sum(1), lambda y: -y.sum(1), (x,))
        return found


def exported(module: torch.nn.Module) -> Any:
    free = torch.export.Dim.AUTO
    return torch.export.export(module.eval(), (torch.zeros(3, 2),), dynamic_shapes=({0: free},)).module()


@pytest.fixture(scope="module")
def straight() -> Predictor:
    return Predictor(version=1, generation=1, signature=TABLE, model=exported(Sum()))


class Hands:
    """A clock that every second look moves by `took`."""

    def __init__(self) -> None:
        self.now, self.took, self._looks = 0.0, 0.0, 0

    def __call__(self) -> float:
        self._looks += 1
        self.now += self.took if self._looks % 2 == 0 else 0.0
        return self.now


def asked(pace: Pace, clock: Hands, predictor: Predictor, took: list[float]) -> list[bool]:
    """After each forward, whether the next is asked on the loop."""
    found = []
    for seconds in took:
        clock.took = seconds
        pace.timed(predictor, lambda: None)
        found.append(pace.is_quick(predictor, 1))
    return found


def test_a_version_that_was_quick_is_asked_on_the_loop_until_it_is_slow(straight: Predictor) -> None:
    clock = Hands()
    pace = Pace(threads=1, clock=clock)
    assert not pace.is_quick(straight, 1)
    quick, slow = QUICK_S / 2, QUICK_S * 2
    assert asked(pace, clock, straight, [quick] * PROOF) == [False] * (PROOF - 1) + [True]
    assert not pace.is_quick(straight, MOST_ROWS + 1)
    assert asked(pace, clock, straight, [slow, slow, quick, slow, slow, slow]) == [True] * 5 + [False]
    assert asked(pace, clock, straight, [quick] * (PROOF * LONGER))[-2:] == [False, True]
    assert asked(pace, clock, straight, [SLOW_S * 2]) == [False]


def test_what_could_last_is_never_asked_on_the_loop(straight: Predictor) -> None:
    own = Signature(task="package:Objective", classes=(), input=TABLE.input)
    for threads, predictor in (
        (1, replace(straight, model=lambda x: x.sum(1))),
        (1, replace(straight, model=exported(Branches()))),
        (1, replace(straight, signature=own)),
        (2, straight),
    ):
        clock = Hands()
        assert asked(Pace(threads=threads, clock=clock), clock, predictor, [0.0] * 10) == [False] * 10
    assert is_straight(straight.model)
    assert is_straight(ByName(checked_once(straight.model), ("x",)))
    assert not is_straight(checked_once(exported(Branches())))


def threads_of(predictor: Predictor, requests: int) -> list[str]:
    """The threads that a model was asked on, request by request."""
    seen: list[str] = []
    model: Callable[[Any], torch.Tensor] = predictor.model

    class Seen(torch.nn.Module):
        graph = model.graph  # type: ignore[attr-defined]  # of a program

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(threading.current_thread().name.split("_")[0])
            return model(x)

    async def scenario() -> None:
        batcher, watched = Batcher(max_batch_rows=8), replace(predictor, model=Seen())
        for at in range(requests):
            answers = await batcher.predict(watched, Inputs({"x": np.full((1, 2), at, dtype=np.float32)}))
            assert answers.predictions == [{"value": 2.0 * at}]
        await batcher.stop()

    asyncio.run(scenario())
    return seen


def test_the_first_forwards_are_on_a_thread_and_then_on_the_loop(straight: Predictor) -> None:
    seen = threads_of(straight, 60)
    assert seen[0] == "forward"
    assert seen[-1] == "MainThread"


def test_others_are_answered_while_a_model_hangs() -> None:
    hangs = threading.Event()

    def model(x: torch.Tensor) -> torch.Tensor:
        hangs.wait(300)
        return x.sum(1)

    async def scenario() -> None:
        one, two = Batcher(max_batch_rows=8), Batcher(max_batch_rows=8)
        rows = Inputs({"x": np.ones((1, 2), dtype=np.float32)})
        stuck = asyncio.create_task(one.predict(Predictor(version=1, generation=1, signature=TABLE, model=model), rows))
        quick = Predictor(version=1, generation=1, signature=TABLE, model=lambda x: x.sum(1))
        answers = [await asyncio.wait_for(two.predict(quick, rows), 120) for _ in range(10)]
        assert [one.predictions for one in answers] == [[{"value": 2.0}]] * 10
        assert not stuck.done()
        hangs.set()
        assert (await stuck).predictions == [{"value": 2.0}]
        await one.stop()
        await two.stop()

    asyncio.run(scenario())

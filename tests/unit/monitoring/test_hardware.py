"""A training that became slow is told with what is slow; one that is as usual is not."""

from __future__ import annotations

import random
from typing import Any

import pytest
from mlratchet.models.monitoring.config import HardwareRule
from mlratchet.models.monitoring.hardware import TrainingSpeed, slow_hardware

RULE = HardwareRule(slower_by=1.5, runs=5)


def training(at: int, *, rate: float = 1000.0, write_s: float = 0.2, ranks: Any = (1.0, 1.1), **more: Any) -> Any:
    draw = random.Random(at)
    epochs = []
    for _ in range(6):
        busy = [one * draw.uniform(0.95, 1.05) for one in ranks]
        slowest = max(range(len(busy)), key=busy.__getitem__)
        median = sorted(busy)[len(busy) // 2] if len(busy) % 2 else sum(sorted(busy)[len(busy) // 2 - 1 :][:2]) / 2
        epochs.append(
            {
                "rows_per_second": rate * draw.uniform(0.9, 1.1),
                "slowest_rank": float(slowest),
                "slowest_rank_seconds": busy[slowest],
                "median_rank_seconds": median,
            }
        )
    return TrainingSpeed(
        version=at, began_s=100.0 * at, ended_s=100.0 * at + 50, epochs=epochs, write_s=write_s,
        **{"processes": len(ranks), "device": "cpu", **more},
    )  # fmt: skip


HISTORY = [training(at) for at in range(1, 9)]


def subjects(newest: TrainingSpeed, history: list[TrainingSpeed] = HISTORY, rule: HardwareRule = RULE) -> list[str]:
    return [one.subject for one in slow_hardware(newest, history, rule)]


def test_a_training_as_usual_is_no_finding() -> None:
    assert subjects(training(9)) == []


@pytest.mark.parametrize(
    ("injected", "subject"),
    [
        ({"rate": 400.0}, "throughput"),
        ({"write_s": 1.5}, "writes"),
        ({"ranks": (1.0, 2.4)}, "rank 1"),
    ],
)
def test_what_was_slowed_is_what_is_told(injected: dict[str, Any], subject: str) -> None:
    assert subjects(training(9, **injected)) == [subject]


def test_a_slow_rank_of_four_is_told_by_its_number() -> None:
    assert subjects(training(9, ranks=(1.0, 1.0, 2.0, 1.1)), []) == ["rank 2"]


def test_ranks_that_take_turns_are_no_finding() -> None:
    turns = training(9, ranks=(1.0, 2.4))
    epochs = [dict(one) | {"slowest_rank": float(at % 2)} for at, one in enumerate(turns.epochs)]
    assert subjects(TrainingSpeed(**{**vars(turns), "epochs": epochs})) == []


def test_too_short_a_history_says_nothing_of_speed() -> None:
    assert subjects(training(9, rate=100.0, write_s=9.0), HISTORY[:4]) == []


def test_another_number_of_processes_is_another_history() -> None:
    assert subjects(training(9, rate=400.0, ranks=(1.0,))) == []


def test_a_machine_whose_speed_swings_is_not_slow_today() -> None:
    swinging = [training(at, rate=rate) for at, rate in enumerate((300, 1000, 3000, 500, 2000, 900, 400), start=1)]
    assert subjects(training(9, rate=450.0), swinging) == []


def test_the_words_say_how_much() -> None:
    (found,) = slow_hardware(training(9, rate=400.0), HISTORY, RULE)
    assert "times slower than the usual" in found.words
    assert found.times == pytest.approx(2.5, rel=0.15)

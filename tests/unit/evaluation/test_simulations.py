"""Statistical checks promote and hold wrongly no more often than they state; the large table is docs/statistics.md."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "simulations.py"


@pytest.fixture(scope="module")
def simulations() -> ModuleType:
    """The script that writes the table."""
    spec = importlib.util.spec_from_file_location("ratchet_simulations", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    sys.path.insert(0, str(SCRIPT.parent))  # as when it is started: its populations lie beside it
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(SCRIPT.parent))
    return module


@pytest.mark.slow
@pytest.mark.parametrize(
    ("check", "n"), [("accuracy-paired", 200), ("accuracy", 200), ("f1_macro-paired", 200), ("roc_auc-paired", 200),
                     ("clusters", 30), ("ndcg", 30)],
)  # fmt: skip
def test_false_promotions_and_failures_stay_within_their_stated_error(
    simulations: ModuleType, check: str, n: int
) -> None:
    rate = simulations.simulate(simulations.POPULATIONS[check]()[0], n, 250, seed=1)
    allowed = simulations.ALPHA + simulations.tolerance(250)
    assert rate.false_promotions <= allowed, rate
    assert rate.false_failures <= allowed, rate
    assert rate.no_answer < 0.1, rate


@pytest.mark.slow
@pytest.mark.parametrize(("check", "place", "n"), [("clusters", 1, 30), ("clusters", 3, 30), ("clusters", 3, 15),
                                                   ("faultless", 0, 50), ("faultless", 1, 50)])  # fmt: skip
def test_a_model_that_is_nearly_always_right_is_neither_believed_nor_held_for_it(
    simulations: ModuleType, monkeypatch: pytest.MonkeyPatch, check: str, place: int, n: int
) -> None:
    monkeypatch.setattr("populations.base.TRUTH_ROWS", 200_000)
    rate = simulations.simulate(simulations.POPULATIONS[check]()[place], n, 250, seed=1)
    allowed = simulations.ALPHA + simulations.tolerance(250)
    assert rate.false_promotions <= allowed, rate
    assert rate.false_failures <= allowed, rate
    if check == "clusters":
        assert rate.no_answer == 0, rate


@pytest.mark.slow
def test_an_area_of_few_positive_rows_that_nearly_all_lie_above_is_not_believed(simulations: ModuleType) -> None:
    rate = simulations.simulate(simulations.POPULATIONS["roc_auc"]()[2], 1000, 250, seed=1)
    assert rate.false_promotions <= simulations.ALPHA + simulations.tolerance(250), rate  # DeLong alone: 15 %
    assert rate.no_answer == 0, rate


@pytest.mark.slow
def test_a_margin_planned_for_four_passes_in_five_is_passed_about_that_often(simulations: ModuleType) -> None:
    rate = simulations.simulate(simulations.POPULATIONS["accuracy-paired"]()[3], 1000, 250, seed=1)
    assert abs(rate.held - (1 - simulations.POWER)) < simulations.tolerance(250, 1 - simulations.POWER)


@pytest.mark.slow
def test_a_biased_estimate_on_few_rows_gives_no_answer_instead_of_a_wrong_one(
    simulations: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("populations.base.TRUTH_ROWS", 20_000)
    rate = simulations.simulate(simulations.POPULATIONS["ece-paired"]()[1], 50, 60, seed=1)
    assert rate.no_answer > 0.9
    assert simulations.verdict(rate) == "inconclusive"


@pytest.mark.full
@pytest.mark.parametrize("check", ["f1_macro-paired", "log_loss-paired", "roc_auc-paired", "rmse-paired", "rmse"])
def test_every_population_holds_its_rate_or_gives_no_answer(simulations: ModuleType, check: str) -> None:
    for world in simulations.POPULATIONS[check]():
        for n in world.sizes[:3]:
            rate = simulations.simulate(world, n, 1000, seed=2)
            # one point for the bootstrap's own error at 50 and 200 units, beside chance
            allowed = simulations.ALPHA + simulations.tolerance(1000) + (0.01 if n < 1000 else 0.0)
            assert max(rate.false_promotions, rate.false_failures) <= allowed, rate

"""What programs are asked again about a window: shares of fields, the version before, and calibration."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.monitoring.asking_again import AskedAgain, drawn, figures_of, forgiving, shares_by_field
from mlratchet.models.monitoring.config import MonitoringConfig
from mlratchet.models.monitoring.finding import findings_of
from mlratchet.models.monitoring.measure.calibration import calibration_drift
from mlratchet.models.monitoring.measure.estimate import Reliability
from mlratchet.models.monitoring.verifying import verify_finding
from mlratchet.models.workloads.parts import fields_of_parts

from tests.unit.monitoring.site import CONFIG, Site, Traffic

SAMPLED = MonitoringConfig.model_validate({**CONFIG.model_dump(mode="json"), "sample": {"rows": 60}})


def asked(sample: pa.Table) -> AskedAgain:
    """A model that relies on the price where it is high, else on both alike; the version before says yes to all."""
    price = np.asarray([10.0 if one is None else one for one in sample["field.price"].to_pylist()])
    share = np.where(price > 14, 0.9, 0.5)
    test = np.tile([0.5, 0.5], (60, 1))
    window = np.stack([share, 1 - share], axis=1)
    said = ["yes" if row[1] > row[0] else "no" for row in sample["output"].to_pylist()]
    return AskedAgain(
        fields=("price", "region"), test=test, window=window, method="made up", before=1,
        said_before=["yes"] * len(said), said=said,
    )  # fmt: skip


@pytest.fixture(scope="module")
def site() -> Site:
    site = Site(SAMPLED)
    site.ask = asked
    site.serve(Traffic(0), Traffic(1, shift=5.0))
    site.look()
    return site


def test_the_answers_rest_on_other_fields_and_that_is_a_finding_that_is_confirmed(site: Site) -> None:
    (moved,) = [one for one in findings_of(site.store, "shop") if one.subject == "reliance"]
    assert (moved.kind, moved.severity, moved.n) == ("outputs", "warning", 60)
    assert "price 50% -> " in moved.words
    assert verify_finding(moved, site.source, site.store, site.watched).outcome == "confirmed"


def test_without_a_program_that_finding_cannot_be_computed_again_and_others_can(site: Site) -> None:
    def gone(_: pa.Table) -> AskedAgain:
        raise ConfigurationError("the program is gone")

    found = list(findings_of(site.store, "shop"))
    site.ask, held = gone, site.ask
    try:
        told = {one.subject: verify_finding(one, site.source, site.store, site.watched) for one in found}
    finally:
        site.ask = held
    assert told["reliance"].outcome == "cannot"
    assert "the program is gone" in told["reliance"].words


def test_who_was_not_asked_then_is_not_asked_again() -> None:
    def refuses(_: pa.Table) -> AskedAgain:
        raise ConfigurationError("another torch")

    def never(_: pa.Table) -> AskedAgain:
        raise AssertionError("nobody was asked about that window")

    site = Site(SAMPLED)
    site.ask = forgiving(refuses)
    site.serve(Traffic(0), Traffic(1, shift=5.0))
    site.look()
    moved = next(one for one in findings_of(site.store, "shop") if one.kind == "inputs")
    site.ask = never
    assert verify_finding(moved, site.source, site.store, site.watched).outcome == "confirmed"


def test_a_look_goes_on_where_nobody_can_be_asked() -> None:
    def refuses(_: pa.Table) -> AskedAgain:
        raise ConfigurationError("another torch")

    site = Site(SAMPLED)
    site.ask = refuses
    site.serve(Traffic(0))
    (made,) = site.look()
    assert made.record.counts["rows"] == 240
    assert "reliance" not in made.record.figures


def test_the_figures_of_a_window_say_it_by_field(site: Site) -> None:
    record = site.look  # looked already: the records stand
    assert record() == []
    figures = figures_of(
        AskedAgain(
            fields=("a", "b"), test=np.tile([0.6, 0.4], (50, 1)), window=np.tile([0.2, 0.8], (40, 1)), method="m",
            before=3, said_before=["x"] * 10, said=["x"] * 8 + ["y"] * 2,
        )
    )  # fmt: skip
    assert figures["relies a"].value == 0.2
    assert figures["relied a"].value == 0.6
    assert figures["reliance"].value == 0.4
    assert figures["disagreement sampled"].value == 0.2
    assert "version 3" in figures["disagreement sampled"].method


def test_no_drift_is_hardly_ever_taken_for_one() -> None:
    rng = np.random.default_rng(0)
    lows = []
    for _ in range(100):
        test, window = (rng.dirichlet([2, 3, 5], 100) for _ in range(2))
        figure = figures_of(AskedAgain(fields=("a", "b", "c"), test=test, window=window, method="m"))["reliance"]
        lows.append(figure.low)
    assert sum(low > 0.02 for low in lows if low is not None) <= 5


def test_the_sample_is_the_same_however_the_rows_come() -> None:
    table = pa.table({"request_id": [f"r{at}" for at in range(500)], "row": [0] * 500})
    whole = drawn([table], 40)
    step = drawn([table.slice(0, 100)], 40)
    for at in range(100, 500, 100):
        assert step is not None
        step = drawn([step, table.slice(at, 100)], 40)
    assert whole is not None
    assert step is not None
    assert sorted(whole["request_id"].to_pylist()) == sorted(step["request_id"].to_pylist())


def test_parts_of_tensors_count_for_the_fields_that_they_are_made_of() -> None:
    made_of = [("price", "numbers", 0), ("age", "numbers", 1), ("note", "note", None)]
    fields, table = fields_of_parts(["numbers[0]", "numbers[0:2]", "note", "note[0:9]", "other"], made_of)
    assert fields == ("price", "age", "note")
    assert table.tolist() == [[1, 0, 0], [0.5, 0.5, 0], [0, 0, 1], [0, 0, 1], [0, 0, 0]]
    shares = shares_by_field(np.asarray([[1.0, -1.0, 2.0, 0.0, 9.0], [0.0] * 5]), table)
    assert shares[0] == pytest.approx([0.375, 0.125, 0.5])
    assert shares[1] == pytest.approx([1 / 3] * 3)


def confident(rows: int, *, right: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    sure = rng.uniform(0.5, 1.0, rows)
    return sure, (rng.random(rows) < sure * right).astype(float)


def test_a_confidence_that_means_what_it_meant_has_no_drift_of_calibration() -> None:
    then = Reliability.of(*confident(1200, right=0.9, seed=1))
    lows = []
    for seed in range(2, 102):
        figure = calibration_drift(*confident(300, right=0.9, seed=seed), then)
        assert figure is not None
        lows.append(figure.low or 0.0)
    assert sum(low > 0.05 for low in lows) <= 5


def test_a_confidence_that_means_less_has_one() -> None:
    then = Reliability.of(*confident(1200, right=0.9, seed=1))
    figure = calibration_drift(*confident(300, right=0.6, seed=2), then)
    assert figure is not None
    assert figure.low is not None
    assert figure.low > 0.1
    assert calibration_drift(*confident(50, right=0.6, seed=2), then) is None


def test_answers_that_are_wrong_as_confidently_as_before_are_told_as_a_drift_of_calibration() -> None:
    site = Site()
    site.serve(Traffic(0), *[Traffic(at, accuracy=0.6) for at in (1, 2, 3)])
    found = {f"{one.kind}:{one.subject}": one for each in site.look() for one in each.findings}
    moved = found["quality:calibration"]
    assert moved.severity == "alarm"
    assert "outputs:calibration" not in found  # its warning is not told beside it
    assert "confidences mean another thing" in moved.words
    assert moved.effect is not None
    assert moved.n > 0
    assert verify_finding(moved, site.source, site.store, site.watched).outcome == "confirmed"

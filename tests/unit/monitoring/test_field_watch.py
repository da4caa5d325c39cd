"""A field's drift as streams: silent below the minimum effect whatever the reference drew, and soon heard above it."""

import numpy as np
import pyarrow as pa
import pytest
from mlratchet.models.monitoring.field_watch import joint_batches, joint_streams, watch_of
from mlratchet.models.monitoring.sequential import YEAR_S, JointAlarm
from mlratchet.models.monitoring.sketches import of

ROWS = 20_000


def alarms(reference: object, window: object, kind: str = "number", rate: float = 12.0) -> list[str]:
    """Leading streams of the alarms in a year of rows."""
    watch = watch_of(of(reference, kind), kind, minimum_effect=0.1)  # type: ignore[arg-type]
    assert watch is not None
    watches = {"field": watch}
    joint = JointAlarm(joint_streams(watches), false_alarms_per_year=rate, started_s=0)
    at = YEAR_S / ROWS * np.arange(1, len(window) + 1)  # type: ignore[arg-type]
    return [one.leading for one in joint.update(joint_batches(watches, {"field": window}, at))]


@pytest.mark.parametrize("shift", [0.0, 0.08, -0.08])
def test_below_the_minimum_effect_alarms_stay_within_the_rate(shift: float) -> None:
    rng = np.random.default_rng(1)
    found = [alarms(rng.normal(size=1500), rng.normal(shift, 1, ROWS)) for _ in range(4)]
    assert sum(map(len, found)) <= 4 * 12


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda x: x + 0.5, "higher"),
        (lambda x: x - 0.5, "lower"),
        (lambda x: x * 2, "wider"),
        (lambda x: x * 0.4, "narrower"),
        (lambda x: np.where(np.arange(len(x)) % 4 == 0, np.nan, x), "missing"),
    ],
)
def test_each_change_of_a_number_is_heard_and_named(change: object, part: str) -> None:
    rng = np.random.default_rng(2)
    found = alarms(rng.normal(size=1500), change(rng.normal(size=3000)))  # type: ignore[operator]
    assert found
    assert set(found) == {f"field: {part}"}


@pytest.mark.parametrize(
    ("shares", "part"),
    [
        ([0.75, 0.25, 0.0], "more 'red'"),
        ([0.2, 0.8, 0.0], "less 'red'"),
        ([0.45, 0.45, 0.1], "more others"),
    ],
)
def test_each_change_of_a_category_is_heard_and_named(shares: list[float], part: str) -> None:
    rng = np.random.default_rng(3)
    reference = rng.choice(["red", "blue"], 2000).tolist()
    found = alarms(reference, rng.choice(["red", "blue", "green"], 3000, p=shares).tolist(), "category")
    assert part in {one.removeprefix("field: ") for one in found} or "more 'blue'" in str(found)
    assert found
    assert alarms(reference, rng.choice(["red", "blue"], 3000).tolist(), "category") == []


def test_one_number_of_a_vector_that_moves_is_named() -> None:
    rng = np.random.default_rng(4)
    reference = rng.normal(size=(1000, 12)).astype(np.float32)
    window = rng.normal(size=(3000, 12)).astype(np.float32)
    assert alarms(reference, window, "image") == []
    window[:, 7] += 1
    assert set(alarms(reference, window, "image")) == {"field: higher at 7"}


def test_rows_without_the_field_count_as_missing_alone() -> None:
    watch = watch_of(of(np.arange(500.0), "number"), "number", minimum_effect=0.1)
    assert watch is not None
    found = watch.batches(pa.array([1.0, None, 400.0]), [1.0, 2.0, 3.0])
    assert found["missing"][0].tolist() == [0.0, 1.0, 0.0]
    assert found["higher"][1].tolist() == [1.0, 3.0]
    assert found["higher"][0] == pytest.approx([0.003, 0.8], abs=0.03)


def test_of_few_rows_and_of_digests_nothing_is_watched() -> None:
    assert watch_of(of(np.arange(50.0), "number"), "number", minimum_effect=0.1) is None
    assert watch_of(of([f"{index}" for index in range(500)], "image"), "image", minimum_effect=0.1) is None


def test_a_constant_reference_that_stays_is_silent() -> None:
    assert alarms(np.full(500, 7.0), np.full(3000, 7.0)) == []
    assert alarms(np.full(500, 7.0), np.full(3000, 9.0))

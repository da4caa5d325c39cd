"""Drift of a column as e-values of windows: a large one sounds in the first, what matters not keeps the rate."""

import json

import numpy as np
import pytest
from mlratchet.models.monitoring.column_watch import watch_of, watch_of_missing
from mlratchet.models.monitoring.drift import drift
from mlratchet.models.monitoring.sequential import JointAlarm
from mlratchet.models.monitoring.sketches import merged, of

HOUR = 3600.0
WINDOW = 1000
AMONG = 100  # scores
COLOURS = ["red", "green", "blue"]


def alarms(reference: object, windows: object, kind: str = "number", rate: float = 1 / 15) -> list[tuple[int, str]]:
    """(Window, part) of the alarms, at the rate that is left for one of 15 streams at one alarm a year."""
    then = of(reference, kind)  # type: ignore[arg-type]
    watch = watch_of(then, kind, minimum_effect=0.1, among=AMONG)  # type: ignore[arg-type]
    assert watch is not None
    alarm = JointAlarm({"x": watch.stream}, false_alarms_per_year=rate, started_s=0)
    found = []
    for at, rows in enumerate(windows):  # type: ignore[arg-type, var-annotated]
        said = watch.logarithms(of(rows, kind, like=then), None)  # type: ignore[arg-type]
        found += [(at, one.parts["x"]) for one in alarm.update({"x": (said, [HOUR * (at + 1)])})]
        alarm = JointAlarm.from_json(json.loads(json.dumps(alarm.to_json())))
    return found


@pytest.mark.parametrize(("change", "part"), [
    (lambda x: x + 1, "higher"), (lambda x: x - 1, "lower"), (lambda x: 2 * x, "wider"), (lambda x: x / 3, "narrower"),
    (lambda x: np.where(np.arange(len(x)) % 10 == 0, 1000 * x, x), "far out"),
])  # fmt: skip
def test_a_large_drift_of_a_number_sounds_in_its_first_window_and_says_how_it_moved(change: object, part: str) -> None:
    rng = np.random.default_rng(3)
    windows = [rng.normal(size=WINDOW) for _ in range(3)] + [change(rng.normal(size=WINDOW))]  # type: ignore[operator]
    assert alarms(rng.normal(size=2000), windows) == [(3, part)]


def test_few_rows_in_each_window_add_up() -> None:
    rng = np.random.default_rng(4)
    found = alarms(rng.normal(size=2000), [rng.normal(0.5, 1, 50) for _ in range(30)])
    assert found
    assert 0 < found[0][0] < 20


def test_a_reference_of_one_value_and_of_heavy_tails() -> None:
    rng = np.random.default_rng(5)
    assert alarms(np.full(500, 7.0), [np.full(WINDOW, 7.0)] * 3 + [np.full(WINDOW, 9.0)]) == [(3, "other")]
    heavy = [rng.standard_t(1.5, 2000) for _ in range(9)]
    assert alarms(heavy[0], heavy[1:]) == []


def test_three_times_the_minimum_effect_sounds_at_once() -> None:
    """That it is above the minimum effect need not be proven: it is surely a change, and as large."""
    rng = np.random.default_rng(22)
    first = [alarms(rng.normal(size=2000), [rng.normal(0.3, 1, WINDOW) for _ in range(2)])[:1] for _ in range(10)]
    assert sum(found == [(0, "higher")] for found in first) >= 8
    usual, fewer = [0.45, 0.3, 0.25], [0.6, 0.22, 0.18]
    windows = [rng.choice(COLOURS, WINDOW, p=fewer).tolist() for _ in range(2)]
    assert alarms(rng.choice(COLOURS, 2000, p=usual).tolist(), windows, "category")[0][0] <= 1


def test_below_the_minimum_effect_windows_lose_what_they_gathered() -> None:
    """Also where the reference is so large that a trifle is surely one."""
    rng = np.random.default_rng(23)
    then = of(rng.normal(size=50_000), "number")
    watch = watch_of(then, "number", minimum_effect=0.1, among=AMONG)
    assert watch is not None
    said = {
        shift: watch.scores["higher"].logarithms(of(rng.normal(shift, 1, 200_000), "number", like=then)).max()
        for shift in (0.05, 0.08, 0.12)
    }
    assert said[0.05] < said[0.08] < 0 < 500 < said[0.12]


@pytest.mark.parametrize("shift", [0.0, 0.05])
def test_up_to_half_of_the_minimum_effect_alarms_stay_within_the_rate(shift: float) -> None:
    """Also for references whose own chance adds to it."""
    rng, found = np.random.default_rng(6), 0
    for _ in range(30):
        windows = rng.normal(shift, 1, (60, 200))
        found += len(alarms(rng.normal(size=400), windows, rate=8766 / 60))  # one expected in each run, at the most
    assert found <= 30


@pytest.mark.parametrize(("quiet_up_to", "moved", "sounds"), [(1.0, 0.1, False), (0.25, 0.1, True), (1.0, 0.4, True)])
def test_up_to_what_is_quiet_a_column_that_moved_for_good_keeps_the_rate(
    quiet_up_to: float, moved: float, sounds: bool
) -> None:
    """All of the minimum effect where the file says so; what is large sounds at once all the same."""
    rng = np.random.default_rng(31)
    then = of(rng.normal(size=100_000), "number")
    watch = watch_of(then, "number", minimum_effect=0.1, among=AMONG, quiet_up_to=quiet_up_to)
    assert watch is not None
    said = np.concatenate(
        [watch.logarithms(of(rng.normal(moved, 1, WINDOW), "number", like=then), None) for _ in range(200)]
    )
    alarm = JointAlarm({"x": watch.stream}, false_alarms_per_year=1 / 15, started_s=0)
    found = alarm.update({"x": (said, HOUR * np.arange(1, 201))})
    assert bool(found) is sounds
    assert not sounds or moved < 0.4 or found[0].at_s == HOUR


@pytest.mark.parametrize(("shares", "part"), [((0.9, 0.05, 0.05), "more 'red'"), ((0.05, 0.55, 0.4), "less 'red'")])
def test_values_that_become_more_or_less_frequent(shares: tuple[float, ...], part: str) -> None:
    rng = np.random.default_rng(8)
    usual = [0.5, 0.3, 0.2]
    windows = [rng.choice(COLOURS, WINDOW, p=p).tolist() for p in (usual, usual, shares)]
    assert alarms(rng.choice(COLOURS, 2000, p=usual).tolist(), windows, "category") == [(2, part)]


def test_new_values_are_more_others() -> None:
    rng = np.random.default_rng(9)
    windows = [rng.choice(COLOURS, WINDOW).tolist(), [*rng.choice(COLOURS, 500).tolist(), *["pink"] * 500]]
    assert (1, "more others") in alarms(rng.choice(COLOURS, 2000).tolist(), windows, "category")


def test_values_that_are_too_many_to_be_kept_raise_nothing_by_what_was_left_out() -> None:
    rng = np.random.default_rng(10)
    columns = [[f"user {one}" for one in rng.zipf(1.3, 20_000) % 5000] for _ in range(5)]
    assert not of(columns[0], "entity").whole  # type: ignore[arg-type, union-attr]
    assert alarms(columns[0], columns[1:], "entity") == []


def test_vectors_are_told_apart_by_a_classifier_and_along_the_directions_in_which_they_vary() -> None:
    rng = np.random.default_rng(11)
    scale = np.r_[4.0, 2.0, np.ones(14)]
    usual = [rng.normal(size=(600, 16)) * scale for _ in range(12)]
    assert alarms(usual[0], usual[1:], "image") == []
    moved = rng.normal(size=(600, 16)) + np.r_[np.zeros(15), 3.0]
    assert [at for at, _ in alarms(usual[0], [*usual[1:3], moved], "image")] == [2]
    few = usual[3] * np.where(rng.random(600) < 0.1, 6.0, 1.0)[:, None]  # a tenth in another unit
    assert alarms(usual[0], [*usual[1:3], few], "image") == [(2, "far out from the middle")]


def test_vectors_that_move_along_the_axis_in_which_they_vary_most() -> None:
    """In standard deviations one number that means much is one of many."""
    rng = np.random.default_rng(24)
    scale = np.r_[8.0, np.ones(31)]
    usual = [rng.normal(size=(1000, 32)) * scale for _ in range(3)]
    moved = [(rng.normal(size=(1000, 32)) + 0.4 * np.eye(32)[0]) * scale for _ in range(2)]
    assert alarms(usual[0], [*usual[1:], *moved], "image")[0][1].endswith("er along axis 1")


def test_rows_that_clients_repeat_are_not_told_apart_by_what_has_seen_them() -> None:
    rng = np.random.default_rng(25)
    then = of(rng.normal(size=(1000, 48)), "image")
    watch = watch_of(then, "image", minimum_effect=0.1, among=AMONG)
    assert watch is not None
    for _ in range(2):
        now = of(np.tile(rng.normal(size=(250, 48)), (4, 1)), "image", like=then)
        places, counts = watch.scores["told apart"].of(now)
        assert places @ counts / counts.sum() < 0.58
        assert drift(then, now, "image", seed=1).least < 0.1
    same = of(np.ones((300, 48)), "image", like=then)  # as an empty input is: that is a change
    assert watch.scores["told apart"].logarithms(same).max() > 50
    assert drift(then, same, "image", seed=1).least > 0.9


def test_an_e_value_of_a_window_is_that_of_its_parts_together() -> None:
    rng = np.random.default_rng(12)
    then = of(rng.normal(size=500), "number")
    watch = watch_of(then, "number", minimum_effect=0.1, among=AMONG)
    assert watch is not None
    parts = [of(rng.normal(size=n), "number", like=then) for n in (70, 300)]
    apart = sum(watch.logarithms(part, None) for part in parts)
    assert watch.logarithms(merged(parts), None) == pytest.approx(apart)


def test_missing_rows_count_and_nothing_is_said_of_a_short_reference_or_of_digests() -> None:
    score = watch_of_missing(0.06)
    assert score is not None
    assert score.logarithms(of([None] * 8, "category")).max() > 16  # enough for 1 / 8,766 of a year among 15 streams
    assert score.logarithms(of(["a"] * 8, "category")).max() < 0
    assert watch_of_missing(0.99) is None
    assert watch_of(of(np.arange(50.0), "number"), "number", minimum_effect=0.1, among=AMONG) is None
    assert watch_of(of([f"{index}" for index in range(500)], "image"), "image", minimum_effect=0.1, among=AMONG) is None
    with pytest.raises(ValueError, match="must be positive"):
        watch_of(of(np.arange(500.0), "number"), "number", minimum_effect=0, among=AMONG)


def test_the_directions_of_a_reference_are_not_held_against_rows_that_they_were_fitted_on() -> None:
    """In 64 numbers without any direction, the one in which few rows vary most is wider there than in others."""
    rng = np.random.default_rng(13)
    assert alarms(rng.normal(size=(600, 64)), rng.normal(size=(8, 600, 64)), "image") == []


def test_what_a_reference_promises_is_true_of_its_world_but_for_what_chance_is_granted() -> None:
    """Of each part, over many references: 97.5 % at a quarter of the minimum effect, all but a few in ten thousand
    without a drift, also where the effect is less than a reference can tell."""
    rng, rows = np.random.default_rng(21), 300
    usual, moved = rng.normal(size=100_000), rng.normal(0.1, 1, 100_000)
    broken = {0.4: 0, 0.01: 0}
    for _ in range(60):
        then = of(rng.normal(size=rows), "number")
        for effect, world in ((0.4, moved), (0.01, usual)):
            watch = watch_of(then, "number", minimum_effect=effect, among=AMONG)
            assert watch is not None
            for part in ("higher", "lower", "wider", "narrower", "far out"):
                scores, counts = watch.scores[part].of(of(world, "number", like=then))
                broken[effect] += bool(scores @ counts / counts.sum() > watch.scores[part].limit)
    assert broken[0.4] <= 6  # of 60 at the edge, where 1.5 are expected
    assert broken[0.01] == 0  # of 300

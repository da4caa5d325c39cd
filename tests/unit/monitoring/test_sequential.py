"""Bounds and alarms keep their stated rates under continuous looking, and go on from their state."""

import json

import numpy as np
import pytest
from mlratchet.models.monitoring.bound import Bound
from mlratchet.models.monitoring.sequential import YEAR_S, Alarm, EvidenceStream, JointAlarm, Stream

DAY = 86_400.0


def bernoulli(rng: np.random.Generator, share: float, n: int) -> np.ndarray:
    return (rng.random(n) < share).astype(float)


@pytest.mark.parametrize("share", [0.02, 0.5, 0.93])
def test_a_bound_looked_at_after_every_batch_is_wrong_no_more_often_than_stated(share: float) -> None:
    rng, wrong, runs = np.random.default_rng(5), 0, 120
    for _ in range(runs):
        bound = Bound(confidence=0.9)
        looks = [bound.update(bernoulli(rng, share, 40)) for _ in range(12)]
        wrong += not all(low <= share <= high for low, high in looks)
    assert wrong / runs <= 0.1 + 3 * np.sqrt(0.1 * 0.9 / runs)


def test_a_bound_becomes_narrow() -> None:
    bound = Bound(confidence=0.95)
    low, high = bound.update(bernoulli(np.random.default_rng(1), 0.1, 5000))
    assert low < 0.1 < high
    assert high - low < 0.035
    assert bound.mean == pytest.approx(0.1, abs=0.015)


def test_a_bound_does_not_depend_on_how_rows_are_cut_and_goes_on_from_its_state() -> None:
    values = np.random.default_rng(2).beta(2, 5, 700)
    whole, cut = Bound(), Bound()
    whole.update(values)
    for part in np.array_split(values, 9):
        cut.update(part)
        cut = Bound.from_json(json.loads(json.dumps(cut.to_json())))
    assert cut.interval == whole.interval
    assert cut.mean == pytest.approx(whole.mean)


def test_a_bound_in_other_units() -> None:
    values = np.random.default_rng(3).uniform(-3, 5, 800)
    low, high = Bound(lowest=-3, highest=5).update(values)
    unit = Bound().update((values + 3) / 8)
    assert (low, high) == pytest.approx((unit[0] * 8 - 3, unit[1] * 8 - 3))


def test_a_mean_that_changes_leaves_a_bound_of_one_cell_and_no_error() -> None:
    low, high = Bound().update(np.r_[np.zeros(3000), np.ones(3000)])
    assert high >= low


def test_values_out_of_bounds_are_refused() -> None:
    with pytest.raises(ValueError, match=r"within \[0, 1\], got 0.5 to 1.5"):
        Bound().update([0.5, 1.5])
    with pytest.raises(ValueError, match="limit must lie between 0 and 1"):
        Stream(limit=1.0)
    with pytest.raises(ValueError, match="got nan"):
        Bound().update([np.nan])


@pytest.mark.parametrize(("limit", "share"), [(0.05, 0.05), (0.5, 0.5), (0.2, 0.15)])
def test_without_a_change_alarms_are_no_more_than_the_rate(limit: float, share: float) -> None:
    """At a rate of 6 a year and 55 rows a day; 20 simulated years."""
    rng, found, years = np.random.default_rng(7), 0, 20
    for _ in range(years):
        at = np.cumsum(rng.exponential(YEAR_S / 20_000, 20_000))
        found += len(Alarm(limit=limit, false_alarms_per_year=6, started_s=0).update(bernoulli(rng, share, 20_000), at))
    assert found <= 6 * years + 3 * np.sqrt(6 * years)


def test_a_rise_is_found_soon_also_after_a_long_time_without_one() -> None:
    rng = np.random.default_rng(11)
    values = np.r_[bernoulli(rng, 0.04, 100_000), bernoulli(rng, 0.15, 2_000)]
    at = 10.0 * np.arange(len(values))
    found = Alarm(limit=0.05, false_alarms_per_year=1, started_s=0).update(values, at)
    assert found
    assert 0 < found[0].at_s / 10 - 100_000 < 400


def test_a_better_model_raises_no_alarm() -> None:
    rng = np.random.default_rng(13)
    alarm = Alarm(limit=0.3, false_alarms_per_year=10, started_s=0)
    assert alarm.update(bernoulli(rng, 0.05, 50_000), 60.0 * np.arange(50_000)) == []
    assert alarm.statistic < alarm.threshold


def reference_statistic(values: np.ndarray, at: np.ndarray, limit: float) -> list[float]:
    """The recursion as it is written in the paper, row by row."""
    bets, last, found = [2.0**-k / (2 * limit) for k in range(10)], 0.0, []
    state = [0.0] * len(bets)
    for x, moment in zip(values, at, strict=True):
        state = [(r + (moment - last) / YEAR_S) * (1 + bet * (x - limit)) for r, bet in zip(state, bets, strict=True)]
        last = moment
        found.append(sum(state) / len(bets))
    return found


def test_the_statistic_is_the_recursion_and_goes_on_from_its_state() -> None:
    rng = np.random.default_rng(17)
    values, at = bernoulli(rng, 0.2, 300), np.cumsum(rng.exponential(DAY, 300))
    expected = reference_statistic(values, at, 0.15)
    alarm = Alarm(limit=0.15, false_alarms_per_year=1e-9, started_s=0)
    for start in range(0, 300, 37):
        alarm.update(values[start : start + 37], at[start : start + 37])
        assert alarm.statistic == pytest.approx(expected[min(start + 37, 300) - 1])
        alarm = Alarm.from_json(json.loads(json.dumps(alarm.to_json())))
    assert alarm.n == 300


def test_streams_that_depend_on_each_other_keep_one_rate_together() -> None:
    rng, found, years, rate = np.random.default_rng(19), 0, 15, 6.0
    names = [f"field {index}" for index in range(5)]
    for _ in range(years):
        alarm = JointAlarm({name: Stream(limit=0.1) for name in names}, false_alarms_per_year=rate, started_s=0)
        at = np.cumsum(rng.exponential(YEAR_S / 8_000, 8_000))
        values = bernoulli(rng, 0.1, 8_000)
        found += len(alarm.update(dict.fromkeys(names, (values, at))))
    assert found <= rate * years + 3 * np.sqrt(rate * years)


def test_an_alarm_over_streams_names_the_one_that_changed_and_begins_anew() -> None:
    rng = np.random.default_rng(23)
    alarm = JointAlarm({"a": Stream(limit=0.1), "b": Stream(limit=0.1)}, false_alarms_per_year=1, started_s=0)
    at = 60.0 * np.arange(3000)
    found = alarm.update(
        {
            "a": (bernoulli(rng, 0.08, 3000), at),
            "b": (bernoulli(rng, 0.4, 3000), at + 1),
        }
    )
    assert len(found) > 1
    assert {one.leading for one in found} == {"b"}
    assert found[0].shares["b"] > 0.9
    assert alarm.sounded == found[-1]
    alarm.update({"a": ([0.0], [at[-1] + 60])})
    assert alarm.sounded is None


def test_a_stream_may_be_behind_another_that_raised_an_alarm() -> None:
    alarm = JointAlarm({"a": Stream(limit=0.1), "b": Stream(limit=0.1)}, false_alarms_per_year=1, started_s=0)
    assert alarm.update({"a": (np.ones(200), 60.0 * np.arange(200))})
    alarm.update({"b": (np.zeros(3), [1.0, 2.0, 3.0])})
    assert alarm.n["b"] == 3


def test_one_update_and_many_find_the_same_alarms() -> None:
    rng = np.random.default_rng(29)
    streams = {"a": Stream(limit=0.1), "b": Stream(limit=0.2)}
    rows = {
        "a": (bernoulli(rng, 0.3, 900), np.sort(rng.uniform(0, 30 * DAY, 900))),
        "b": (bernoulli(rng, 0.2, 500), np.sort(rng.uniform(0, 30 * DAY, 500))),
    }
    whole = JointAlarm(streams, false_alarms_per_year=1, started_s=0).update(rows)
    alarm, found = JointAlarm(streams, false_alarms_per_year=1, started_s=0), []
    for day in range(30):
        cut = {name: (at >= day * DAY) & (at < (day + 1) * DAY) for name, (_, at) in rows.items()}
        found += alarm.update({name: (x[cut[name]], at[cut[name]]) for name, (x, at) in rows.items()})
        alarm = JointAlarm.from_json(json.loads(json.dumps(alarm.to_json())))
    assert [one.at_s for one in found] == [one.at_s for one in whole]
    assert len(found) > 2


def test_rows_out_of_order_are_refused_and_change_nothing() -> None:
    alarm = Alarm(limit=0.1, false_alarms_per_year=1, started_s=100)
    alarm.update([1.0], [110])
    before = alarm.to_json()
    with pytest.raises(ValueError, match="order of their requests"):
        alarm.update([1.0, 0.0], [120, 115])
    with pytest.raises(ValueError, match=r"before 110\.000 s"):
        alarm.update([1.0], [105])
    assert alarm.to_json() == before


def test_what_one_stream_gathers_is_not_lost_by_the_alarms_of_another() -> None:
    """A field that sounds in every window begins anew; losses that rise slowly beside it sound when their time is."""
    rng = np.random.default_rng(31)
    alarm = JointAlarm(
        {"field": EvidenceStream(parts=("higher", "lower")), "loss": Stream(limit=0.1)},
        false_alarms_per_year=1, started_s=0,
    )  # fmt: skip
    losses, leading = bernoulli(rng, 0.2, 600), []
    for hour in range(20):
        at = 3600.0 * hour + 120.0 * np.arange(1, 31)
        rows = {"field": ([[*[2.0] * 10, *[200.0] * 10]], [at[-1]]), "loss": (losses[30 * hour : 30 * hour + 30], at)}
        leading += [one.leading for one in alarm.update(rows)]
    assert leading.count("field") == 20
    assert "loss" in leading


def test_e_values_of_windows_keep_the_rate_and_name_the_part_that_says_most() -> None:
    rng, found, years, rate = np.random.default_rng(37), 0, 60, 6.0
    bets = 0.5 ** np.arange(10)
    for _ in range(years):
        alarm = JointAlarm(
            {"a": EvidenceStream(parts=("up", "down")), "b": Stream(limit=0.2)}, false_alarms_per_year=rate, started_s=0
        )
        score = rng.normal(size=(2000, 1))  # of a window, with e-values exp(bet x - bet^2 / 2)
        logs = np.concatenate([bets * score - bets**2 / 2, -bets * score - bets**2 / 2], axis=1)
        at = YEAR_S / 2000 * np.arange(1, 2001)
        found += len(alarm.update({"a": (logs, at), "b": (bernoulli(rng, 0.2, 2000), at)}))
    assert found <= rate * years + 3 * np.sqrt(rate * years)
    alarm = JointAlarm({"a": EvidenceStream(parts=("up", "down"))}, false_alarms_per_year=1, started_s=0)
    (sounded,) = alarm.update({"a": ([[*[0.1] * 10, *[900.0] * 10]], [3600.0])})
    assert sounded.parts == {"a": "down"}
    with pytest.raises(ValueError, match="rows of 20 logarithms"):
        alarm.update({"a": ([[0.0] * 10], [7200.0])})


def test_an_alarm_goes_on_with_other_streams_where_each_weighs_no_more() -> None:
    before = JointAlarm({"a": Stream(limit=0.1), "b": Stream(limit=0.1)}, false_alarms_per_year=1, started_s=0)
    before.update({"a": ([1.0, 1.0], [60.0, 120.0]), "b": ([1.0], [60.0])})
    more = {"a": Stream(limit=0.1), "b": EvidenceStream(parts=("more",)), "c": Stream(limit=0.1)}
    after = before.continued(more, false_alarms_per_year=1, started_s=600.0)
    assert (after.n["a"], after.n["b"]) == (2, 0)
    assert 0 < after.statistic < before.statistic
    fewer = before.continued({"a": Stream(limit=0.1)}, false_alarms_per_year=1, started_s=600.0)
    assert fewer.statistic == 0.0

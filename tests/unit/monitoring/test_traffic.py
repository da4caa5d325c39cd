"""Traffic whose truth is known: each kind of drift changes what it says, and the seed decides everything."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mlratchet.models.monitoring.traffic import DRIFTS, DriftKind, OwnRows, Sent, traffic

RNG = np.random.default_rng(1)
ROWS = OwnRows(
    instances=[{"job": "shop", "age": float(age)} for age in RNG.normal(40, 10, 400)],
    truths=["yes" if number % 4 else "no" for number in range(400)],
)
TRUE = {id(row): truth for row, truth in zip(ROWS.instances, ROWS.truths, strict=True)}


def sent(drift: DriftKind, rows: OwnRows = ROWS, **more: Any) -> list[Sent]:
    return list(traffic(rows, drift, **{"rate": 100.0, "seconds": 20.0, "onset_s": 10.0, "seed": 3, **more}))


def ages(found: list[Sent]) -> list[float]:
    return [one.instance["age"] for one in found if one.instance["age"] is not None]


@pytest.mark.parametrize("drift", DRIFTS)
def test_the_seed_decides_everything_and_before_the_onset_all_are_alike(drift: DriftKind) -> None:
    found = sent(drift)
    assert found == sent(drift)
    assert found != sent(drift, seed=4)
    assert [one for one in found if one.at_s < 10.0] == [one for one in sent("none") if one.at_s < 10.0]
    assert {one.drifted for one in found if one.at_s >= 10.0} == ({True} if drift not in ("none", "outage") else (
        {False} if drift == "none" else set()
    ))  # fmt: skip


@pytest.mark.parametrize("drift", ["none", "covariate", "label", "quality"])
def test_truths_stay_true_but_under_a_concept_drift(drift: DriftKind) -> None:
    known = {id(row) for row in ROWS.instances}
    found = [one for one in sent(drift) if id(one.instance) in known]
    assert len(found) > 1000
    assert all(TRUE[id(one.instance)] == one.truth for one in found)


def test_a_covariate_drift_moves_a_field_and_a_label_drift_the_shares() -> None:
    assert np.mean(ages(sent("covariate")[1000:])) > np.mean(ages(sent("none")[1000:])) + 5
    shares = [np.mean([one.truth == "no" for one in sent(drift)[1000:]]) for drift in ("none", "label")]  # type: ignore[arg-type]
    assert shares[0] < 0.3
    assert shares[1] > 0.6


def test_a_concept_drift_changes_what_half_of_the_inputs_mean() -> None:
    changed = [TRUE[id(one.instance)] != one.truth for one in sent("concept")[1000:]]
    assert 0.4 < np.mean(changed) < 0.6


def test_a_smaller_concept_drift_or_outage_is_of_fewer_inputs_and_requests() -> None:
    """Their size was not looked at: a drift of a tenth was one of half of the inputs."""
    shares = [
        np.mean([TRUE[id(one.instance)] != one.truth for one in sent("concept", size=size)[1000:]])
        for size in (0.0, 0.2, 1.0, 3.0)
    ]
    assert shares[0] == 0
    assert 0.05 < shares[1] < 0.15
    assert shares[2] == shares[3]
    came = [len(sent("outage", size=size)) - 1000 for size in (0.0, 0.2, 1.0)]
    assert (came[0], came[2]) == (1000, 0)
    assert 700 < came[1] < 900


def test_a_fault_of_quality_spoils_one_field_and_nothing_that_was_there_is_edited() -> None:
    before = [dict(row) for row in ROWS.instances]
    found = sent("quality")[1000:]
    empty = np.mean([one.instance["age"] is None for one in found])
    wrong = np.mean([age > 1000 for age in ages(found)])
    assert 0.2 < empty < 0.4
    assert 0.2 < wrong < 0.6
    assert all(one.instance["job"] == "shop" for one in found)
    assert before == ROWS.instances


def test_in_an_outage_nothing_comes() -> None:
    assert len(sent("outage")) == 1000


def test_rows_without_names_drift_along_their_mean() -> None:
    rows = OwnRows(instances=[[[float(n)] * 2] * 2 for n in range(50)], truths=["a", "b"] * 25)
    assert np.mean([np.mean(one.instance) for one in sent("covariate", rows)[1000:]]) > 30
    assert any(np.sum(one.instance) == 0 for one in sent("quality", rows)[1000:])


def test_what_cannot_drift_is_refused() -> None:
    words = OwnRows(instances=[{"text": "a"}, {"text": "b"}], truths=["x", "y"])
    with pytest.raises(ValueError, match="to drift along; choose label"):
        sent("covariate", words)
    assert any(one.instance["text"] is None for one in sent("quality", words))
    with pytest.raises(ValueError, match="expected as many"):
        OwnRows(instances=[1], truths=[])

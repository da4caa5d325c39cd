"""Traffic with a known truth is changed as it says, and nowhere else."""

import numpy as np
import pyarrow as pa
import pytest
from mlratchet.models.monitoring.simulation import CHANGES, Traffic, traffic

KINDS = {"size": "number", "colour": "category"}


def table() -> pa.Table:
    rng = np.random.default_rng(0)
    size = rng.normal(10, 2, 3000)
    return pa.table(
        {
            "size": size,
            "colour": rng.choice(["red", "blue"], 3000),
            "bought": np.where(size + rng.normal(0, 1, 3000) > 10, "yes", "no"),
        }
    )


def drawn(change: str, **options: object) -> Traffic:
    return traffic(table(), KINDS, "bought", change=change, rows=6000, begins=2000, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("change", CHANGES)
def test_before_the_change_rows_are_those_of_the_table(change: str) -> None:
    found = drawn(change, size=0.5)
    assert found.rows.slice(0, 2000).equals(table().take(pa.array(found.places[:2000])))
    assert found.rows.num_rows == 6000
    assert found.rows.schema == table().schema
    assert found.truth.begins == (6000 if change == "none" else 2000)


def test_covariate_moves_a_field_and_keeps_each_rows_label() -> None:
    found = drawn("covariate", size=0.5)
    after = found.rows.slice(2000)
    assert after["size"].to_numpy().mean() == pytest.approx(11.0, abs=0.15)
    assert after["bought"].to_pylist() == table().take(pa.array(found.places[2000:]))["bought"].to_pylist()
    more = drawn("covariate", size=1.0, field="colour").rows.slice(2000)["colour"].to_pylist()
    assert max(more.count("red"), more.count("blue")) / 4000 > 0.8


def test_label_draws_more_of_one_label() -> None:
    before, after = (drawn("label", size=1.0).rows.slice(*span)["bought"].to_pylist() for span in ((0, 2000), (2000,)))
    shares = [one.count("yes") / len(one) for one in (before, after)]
    assert abs(shares[1] - shares[0]) > 0.2


def test_concept_changes_labels_and_no_input() -> None:
    found = drawn("concept", size=0.3)
    same = table().take(pa.array(found.places))
    assert found.rows["size"].equals(same["size"])
    other = [a != b for a, b in zip(found.rows["bought"].to_pylist(), same["bought"].to_pylist(), strict=True)]
    assert not any(other[:2000])
    assert np.mean(other[2000:]) == pytest.approx(0.3, abs=0.03)


def test_quality_breaks_a_share_and_an_outage_all() -> None:
    broken = drawn("quality", size=0.2).rows["size"].to_numpy()
    assert np.mean(broken[2000:] > 1000) == pytest.approx(0.2, abs=0.03)
    assert drawn("quality", size=0.2, field="colour").rows["colour"].null_count == pytest.approx(800, abs=100)
    assert drawn("outage").rows["size"].null_count == 4000


def test_the_same_seed_draws_the_same() -> None:
    assert drawn("quality", size=0.2, seed=3).rows.equals(drawn("quality", size=0.2, seed=3).rows)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"change": "covariat"}, "did you mean 'covariate'"),
        ({"change": "covariate", "field": "sice"}, "did you mean 'size'"),
        ({"change": "concept", "size": 1.5}, "at most 1"),
        ({"change": "label", "label": None}, "the rows have no label"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, object], words: str) -> None:
    asked = {"label": "bought", "rows": 10, "begins": 5} | options
    with pytest.raises(ValueError, match=words):
        traffic(table(), KINDS, **asked)  # type: ignore[arg-type]

"""Two versions on the same rows: what differs, how sure that is, and the page that shows it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace

import numpy as np
import pytest
from mlratchet.models.comparison import compare as comparing
from mlratchet.models.comparison.compare import LEAST_ROWS, Comparison, compare
from mlratchet.models.comparison.latency import SideBySide
from mlratchet.models.comparison.page import render
from mlratchet.models.comparison.plots import comparison_plots
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.objectives.answers.ranking import places
from mlratchet.models.objectives.naming import objective_of
from mlratchet.models.sources.record import GROUP_COLUMN
from sklearn.metrics import accuracy_score

CLASSES = ("x", "y", "z")
Make = Callable[..., RowOutputs]


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """How sure an interval is, is the statistics' own question; here it is what is said of one."""
    monkeypatch.setattr(comparing, "RESAMPLES", 400)


def compared(a: RowOutputs, b: RowOutputs) -> Comparison:
    return compare(a, b, task="classification", class_names=CLASSES)


def test_a_better_version_is_shown_to_be_better_also_where_lower_is_better(classified: Make) -> None:
    a, b = classified(accuracy=0.8, seed=1), classified(accuracy=0.95, seed=2)
    found = compared(a, b)
    accuracy = next(m for m in found.metrics if m.metric == "accuracy")
    assert accuracy.b == pytest.approx(accuracy_score(b.y, b.output.argmax(axis=1)))
    assert accuracy.difference == pytest.approx(0.15)
    assert accuracy.difference_interval is not None
    assert 0 < accuracy.difference_interval[0] < 0.15 < accuracy.difference_interval[1]
    assert accuracy.better == "b"
    loss = next(m for m in found.metrics if m.metric == "log_loss")  # lower is better
    assert loss.difference is not None
    assert loss.difference < 0
    assert loss.better == "b"
    assert next(m for m in compared(b, a).metrics if m.metric == "accuracy").better == "a"


def test_equal_versions_show_no_difference(classified: Make) -> None:
    a = classified()
    found = compared(a, a)
    assert {m.better for m in found.metrics} == {"neither"}
    assert found.disagreeing_rows == 0


def test_other_rows_are_refused(classified: Make) -> None:
    with pytest.raises(ValueError, match="same rows"):
        compared(classified(ids="r"), classified(ids="s"))


def test_an_undefined_metric_says_why_and_is_no_number(classified: Make) -> None:
    a = classified()
    never = replace(a, output=np.where(np.arange(3) == 2, -9.0, a.output).astype(np.float32))  # z is never predicted
    found = compared(never, a)
    precision = next(m for m in found.metrics if m.metric == "precision_class_z")
    assert precision.a is None
    assert precision.difference is None
    assert precision.better == "neither"
    assert "undefined" in precision.reason
    assert "NaN" not in json.dumps(asdict(found), allow_nan=False)


def test_an_interval_in_doubt_shows_nobody_to_be_better() -> None:
    """Six positives: DeLong's interval does not hold its error there."""
    n = 300
    y = (np.arange(n) < 6).astype(np.int64)
    rng = np.random.default_rng(0)
    noise, sharp = rng.normal(0, 1, (n, 2)), rng.normal(0, 0.2, (n, 2))
    sharp[np.arange(n), y] += 3
    ids = [f"r{i}" for i in range(n)]
    a, b = (RowOutputs(ids=ids, y=y, output=o.astype(np.float32)) for o in (noise, sharp))
    found = compare(a, b, task="classification", class_names=("no", "yes"))
    area = next(m for m in found.metrics if m.metric == "roc_auc")
    assert (area.difference_interval, area.better) == (None, "neither")
    assert "too few for DeLong" in area.reason


def test_rows_of_one_group_are_drawn_together(classified: Make) -> None:
    """Ten copies of every row say no more than one."""
    a, b = classified(n=120, accuracy=0.8, seed=1), classified(n=120, accuracy=0.9, seed=2)
    group = [f"p{i}" for i in range(120)]

    def tenfold(rows: RowOutputs) -> RowOutputs:
        places = np.repeat(np.arange(120), 10)
        ids = [f"{rows.ids[i]}-{n}" for n, i in enumerate(places)]
        columns = {GROUP_COLUMN: [group[i] for i in places]}
        return replace(rows, ids=ids, y=rows.y[places], output=rows.output[places], columns=columns)

    once = next(m for m in compared(a, b).metrics if m.metric == "accuracy")
    many = next(m for m in compared(tenfold(a), tenfold(b)).metrics if m.metric == "accuracy")
    assert once.difference_interval is not None
    assert many.difference_interval is not None
    widths = [high - low for low, high in (once.difference_interval, many.difference_interval)]
    assert widths[1] == pytest.approx(widths[0], rel=0.2)
    assert "clusters of @group" in many.method


def test_slices_of_columns_and_labels(classified: Make) -> None:
    n = 600
    columns = {"region": ["eu" if i % 2 else "us" for i in range(n)], "id2": [str(i) for i in range(n)]}
    a, b = (replace(classified(n=n, accuracy=s, seed=1), columns=columns) for s in (0.7, 0.95))
    found = compared(a, b)
    assert {(s.column, s.value) for s in found.slices} == {
        ("region", "eu"), ("region", "us"), ("label", "x"), ("label", "y"), ("label", "z"),
    }  # fmt: skip
    assert sum(s.difference.n for s in found.slices if s.column == "region") == n
    assert "600 different values" in found.skipped_columns["id2"]


def test_a_slice_with_few_rows_is_not_shown(classified: Make) -> None:
    rare = ["rare" if i < LEAST_ROWS - 1 else "usual" for i in range(400)]
    a = replace(classified(), columns={"kind": rare})
    assert [s.value for s in compared(a, a).slices if s.column == "kind"] == ["usual"]


def test_disagreements_begin_with_the_widest(classified: Make) -> None:
    a, b = classified(accuracy=0.9, seed=1), classified(accuracy=0.9, seed=2)
    found = compared(a, b)
    differ = (a.output.argmax(axis=1) != b.output.argmax(axis=1)).sum()
    assert found.disagreeing_rows == differ > 0
    gaps = [abs(d.a_badness - d.b_badness) for d in found.disagreements]
    assert gaps == sorted(gaps, reverse=True)
    one = found.disagreements[0]
    row = a.ids.index(one.id)
    assert one.target == CLASSES[int(a.y[row])]
    assert one.a == CLASSES[int(a.output[row].argmax())]


def test_regression_is_compared_by_error() -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(size=300).astype(np.float32)
    ids = [str(i) for i in range(300)]
    a, b = (RowOutputs(ids=ids, y=y, output=y + rng.normal(0, s, 300).astype(np.float32)) for s in (0.5, 0.1))
    found = compare(a, b, task="regression", class_names=())
    assert all(m.better == "b" for m in found.metrics)
    assert list(comparison_plots(a, b, found)) == ["Errors"]


def test_places_in_a_ranking_and_the_gain_they_lose() -> None:
    rows = RowOutputs(
        ids=list("abcde"),
        y=np.asarray([1.0, 0.0, 3.0, 0.0, 1.0]),
        output=np.asarray([0.1, 0.9, 0.5, 7.0, -1.0]),
        columns={GROUP_COLUMN: ["q1", "q1", "q1", "q2", "q2"]},
    )
    place, size = places(rows)
    assert place.tolist() == [3, 1, 2, 1, 2]
    assert size.tolist() == [3, 3, 3, 2, 2]
    assert objective_of("ranking").said(rows, ())[0] == "place 3 of 3"
    expected = [1 * (1 - 1 / 2), 0, 7 * (1 - 1 / np.log2(3)), 0, 1 * (1 - 1 / np.log2(3))]
    assert objective_of("ranking").badness(rows).tolist() == pytest.approx(expected)


def test_the_page_is_self_contained_and_escapes_what_rows_say(classified: Make) -> None:
    a, b = classified(accuracy=0.9, seed=1, ids="<script>"), classified(accuracy=0.9, seed=2, ids="<script>")
    found = compared(a, b)
    times = SideBySide(a_ms={"p50": 1.0}, b_ms={"p50": 1.5}, n=9)
    page = render(
        found,
        name="digits",
        a={"version": 1},
        b={"version": 2},
        rows_from="those of version 2's dataset",
        latency=times,
        pictures=comparison_plots(a, b, found),
    )
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert 'src="http' not in page
    assert page.count("data:image/png;base64,") == 2  # calibration and slices by label
    assert "1.50 x" in page
    for m in found.metrics:
        assert m.metric in page


def test_the_page_says_what_is_not_given_and_which_way_a_difference_goes(classified: Make) -> None:
    columns = {"delivery": ["" if i % 2 else "express" for i in range(600)]}
    a, b = (replace(classified(n=600, accuracy=s, seed=1), columns=columns) for s in (0.7, 0.95))
    found = compared(a, b)
    page = render(found, name="shop", a={"version": 1}, b={"version": 2}, rows_from="", latency=None, pictures={})
    assert "<td>delivery</td><td>not given</td>" in page
    accuracy = next(one for one in found.metrics if one.metric == "accuracy")
    assert f">{accuracy.difference:+.4f}<br>" in page
    assert page.count("<h2>Slices</h2>") == 1

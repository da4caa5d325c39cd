"""Mean average precision of known boxes, and how it moves with the weights of rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mlratchet.models.metrics.detection import BoxesOfRows, MeanAveragePrecision, overlaps
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.serving.contract import difference
from mlratchet.models.sources.record import is_nested, target_names


class OneBoxEach(MeanAveragePrecision):
    """A row's output is score and box; its target a box. All of one class."""

    def found(self, output: np.ndarray[Any, Any]) -> BoxesOfRows:
        count = len(output)
        return BoxesOfRows(row=np.arange(count), kind=np.zeros(count, int), box=output[:, 1:], score=output[:, 0])

    def wanted(self, y: np.ndarray[Any, Any]) -> BoxesOfRows:
        return BoxesOfRows(row=np.arange(len(y)), kind=np.zeros(len(y), int), box=y, score=np.ones(len(y)))


def rows() -> RowOutputs:
    """The second surest of four is wrong."""
    box, other = [0.0, 0.0, 4.0, 4.0], [8.0, 8.0, 9.0, 9.0]
    output = np.asarray([[0.9, *box], [0.8, *other], [0.7, *box], [0.6, *box]])
    return RowOutputs(ids=list("abcd"), y=np.asarray([box] * 4), output=output)


def test_it_is_the_area_under_precision_by_recall() -> None:
    assert OneBoxEach().value(rows()) == pytest.approx(0.25 * 1 + 0.5 * 0.75)  # by hand
    without_b = OneBoxEach().weighted(rows(), np.asarray([[1.0, 0.0, 1.0, 1.0], [2.0, 0.0, 0.0, 0.0]]))
    np.testing.assert_allclose(without_b, [1.0, 1.0])
    assert OneBoxEach().influence(rows()).mean() == pytest.approx(0.0, abs=1e-6)


def test_boxes_overlap_by_what_they_share() -> None:
    found = overlaps(np.asarray([0, 0, 2, 2.0]), np.asarray([[0, 0, 2, 2.0], [1, 0, 3, 2.0], [5, 5, 6, 6.0]]))
    np.testing.assert_allclose(found, [1.0, 1 / 3, 0.0])


def test_a_set_has_no_class_and_an_answer_with_one_is_compared_number_by_number() -> None:
    assert is_nested(((1.0, 2.0),))
    assert target_names(((1.0, 2.0),), ("a", "b")) == ()
    assert target_names((1.0, 2.0), ()) == ()
    told = {"shapes": [{"class": "bar", "box": [1.0, 2.0]}]}
    assert difference({"shapes": [{"class": "bar", "box": [1.0, 2.0000001]}]}, told, 1e-3) == ""
    assert "box[1]" in difference({"shapes": [{"class": "bar", "box": [1.0, 3.0]}]}, told, 1e-3)
    assert "got 0 entries" in difference({"shapes": []}, told, 1e-3)

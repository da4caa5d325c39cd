"""Pictures are drawn for every kind of input, with and without a champion, and for slices without a value."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from mlratchet.models.evaluation.attribution_plots import attribution_plots
from mlratchet.models.evaluation.explain import Attributions
from mlratchet.models.evaluation.slice_plots import slice_plot
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.objectives.naming import metrics_for, objective_of
from mlratchet.models.objectives.pictures.curves import curves, operating_points
from mlratchet.models.tensors.named import Inputs
from mlratchet.models.workloads.base import InputSpec
from PIL import Image


def size(png: bytes) -> tuple[int, int]:
    return Image.open(io.BytesIO(png)).size


@pytest.mark.parametrize(
    ("spec", "names"),
    [
        (InputSpec(kind="image", shape=(3, 5, 4), dtype="float32"), ("candidate", "champion")),
        (InputSpec(kind="table", shape=(3,), dtype="float32", columns=("a", "b", "c")), ("candidate",)),
        (InputSpec(kind="tensor", shape=(40,), dtype="int64"), ("candidate", "champion")),
    ],
    ids=["image", "table", "tensor"],
)
def test_attributions_are_drawn(spec: InputSpec, names: tuple[str, ...]) -> None:
    rng = np.random.default_rng(0)
    found = {
        name: Attributions(values=rng.normal(size=(9, *spec.shape)), method="m", completeness=0.0) for name in names
    }
    x = rng.random((9, *spec.shape)).astype(np.float32)
    plots = attribution_plots(Inputs({"x": x}), found, spec, ["eu", "us", "eu"] * 3, [str(i) for i in range(9)])
    wanted = {"importance.png", "slices.png"} | ({"examples.png"} if spec.kind == "image" else set())
    assert set(plots) == wanted
    assert all(min(size(png)) > 100 for png in plots.values())
    if spec.kind == "table":
        assert "slices.png" not in attribution_plots(Inputs({"x": x}), found, spec, ["all"] * 9, [""] * 9)


def test_a_slice_without_a_value_is_named_and_left_out(classified: Callable[..., RowOutputs]) -> None:
    rows = classified(n=90)
    labels = ["big"] * 60 + ["small"] * 29 + ["one"]
    metric = metrics_for("classification", ("0", "1", "2"))["recall_class_0"]  # undefined on the slice of one row
    both = slice_plot(metric, {"candidate": rows, "champion": classified(n=90, seed=1)}, labels, "by size")
    assert size(both)[1] > size(slice_plot(metric, {"candidate": rows}, ["all"] * 90, "all"))[1]


def test_operating_points_are_those_of_the_definition() -> None:
    rng = np.random.default_rng(1)
    scores, positive = rng.integers(0, 9, size=200) / 8.0, rng.random(200) < 0.3  # with ties
    false, true, precise = operating_points(scores, positive)
    for number, threshold in enumerate(sorted(set(scores), reverse=True)):
        said = scores >= threshold
        assert false[number] == pytest.approx((said & ~positive).sum() / (~positive).sum())
        assert true[number] == pytest.approx((said & positive).sum() / positive.sum())
        assert precise[number] == pytest.approx(positive[said].mean())
    assert len(false) == len(set(scores))
    wins = scores[positive][:, None] - scores[~positive][None, :]
    area = np.trapezoid([0, *true], [0, *false])
    assert area == pytest.approx(((wins > 0) + 0.5 * (wins == 0)).mean())  # Mann and Whitney's


def test_curves_are_drawn_of_what_has_both_sides(classified: Callable[..., RowOutputs]) -> None:
    rows = classified(n=300)
    pictures = objective_of("classification").pictures(rows, ("0", "1", "2"))
    assert min(size(pictures["curves.png"])) > 300
    scores = np.linspace(0, 1, 50)
    alone = {"never": (scores, scores < 0), "half": (scores, scores > 0.5)}
    assert curves(alone) == curves({"half": alone["half"]})
    assert min(size(curves({"never": alone["never"]}))) > 300

"""One suite over every built-in objective: what each method gives fits what the others say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.objectives.base import Objective
from mlratchet.models.objectives.naming import BUILT_IN, compute_metrics, metrics_over, objective_of
from mlratchet.models.sources.record import GROUP_COLUMN

N = 40


@dataclass(frozen=True, kw_only=True)
class World:
    """Rows of a task that a model answers well."""

    objective: Objective
    names: tuple[str, ...]
    rows: RowOutputs
    refused: tuple[Any, ...]  # targets that cannot be learnt from

    def target(self) -> torch.Tensor:
        """Of a loss."""
        y = torch.from_numpy(self.rows.y)
        return torch.stack([y, torch.arange(N) // 4], dim=1).float() if self.objective.by_query else y


@pytest.fixture(params=sorted(BUILT_IN))
def world(request: pytest.FixtureRequest) -> World:
    rng = np.random.default_rng(0)
    task = request.param
    classes, labels = rng.integers(0, 3, N), rng.integers(0, 2, (N, 3)).astype(np.float32)
    number = rng.normal(5, 1, N).astype(np.float32)
    y, output, names, refused = {
        "classification": (classes, 4 * np.eye(3)[classes], ("a", "b", "c"), (3, -1, 1.0)),
        "multi_label": (labels, 8 * labels - 4, ("a", "b", "c"), ((1.0, 0.0), (2.0, 0.0, 0.0), 1)),
        "regression": (number, number, (), (float("nan"), float("inf"), (1.0,))),
        "ranking": ((classes % 3).astype(np.float32), classes.astype(float), (), (-1.0, float("nan"))),
    }[task]
    columns = {GROUP_COLUMN: [f"q{i // 4}" for i in range(N)]}
    noise = rng.normal(0, 0.1, np.shape(output))
    rows = RowOutputs(ids=[f"r{i}" for i in range(N)], y=y, output=(output + noise).astype(np.float32), columns=columns)
    return World(objective=objective_of(task), names=names, rows=rows, refused=refused)


def test_an_answer_has_the_fields_that_its_schema_describes(world: World) -> None:
    answers = world.objective.answers(torch.from_numpy(world.rows.output), world.names)
    schema = world.objective.answer_schema(world.names)
    assert len(answers) == N
    assert all(set(answer) == set(schema) for answer in answers)
    assert tuple(world.rows.output.shape[1:]) in world.objective.output_shapes(world.names)


def test_every_loss_is_the_mean_over_rows_and_what_is_explained_has_one_value_a_row(world: World) -> None:
    output, target = torch.from_numpy(world.rows.output), world.target()
    named = world.objective.named_losses(weight=None, label_smoothing=0.0)
    assert world.objective.class_loss in ("", *named)
    for loss in (lambda o, t: world.objective.loss(o, t, label_smoothing=0.0), *named.values()):
        parts = [loss(o, t) * len(t) / N for o, t in zip(output.split(20), target.split(20), strict=True)]
        assert float(sum(parts)) == pytest.approx(float(loss(output, target)), rel=1e-5)
    assert world.objective.explained(output, torch.from_numpy(world.rows.y)).shape == (N,)


def test_words_and_badness_are_of_every_row_and_nothing_differs_from_itself(world: World) -> None:
    objective, rows, names = world.objective, world.rows, world.names
    assert len(objective.said(rows, names)) == len(objective.wanted(rows.y, names)) == N
    assert objective.badness(rows).shape == (N,)
    assert (objective.badness(rows) >= 0).all()
    assert not objective.differ(rows, rows).any()
    shown = objective.samples(rows, names, 5)
    said, wanted = objective.said(rows, names), objective.wanted(rows.y, names)
    assert shown == [[f"r{i}", wanted[i], said[i]] for i in range(5)]


def test_pictures_are_drawn_and_metrics_have_values(world: World) -> None:
    objective, rows, names = world.objective, world.rows, world.names
    drawn = {**objective.pictures(rows, names), **objective.comparison_pictures(rows, rows)}
    assert drawn
    assert all(png.startswith(b"\x89PNG") for png in drawn.values())
    assert all(np.isfinite(one.value) for one in compute_metrics(rows, objective.name, names).values())


def test_a_target_that_cannot_be_learnt_from_is_refused_with_what_was_got(world: World) -> None:
    for y in world.rows.y.tolist():
        assert world.objective.refusal(tuple(y) if isinstance(y, list) else y, world.names) == ""
    for target in world.refused:
        assert "got" in world.objective.refusal(target, world.names)
        assert "expected" in world.objective.refusal(target, world.names)


def test_two_of_many_classes_keep_the_names_of_many() -> None:
    assert {"roc_auc_macro", "roc_auc_class_a"} <= set(metrics_over("classification", ("a", "b")))
    assert set(metrics_over("multi_label", ("a", "b"))) == {
        m.name for m in objective_of("multi_label").metrics(("a", "b"))
    }

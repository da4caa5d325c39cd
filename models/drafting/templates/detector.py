"""A small detector for pipeline NAME, yours to change: which shapes are where on a picture.

Every 4 x 4 pixels of the 32 x 32 are a cell, which says whether a shape has its middle there, how far away the sides of
its box are, and of which class it is. Shape legend: B rows, G cells, C classes, M boxes of a row at most.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mlratchet.models.metrics.detection import BoxesOfRows, MeanAveragePrecision, overlaps
from mlratchet.models.networks.build import NetworkInput
from mlratchet.models.objectives.base import Objective
from mlratchet.models.workloads.fields import SchemaWorkload
from torch import nn
from torch.nn import functional

CLASSES = ("bar", "disc")
CELL, GRID, MOST = 4, 8, 4  # pixels of a cell; cells of a side; M
SURE, SAME = 0.5, 0.4  # score of a box that is told; overlap from which two are the same


def middles() -> torch.Tensor:
    """(G, 2) pixels."""
    at = (torch.arange(GRID) + 0.5) * CELL
    return torch.stack([at.repeat(GRID), at.repeat_interleave(GRID)], dim=1)


def boxes_of(output: torch.Tensor) -> torch.Tensor:
    """(B, G, 4) left, top, right, bottom of outputs (B, G, 5 + C)."""
    sides = functional.softplus(output[..., 1:5]) * CELL
    return torch.cat([middles() - sides[..., :2], middles() + sides[..., 2:]], dim=-1)


class ShapeNetwork(nn.Module):
    """(B, 1, 32, 32) to (B, G, 5 + C)."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after, stride in ((1, 16, 1), (16, 32, 2), (32, 48, 2), (48, 48, 1)):
            layers += [nn.Conv2d(before, after, 3, stride=stride, padding=1), nn.GroupNorm(4, after), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Conv2d(48, 5 + len(CLASSES), 3, padding=1))

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.layers(picture)
        return found.flatten(2).transpose(1, 2)


class ShapesFound(MeanAveragePrecision):
    """The metric, mAP at 0.5: which boxes a row's numbers are."""

    def found(self, output: np.ndarray[Any, Any]) -> BoxesOfRows:
        row, kind, box, score = [], [], [], []
        for at, told in enumerate(told_of(torch.from_numpy(np.ascontiguousarray(output)), least=0.05)):
            for one in told:
                row.append(at)
                kind.append(CLASSES.index(one["class"]))
                box.append(one["box"])
                score.append(one["score"])
        return BoxesOfRows(
            row=np.asarray(row, dtype=int), kind=np.asarray(kind, dtype=int), box=np.asarray(box).reshape(-1, 4),
            score=np.asarray(score),
        )  # fmt: skip

    def wanted(self, y: np.ndarray[Any, Any]) -> BoxesOfRows:
        row, place = np.nonzero(y[..., 0] >= 0)
        held = y[row, place].astype(np.float64)
        return BoxesOfRows(row=row, kind=held[:, 0].astype(int), box=held[:, 1:], score=np.ones(len(row)))


def told_of(output: torch.Tensor, least: float) -> list[list[dict[str, Any]]]:
    """The boxes of each row whose score is at least so high, surest first, each shape once."""
    boxes, scores = boxes_of(output), output[..., 0].sigmoid()
    found = []
    for row in range(len(output)):
        kept: list[dict[str, Any]] = []
        for cell in scores[row].argsort(descending=True, stable=True).tolist():
            score, box = float(scores[row, cell]), boxes[row, cell].numpy().astype(np.float64)
            if score < least or len(kept) == MOST:
                break
            if not kept or overlaps(box, np.asarray([one["box"] for one in kept])).max() < SAME:
                kind = CLASSES[int(output[row, cell, 5:].argmax())]
                kept.append({"class": kind, "score": score, "box": box.tolist()})
        found.append(kept)
    return found


class Shapes(Objective):
    """What is learnt: a set of boxes, (M, 5) numbers a row: class, left, top, right, bottom; class -1 fills up."""

    name = "shapes"
    badness_unit = "shapes missed or made up"

    def loss(self, output: torch.Tensor, target: torch.Tensor, *, label_smoothing: float) -> torch.Tensor:  # noqa: ARG002
        row, place = (target[..., 0] >= 0).nonzero(as_tuple=True)
        wanted = target[row, place]
        middle = ((wanted[:, 1:3] + wanted[:, 3:5]) / 2 / CELL).long().clamp(0, GRID - 1)
        cell = middle[:, 1] * GRID + middle[:, 0]
        there = torch.zeros_like(output[..., 0])
        there[row, cell] = 1.0
        is_there = functional.binary_cross_entropy_with_logits(output[..., 0], there, reduction="sum")
        where = functional.smooth_l1_loss(boxes_of(output)[row, cell], wanted[:, 1:], reduction="sum")
        which = functional.cross_entropy(output[row, cell, 5:], wanted[:, 0].long(), reduction="sum")
        return (is_there + 0.5 * where + which) / len(output)

    def metrics(self, class_names: tuple[str, ...]) -> Sequence[ShapesFound]:  # noqa: ARG002
        return [ShapesFound()]

    def output_shapes(self, class_names: tuple[str, ...]) -> frozenset[tuple[int, ...]]:  # noqa: ARG002
        return frozenset({(GRID * GRID, 5 + len(CLASSES))})

    def answers(self, output: torch.Tensor, class_names: tuple[str, ...]) -> list[dict[str, Any]]:  # noqa: ARG002
        return [{"shapes": told} for told in told_of(output, least=SURE)]

    def answer_schema(self, class_names: tuple[str, ...]) -> dict[str, Any]:  # noqa: ARG002
        numbers = {"type": "array", "items": {"type": "number"}}
        fields = {"class": {"type": "string"}, "score": {"type": "number"}, "box": numbers}
        return {"shapes": {"type": "array", "items": {"type": "object", "properties": fields}}}

    def refusal(self, target: Any, class_names: tuple[str, ...]) -> str:  # noqa: ARG002
        return "" if np.shape(target) == (MOST, 5) else f"got {target!r}, expected {MOST} rows of 5 numbers"

    def made_up_target(self, at: int, class_names: tuple[str, ...]) -> Any:  # noqa: ARG002
        return ((at % 2, 4.0, 4.0, 12.0, 12.0), *[(-1.0, 0.0, 0.0, 0.0, 0.0)] * (MOST - 1))

    def wanted(self, y: np.ndarray[Any, Any], class_names: tuple[str, ...]) -> list[str]:  # noqa: ARG002
        return [", ".join(CLASSES[int(one[0])] for one in row if one[0] >= 0) for row in y]

    def said(self, rows: Any, class_names: tuple[str, ...]) -> list[str]:  # noqa: ARG002
        told = told_of(torch.from_numpy(np.ascontiguousarray(rows.output)), least=SURE)
        return [", ".join(one["class"] for one in row) for row in told]

    def badness(self, rows: Any) -> np.ndarray[Any, Any]:
        told = told_of(torch.from_numpy(np.ascontiguousarray(rows.output)), least=SURE)
        wanted = (rows.y[..., 0] >= 0).sum(axis=1)
        return np.asarray(np.abs(np.asarray([len(one) for one in told], dtype=np.float64) - wanted))

    def pictures(self, rows: Any, class_names: tuple[str, ...]) -> dict[str, bytes]:  # noqa: ARG002
        return {}

    def comparison_pictures(self, a: Any, b: Any) -> dict[str, bytes]:  # noqa: ARG002
        return {}


class Detector(SchemaWorkload):
    """Reads, prepares and answers as the pipeline file says; network and objective are its own."""

    task = Shapes

    def target(self, label: Any) -> Any:
        """Of `bar 3 4 12 15; disc ...`, as labels.csv has it. A ``ValueError`` sets the row aside."""
        boxes = []
        for one in str(label).split(";"):
            kind, *sides = one.split()
            boxes.append((float(CLASSES.index(kind)), *map(float, sides)))
        if len(boxes) > MOST or any(len(box) != 5 for box in boxes):
            raise ValueError(f"got {label!r}, expected at most {MOST} times: class left top right bottom")
        return (*boxes, *[(-1.0, 0.0, 0.0, 0.0, 0.0)] * (MOST - len(boxes)))

    def build_network(self, inputs: Sequence[NetworkInput], outputs: int) -> nn.Module:  # noqa: ARG002
        return ShapeNetwork()

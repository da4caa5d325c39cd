"""The workload: the Python side of a pipeline.

A user's own model is a subclass named in the pipeline file as ``package.module:Class``. Everything the road
knows of a task comes from here; nothing outside may assume a class label.

Shape legend: B rows, C classes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:  # a command that only reads the ledger does not wait for torch
    import torch
    from torch import nn

Task = Literal["classification", "regression", "multi_label", "ranking"]
Target = int | float | tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class RawObject:
    """One object of a snapshot, as a workload sees it."""

    key: str  # below the source prefix
    size_bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Record:
    """One row of a dataset."""

    id: str  # stable over deliveries
    x: np.ndarray[Any, Any]  # shape and dtype of `InputSpec`
    y: Target  # class index; number; 0 or 1 per label; relevance
    group: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)  # for slices
    content_sha256: str = ""  # of the raw input, to find duplicates


@dataclass(frozen=True, kw_only=True)
class Reject:
    """A raw record that cannot be used."""

    where: str  # file or file:row
    code: str  # a short stable word, e.g. `truncated_image`
    reason: str  # got / expected


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """What the exported program takes, without the batch dimension; enough to serve without user code."""

    kind: Literal["image", "tensor", "table"]
    shape: tuple[int, ...]  # e.g. (1, 8, 8)
    dtype: Literal["float32", "int64", "uint8"]
    columns: tuple[str, ...] = ()  # for `table`: one name per value
    value_range: tuple[float, float] | None = None  # refuse values outside


def target_names(target: Target, class_names: tuple[str, ...]) -> tuple[str, ...]:
    """The class of a row, the labels that it has, or nothing where there are no names."""
    if isinstance(target, tuple):
        return tuple(name for name, on in zip(class_names, target, strict=True) if on)
    return (class_names[int(target)],) if class_names else ()


class Workload(ABC):
    """Model, loss, preprocessing and the meaning of the output.

    The module returned by `build_model` takes one tensor of shape (B, *input_spec().shape) and gives logits
    (B, C) for classification and multi-label, (B,) or (B, 1) for regression and the score of a ranking. Normalisation
    belongs inside the module, so that the exported program takes what a client has. The records of a ranking name their
    query in `columns["@group"]`, and as their `group`, so that a query stays on one side of the split.
    """

    task: Task

    @abstractmethod
    def input_spec(self) -> InputSpec:
        """Shape and type of one row."""

    @abstractmethod
    def class_names(self) -> tuple[str, ...]:
        """Names by class or label index; empty for regression and ranking."""

    @abstractmethod
    def records(
        self, objects: list[RawObject], fetch: Callable[[RawObject], bytes], source: Mapping[str, Any]
    ) -> Iterator[Record | Reject]:
        """Read the objects of a snapshot. `source` is the pipeline's `SourceConfig` as a mapping.

        `fetch` returns the verified bytes of an object and may be called from several threads.
        """

    @abstractmethod
    def build_model(self) -> nn.Module:
        """A fresh module; the caller has seeded torch."""

    def augment(self, x: np.ndarray[Any, Any], rng: np.random.Generator) -> np.ndarray[Any, Any]:  # noqa: ARG002
        """Random changes to training rows (B, *shape), drawn from `rng` alone: it depends on seed, step and shard,
        so that a resume draws the same. Override it; this one changes nothing."""
        return x

    def loss(self, output: torch.Tensor, target: torch.Tensor, *, label_smoothing: float) -> torch.Tensor:
        """Mean loss over the rows (scalar). The target of a ranking is (B, 2): relevance, number of the query."""
        from mlratchet.models.objectives.ranking import listwise
        from torch.nn import functional

        if self.task == "classification":
            return functional.cross_entropy(output, target, label_smoothing=label_smoothing)
        if self.task == "multi_label":
            smoothed = target * (1 - label_smoothing) + 0.5 * label_smoothing
            return functional.binary_cross_entropy_with_logits(output, smoothed)
        if self.task == "ranking":
            return listwise(output, target)
        return functional.mse_loss(output.reshape(target.shape), target)

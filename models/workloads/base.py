"""The workload: the Python side of a pipeline.

A user's own model is a subclass named in the pipeline file as ``package.module:Class``. Everything the road
knows of a task comes from here; nothing outside may assume a class label.

Shape legend: B rows, C classes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from mlratchet.models.objectives.base import Task
from mlratchet.models.sources.record import InputSpec, RawObject, Record, Reject

if TYPE_CHECKING:  # a command that only reads the ledger does not wait for torch
    import torch
    from torch import nn


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

    def identity_columns(
        self,
        objects: list[RawObject],  # noqa: ARG002 - a table's to read
        fetch: Callable[[RawObject], bytes],  # noqa: ARG002
        source: Mapping[str, Any],  # noqa: ARG002
    ) -> tuple[str, ...]:
        """Columns of a delivery whose raw cells say who a row is: all but label and id; none of what is no row.

        Asked once, of a pipeline's first delivery; `records` then finds them as `source["identity_columns"]`.
        """
        return ()

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

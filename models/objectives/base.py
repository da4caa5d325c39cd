"""What a task is: its loss, its metrics, and what its outputs say to a client and to a person.

A user's own objective is a subclass, named by its workload: ``task = Counts`` (docs/examples/counts). What is not
overridden is that of one number per row, as in a regression. Nothing outside this folder asks which task it has.

Shape legend: B rows of a batch, N rows, C classes or labels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.metrics.base import Metric, take
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.objectives.answers import regression as of_numbers
from mlratchet.models.objectives.logged import LoggedNumbers
from mlratchet.models.sources.record import Target

if TYPE_CHECKING:  # gates judge without torch, and without matplotlib
    import torch

Array = np.ndarray[Any, Any]
Loss = Callable[["torch.Tensor", "torch.Tensor"], "torch.Tensor"]  # (output, target) -> mean over the rows, a scalar


class Objective(ABC):
    """One task. It has no state: the class alone is stored, by its `reference`."""

    name: str
    """As errors and pages call it."""
    class_loss: str = ""
    """The one of `named_losses` that takes class weights; empty where the target is no class or label. With it,
    `train.class_weights` and `train.label_smoothing` can be set."""
    by_query: bool = False
    """Rows of one query (`columns["@group"]`) meet in one loss: a step draws whole queries, and the target of the loss
    is (B, 2): relevance, number of the query."""
    has_accuracy: bool = False
    """`correct` counts rows that are answered right, and the training shows their share."""
    target_on_a_scale: bool = False
    """The output is a number in the unit of the target: a table then learns it on a scale of its own."""
    linear_model: str = ""
    """What a linear model of the same rows learns, to be ahead of: `classes`, `labels` or `number`; empty: there is
    none."""
    badness_unit: str = "error"
    """Unit of `badness`."""
    logged: LoggedNumbers = LoggedNumbers()
    """What monitoring makes of the answers and labels in the inference log."""
    unfit_perturbations: Mapping[str, str] = {}
    """Kinds of perturbation after which a row no longer has its target, each with the reason: a robustness check that
    declares one is refused."""
    files: ClassVar[tuple[str, ...]] = ()
    """Files that its code opens, relative to its module: whoever changes one changes what it decides."""

    @property
    def reference(self) -> str:
        """What stored records call it: the name of a built-in one, ``package.module:Class`` of a user's own."""
        kind = type(self)
        built_in = kind.__module__.startswith(f"{__package__}.")
        return self.name if built_in else f"{kind.__module__}:{kind.__qualname__}"

    @abstractmethod
    def loss(self, output: torch.Tensor, target: torch.Tensor, *, label_smoothing: float) -> torch.Tensor:
        """Mean loss over the rows, a scalar: ``train.loss: task``. A sum over rows divided by their number, so that
        shards add up."""

    @abstractmethod
    def metrics(self, class_names: tuple[str, ...]) -> Sequence[Metric]:
        """Every metric; the first is the main one of a comparison."""

    def metrics_over(self, class_names: tuple[str, ...]) -> Sequence[Metric]:
        """Over some of the classes or labels that a model knows, as two models with different classes share them."""
        return self.metrics(class_names)

    @abstractmethod
    def answers(self, output: torch.Tensor, class_names: tuple[str, ...]) -> list[dict[str, Any]]:
        """What a client reads of the model's outputs, (B, C) logits or (B,) values: a JSON object per row."""

    @abstractmethod
    def answer_schema(self, class_names: tuple[str, ...]) -> dict[str, Any]:
        """The JSON schema of each field of an answer."""

    def output_shapes(self, class_names: tuple[str, ...]) -> frozenset[tuple[int, ...]]:
        """What the model may give per row: () is one number."""
        return frozenset({(len(class_names),)} if class_names else {(), (1,)})

    def named_losses(self, *, weight: torch.Tensor | None, label_smoothing: float) -> Mapping[str, Loss]:  # noqa: ARG002
        """What `train.loss` can name beside `task`. `weight`: (C,), for `class_loss` alone."""
        return {}

    def balanced_weights(self, y: Array, count: int) -> Array:  # noqa: ARG002
        """(C,) float32, the weights that make `count` classes or labels count alike over the targets `y`."""
        raise ConfigurationError(f"train.class_weights: a {self.name} has no classes; remove it")

    def refusal(self, target: Target, class_names: tuple[str, ...]) -> str:  # noqa: ARG002
        """Why a row cannot be learnt from, as got / expected; empty when it can."""
        return of_numbers.refusal(target)

    def made_up_target(self, at: int, class_names: tuple[str, ...]) -> Target | None:  # noqa: ARG002
        """The target of row `at` of a rehearsal; None: a class, labels or a number are tried."""
        return None

    def correct(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Rows that are answered right (a scalar). Asked where `has_accuracy`."""
        raise NotImplementedError

    def explained(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
        """(B,) the quantity whose attributions are shown: what the model says of each row, of several numbers their
        sum."""
        return output.reshape(len(output), -1).sum(dim=1)

    def numbers(self, output: Array) -> Array:
        """(N,) outputs in the target's unit, for what is said, drawn and off. Where the target is one number."""
        return output

    def wanted(self, y: Array, class_names: tuple[str, ...]) -> list[str]:  # noqa: ARG002
        """Targets as a person reads them, a text per row."""
        return of_numbers.texts(y)

    def said(self, rows: RowOutputs, class_names: tuple[str, ...]) -> list[str]:  # noqa: ARG002
        """Outputs as a person reads them, a text per row."""
        return of_numbers.texts(self.numbers(rows.output))

    def samples(self, rows: RowOutputs, class_names: tuple[str, ...], count: int = 8) -> list[list[str]]:
        """[id, target, output] of the first rows as a person reads them."""
        first = take(rows, slice(0, count))
        return [
            list(one)
            for one in zip(first.ids, self.wanted(first.y, class_names), self.said(first, class_names), strict=True)
        ]

    def badness(self, rows: RowOutputs) -> Array:
        """(N,) how far each row is from its target, in `badness_unit`; 0 is right."""
        return of_numbers.absolute_errors(replace(rows, output=self.numbers(rows.output)))

    def differ(self, a: RowOutputs, b: RowOutputs) -> Array:
        """(N,) bool: rows on which two models give different answers."""
        return np.asarray(self.badness(a) != self.badness(b))

    def pictures(self, rows: RowOutputs, class_names: tuple[str, ...]) -> dict[str, bytes]:  # noqa: ARG002
        """File name -> PNG: what a person looks for after an evaluation."""
        from mlratchet.models.objectives.pictures import regression

        return {"residuals.png": regression.residuals(replace(rows, output=self.numbers(rows.output)))}

    def comparison_pictures(self, a: RowOutputs, b: RowOutputs) -> dict[str, bytes]:
        """Caption -> PNG of two models on the same rows."""
        from mlratchet.models.objectives.pictures import regression

        shown = [replace(rows, output=self.numbers(rows.output)) for rows in (a, b)]
        return {"Errors": regression.errors_of_both(*shown)}


Task = str | type[Objective]
"""What a workload calls its objective: a built-in name, ``package.module:Class``, or the class itself."""

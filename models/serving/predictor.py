"""A loaded version: rows in, predictions out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from mlratchet.models.artifact.signature import Signature
from mlratchet.models.objectives.base import Objective
from mlratchet.models.objectives.naming import objective_of
from mlratchet.models.schema.fields import Schema
from mlratchet.models.tensors.batch import Model, batch_of
from mlratchet.models.tensors.named import Inputs
from mlratchet.models.workloads.examples import ExamplePreparer

DECODED = ("image", "audio")  # kinds of fields


class NoFiniteAnswerError(ValueError):
    """The model's output for row `row` of a request is NaN or infinity."""

    def __init__(self, version: int, row: int) -> None:
        super().__init__(f"version {version} answered NaN or infinity")
        self.row = row


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """Of N rows: the model's output, (N, ...) float32, and what a client reads of it."""

    output: np.ndarray[Any, Any]
    predictions: list[dict[str, Any]]

    def part(self, rows: slice) -> Answers:
        """Of some of the rows."""
        return Answers(self.output[rows], self.predictions[rows])


@dataclass(eq=False)
class CompiledForward:
    """What answers in place of a program, as soon as it is there: one assignment, which no request sees half of."""

    ready: Model | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictor:
    """One version of one model. Called from one thread at a time."""

    version: int
    generation: int
    signature: Signature
    model: Model
    objective: Objective | None = None  # None: the one that the signature names
    answer_schema: Mapping[str, Any] | None = None  # None: the objective is asked
    compiled: CompiledForward | None = None  # None: nobody asked for one
    preparer: ExamplePreparer | None = None  # None: what it takes to prepare examples stands in the signature

    @cached_property
    def prepares_together(self) -> bool:
        """Whether examples of several requests are prepared as one table: not where each is decoded for itself."""
        example = self.signature.input.example
        fields = Schema.model_validate_json(example.schema).inputs if example is not None else {}
        return bool(fields) and not any(field.kind in DECODED for field in fields.values())

    def predict(self, rows: Inputs, *, first: int = 0) -> list[dict[str, Any]]:
        """A prediction per row, as the objective answers; else as `answer`."""
        return self.answer(rows, first=first).predictions

    def answer(self, rows: Inputs, *, first: int = 0) -> Answers:
        """Output and prediction of each row. `first`: the number of the first row in its request.

        Raises ``NoFiniteAnswerError`` for non-finite outputs, ``RuntimeError`` for another number of rows than asked.
        """
        with torch.inference_mode():
            faster = self.compiled.ready if self.compiled is not None else None
            output = (faster or self.model)(batch_of(rows)).float()
            if len(output) != len(rows):
                raise RuntimeError(f"expected {len(rows)} predictions, got {len(output)}")
            values = output.numpy()
            finite = np.isfinite(values)
            if not finite.all():
                wrong = ~finite.reshape(len(rows), -1).all(axis=1)
                raise NoFiniteAnswerError(self.version, first + int(wrong.nonzero()[0][0]))
            return Answers(values, predictions_of(output, self.signature, self.objective))

    def warm_up(self) -> None:
        """One forward of one row and one of two, so that the first client does not wait."""
        for count in (1, 2):
            self.predict(Inputs.blank(self.signature.tensors, count))


def predictions_of(
    output: torch.Tensor, signature: Signature, objective: Objective | None = None
) -> list[dict[str, Any]]:
    """What a client reads of the model's outputs, (N, C) logits or (N,) values: an object per row."""
    return (objective or objective_of(signature.task)).answers(output, signature.classes)

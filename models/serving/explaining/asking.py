"""What is asked of a model when an answer is explained: one number per row, the same for every variant."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mlratchet.models.artifact.signature import Signature
from mlratchet.models.objectives.base import Objective
from mlratchet.models.objectives.naming import objective_of
from mlratchet.models.objectives.regression import Regression
from mlratchet.models.serving.predictor import Predictor
from mlratchet.models.tensors.batch import batch_of
from mlratchet.models.tensors.named import Inputs

Array = np.ndarray[Any, Any]
BATCH_ROWS = 16  # of variants: between two batches it is asked whether the answer is still wanted


class UnwantedError(Exception):
    """Nobody waits for the explanation any more."""


@dataclass(frozen=True, eq=False)
class Question:
    """Of one example and one answer of a version."""

    predictor: Predictor
    objective: Objective
    target: Array  # (), what the answer says
    quantity: str  # in words
    wanted: Callable[[], bool]

    def of(self, rows: Inputs) -> Array:
        """(N,) the quantity for each row. Raises ``UnwantedError``."""
        found = []
        for at in range(0, len(rows), BATCH_ROWS):
            if not self.wanted():
                raise UnwantedError
            part = rows.rows(slice(at, at + BATCH_ROWS))
            targets = torch.from_numpy(np.stack([self.target] * len(part)))
            with torch.inference_mode():
                found.append(self.objective.explained(self.predictor.model(batch_of(part)).float(), targets).numpy())
        return np.concatenate(found)

    def lost(self, whole: Inputs, without: Sequence[Inputs]) -> list[float]:
        """By how much the quantity falls in each variant of the one row `whole`."""
        if not without:
            return []
        (full,) = self.of(whole)
        return [float(full - one) for one in self.of(Inputs.concat(list(without)))]


def question_of(predictor: Predictor, answer: dict[str, Any], wanted: Callable[[], bool]) -> Question:
    """About the answer that was given: how likely the class or labels are, or the number itself."""
    signature = predictor.signature
    if ":" in signature.task:  # a user's own objective answers in a child, where no output of a variant is sent
        return Question(predictor, Regression(), np.zeros((), np.float32), "the sum of the model's output", wanted)
    objective = objective_of(signature.task)
    target, quantity = _target(answer, signature)
    return Question(predictor, objective, target, quantity, wanted)


def _target(answer: dict[str, Any], signature: Signature) -> tuple[Array, str]:
    if "class" in answer:
        name = str(answer["class"])
        return np.asarray(signature.classes.index(name)), f"log-likelihood of {name!r}"
    if "labels" in answer:
        on = np.asarray([float(name in answer["labels"]) for name in signature.classes], np.float32)
        return on, "log-likelihood of the labels"
    return np.zeros((), np.float32), f"the {next(iter(answer), 'answer')}"

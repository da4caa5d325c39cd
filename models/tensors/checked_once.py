"""Ask an exported program without what torch looks at before each forward, once it has looked at these shapes."""

from __future__ import annotations

from typing import Any

import torch
from mlratchet.models.tensors.batch import ByName, Model
from torch import nn

MOST_SHAPES = 4096  # that are remembered: a ragged tensor has many


class CheckedOnce:
    """A program's module. torch holds shapes and types against what the program was exported for, by Python that
    takes several times as long as a small forward; they decide it alone, so that the answer is known for those that
    passed."""

    def __init__(self, module: nn.Module) -> None:
        self.module, self._forward = module, module.forward
        self._passed: set[Any] = set()

    def __call__(self, *tensors: torch.Tensor, **named: torch.Tensor) -> torch.Tensor:
        """Raises what torch raises for shapes that the program does not take."""
        shapes: tuple[Any, ...] = tuple((one.shape, one.dtype) for one in tensors)
        shapes += tuple((at, one.shape, one.dtype) for at, one in named.items())
        if shapes in self._passed:
            answer: torch.Tensor = self._forward(*tensors, **named)
            return answer
        answer = self.module(*tensors, **named)
        if len(self._passed) < MOST_SHAPES:
            self._passed.add(shapes)
        return answer


def checked_once(model: Model) -> Model:
    """The same model. `model`: as `program_model` makes it."""
    if isinstance(model, ByName) and isinstance(model.module, nn.Module):
        return ByName(CheckedOnce(model.module), model.names)
    return CheckedOnce(model) if isinstance(model, nn.Module) else model

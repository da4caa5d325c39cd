"""Ask an exported program without what torch looks at before each forward, once it has looked at these shapes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from mlratchet.models.tensors.batch import ByName, Model
from mlratchet.models.tensors.straight import straight_forward
from torch import nn

MOST_SHAPES = 4096  # that are remembered: a ragged tensor has many


Shapes = tuple[Any, ...]


def shapes_of(*tensors: torch.Tensor, **named: torch.Tensor) -> Shapes:
    """Shapes and types of what a program is asked with: what it checks before a forward."""
    shapes: Shapes = tuple((one.shape, one.dtype) for one in tensors)
    return shapes + tuple((at, one.shape, one.dtype) for at, one in named.items())


def _lies_plainly(one: torch.Tensor) -> bool:
    return one.is_contiguous() and one.storage_offset() == 0


class CheckedOnce:
    """A program's module. torch holds shapes and types against what the program was exported for, by Python that
    takes several times as long as a small forward; they decide it alone, so that the answer is known for those that
    passed. Those are asked of the program as one function, where it is one, if they lie in one piece from the beginning
    of their memory, as what a batch is made of does: it goes through no guard."""

    def __init__(self, module: nn.Module) -> None:
        """`module`: its tensors are not replaced by others from now on."""
        self.module, self._forward = module, module.forward
        self._straight = straight_forward(module)
        self._passed: set[Any] = set()

    def passed(self, shapes: Shapes) -> bool:
        """Whether the program has taken these. `shapes`: as `shapes_of` gives them."""
        return shapes in self._passed

    def __call__(self, *tensors: torch.Tensor, **named: torch.Tensor) -> torch.Tensor:
        """Raises what torch raises for shapes that the program does not take."""
        shapes = shapes_of(*tensors, **named)
        if self.passed(shapes):
            straight = self._straight
            if straight is not None and all(map(_lies_plainly, (*tensors, *named.values()))):
                return straight(*tensors, **named)
            answer: torch.Tensor = self._forward(*tensors, **named)
            return answer
        answer = self.module(*tensors, **named)
        if len(self._passed) < MOST_SHAPES:
            self._passed.add(shapes)
        return answer


class CompiledOfChecked:
    """Machine code beside the program that it was compiled from. It looks at no shape and at no stride, and reads past
    the end of a tensor of others than it was compiled for: it is asked with shapes alone that the program has taken,
    of tensors that lie in one piece."""

    def __init__(self, compiled: Callable[..., torch.Tensor], program: CheckedOnce) -> None:
        self._compiled, self._program = compiled, program

    def __call__(self, *tensors: torch.Tensor, **named: torch.Tensor) -> torch.Tensor:
        """Raises what torch raises for shapes that the program does not take."""
        if self._program.passed(shapes_of(*tensors, **named)):
            return self._compiled(
                *(one.contiguous() for one in tensors), **{name: one.contiguous() for name, one in named.items()}
            )
        return self._program(*tensors, **named)


def compiled_of(compiled: Callable[..., torch.Tensor], program: Model) -> Model:
    """`compiled`, asked as the program is only with shapes that it has taken. `program`: as `checked_once` makes it.

    Raises ``TypeError`` for another: nothing would hold shapes against it.
    """
    module = program.module if isinstance(program, ByName) else program
    if not isinstance(module, CheckedOnce):
        raise TypeError(f"machine code needs the exported program beside it, checked once; got {type(module).__name__}")
    guarded = CompiledOfChecked(compiled, module)
    return ByName(guarded, program.names) if isinstance(program, ByName) else guarded


def checked_once(model: Model) -> Model:
    """The same model. `model`: as `program_model` makes it."""
    if isinstance(model, ByName) and isinstance(model.module, nn.Module):
        return ByName(CheckedOnce(model.module), model.names)
    return CheckedOnce(model) if isinstance(model, nn.Module) else model

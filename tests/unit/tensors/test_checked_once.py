"""What torch looked at once it need not look at again; what it did not, it does."""

from __future__ import annotations

import pytest
import torch
from mlratchet.models.tensors.batch import Batch, export_program, program_model
from mlratchet.models.tensors.checked_once import MOST_SHAPES, CheckedOnce, checked_once, compiled_of
from mlratchet.models.tensors.spec import TensorSpec
from torch import nn


class Two(nn.Module):
    def forward(self, words: torch.Tensor, price: torch.Tensor) -> torch.Tensor:
        return words.float().sum(1) + price.sum(1)


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x).sum(1)


def batch_of_words(rows: int, length: int) -> Batch:
    return {"words": torch.ones(rows, length, dtype=torch.int64), "price": torch.ones(rows, 2)}


WORDS = (
    TensorSpec(name="words", shape=(), dtype="int64", ragged=True),
    TensorSpec(name="price", shape=(2,), dtype="float32"),
)
ONE = (TensorSpec(name="x", shape=(3,), dtype="float32"),)


@pytest.mark.parametrize("named", [True, False])
def test_answers_are_the_same_whether_the_shape_is_new_or_known(named: bool) -> None:
    specs = WORDS if named else ONE
    first: Batch = batch_of_words(3, 4) if named else torch.rand(3, 3)
    plain = program_model(export_program(Two() if named else Plain(), first, specs))
    quick = checked_once(plain)
    for rows in (1, 2, 5, 1, 2, 5):
        batch: Batch = batch_of_words(rows, 3 + rows) if named else torch.rand(rows, 3)
        with torch.inference_mode():
            assert torch.equal(quick(batch), plain(batch))


def test_what_the_program_does_not_take_is_refused_however_often_it_comes() -> None:
    quick = checked_once(program_model(export_program(Plain(), torch.rand(3, 3), ONE)))
    quick(torch.rand(2, 3))
    for _ in range(3):
        with pytest.raises((RuntimeError, AssertionError)):
            quick(torch.rand(2, 4))
        with pytest.raises((RuntimeError, AssertionError)):
            quick(torch.rand(2, 3).to(torch.float64))


def test_a_known_shape_is_not_looked_at_again_and_not_all_are_remembered() -> None:
    module = Plain()
    looks: list[int] = []
    module.register_forward_pre_hook(lambda *_: looks.append(1))
    quick = CheckedOnce(module)
    for rows in (1, 2, 1, 2, 2):
        quick(torch.rand(rows, 3))
    assert len(looks) == 2
    quick._passed.update((at,) for at in range(MOST_SHAPES))
    for _ in range(2):
        quick(torch.rand(7, 3))
    assert len(looks) == 4


@pytest.mark.parametrize("named", [True, False])
def test_machine_code_is_asked_only_with_shapes_that_the_program_has_taken(named: bool) -> None:
    first: Batch = batch_of_words(3, 4) if named else torch.rand(3, 3)
    program = checked_once(program_model(export_program(Two() if named else Plain(), first, WORDS if named else ONE)))
    asked: list[int] = []

    def machine_code(*tensors: torch.Tensor, **by_name: torch.Tensor) -> torch.Tensor:
        asked.append(len(next(iter([*tensors, *by_name.values()]))))
        return torch.zeros(1)

    compiled = compiled_of(machine_code, program)
    for rows in (2, 5, 2, 5):
        compiled(batch_of_words(rows, 4) if named else torch.rand(rows, 3))
    assert asked == [2, 5]
    wrong: Batch = batch_of_words(2, 4) | {"price": torch.ones(2, 9)} if named else torch.rand(2, 9)
    for _ in range(3):
        with pytest.raises((RuntimeError, AssertionError)):
            compiled(wrong)
    assert asked == [2, 5]


def test_machine_code_is_given_tensors_that_lie_as_it_was_compiled_for() -> None:
    """It walks over memory by the strides of its example: rows that are one row again would be read past its end."""
    program, lay = checked_once(program_model(export_program(Plain(), torch.rand(3, 3), ONE))), []

    def machine_code(x: torch.Tensor) -> torch.Tensor:
        lay.append((x.stride(), x.untyped_storage().nbytes()))
        return x.sum(1)

    compiled = compiled_of(machine_code, program)
    compiled(torch.rand(2, 3))
    for odd in (
        torch.rand(1, 3).expand(2, 3),
        torch.rand(3, 2).T,
        torch.rand(2, 6)[:, ::2],
        torch.rand(3).expand(2, 3),
    ):
        assert torch.equal(compiled(odd), odd.sum(1))
    assert lay == [((3, 1), 24)] * 4


def test_machine_code_without_a_program_that_holds_shapes_is_refused() -> None:
    with pytest.raises(TypeError, match="needs the exported program"):
        compiled_of(lambda x: x, Plain())

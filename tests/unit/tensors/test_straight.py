"""A program asked as one function: the same bits as torch gives, and nothing that protects is gone."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from mlratchet.models.tensors.batch import Batch, ByName, export_program, program_model
from mlratchet.models.tensors.checked_once import CheckedOnce, checked_once
from mlratchet.models.tensors.spec import TensorSpec
from mlratchet.models.tensors.straight import straight_forward
from torch import nn

from tests.unit.tensors.test_checked_once import WORDS, Two, batch_of_words

ONE = (TensorSpec(name="x", shape=(3, 8, 8), dtype="float32"),)


class Pictures(nn.Module):
    """Weights, buffers, constants, lists, sizes that are computed, a value that is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.head = nn.Linear(8, 2)
        self.register_buffer("scale", torch.tensor([0.5, 2.0]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        seen = self.norm(self.convolution(x)).relu()
        both = torch.cat([seen.mean((2, 3)), seen.amax((2, 3))], dim=1)
        shared = both.view(x.shape[0] * 2, -1).reshape(x.shape[0], both.shape[1])
        return self.head(nn.functional.dropout(shared, 0.5, self.training)) * self.scale + both[:, :2] + 1.5


class Doubtful(nn.Module):
    """Looks at what it is given, not at its shape alone."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        count = x.flatten()[0].long().item()
        torch._check(count >= 0)
        torch._check(count < 3)
        return x.sum((1, 2, 3)) + count


class Chosen(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cond(x.sum() > 0, lambda one: one.sum((1, 2, 3)), lambda one: one.amax((1, 2, 3)), (x,))


def program_of(module: nn.Module) -> Any:
    torch.manual_seed(0)
    return program_model(export_program(module.eval(), torch.rand(3, 3, 8, 8), ONE))


@pytest.mark.parametrize("make", [Pictures, Doubtful])
@pytest.mark.parametrize("rows", [1, 2, 7])
def test_the_answers_have_the_same_bits(make: Callable[[], nn.Module], rows: int) -> None:
    plain = program_of(make())
    straight, drawn = straight_forward(plain), torch.rand(rows, 3, 8, 8)
    assert straight is not None
    for asked in (drawn, drawn * 2):
        with torch.inference_mode():
            assert torch.equal(straight(asked), plain(asked))


def test_a_program_that_gives_back_what_it_is_given_is_asked_too() -> None:
    straight, asked = straight_forward(program_of(nn.Identity())), torch.rand(2, 3, 8, 8)
    assert straight is not None
    assert torch.equal(straight(asked), asked)


def test_tensors_by_name_are_given_by_their_names_in_whatever_order() -> None:
    plain = program_model(export_program(Two(), batch_of_words(3, 4), WORDS))
    assert isinstance(plain, ByName)
    straight, asked = straight_forward(plain.module), batch_of_words(5, 2)  # type: ignore[arg-type]
    assert straight is not None
    assert isinstance(asked, dict)
    turned = dict(reversed([*asked.items()]))
    assert torch.equal(straight(**turned), plain(asked))


def test_what_a_program_checks_of_values_is_checked_of_every_request() -> None:
    quick = checked_once(program_of(Doubtful()))
    good, wrong = torch.rand(2, 3, 8, 8), torch.full((2, 3, 8, 8), 7.0)
    for _ in range(3):
        quick(good)
        with pytest.raises(RuntimeError):
            quick(wrong)


@pytest.mark.parametrize("module", [Chosen(), nn.Linear(2, 2)])
def test_a_program_that_chooses_and_a_module_that_is_no_program_are_asked_as_torch_asks_them(module: nn.Module) -> None:
    assert straight_forward(program_of(module) if isinstance(module, Chosen) else module) is None


def test_rows_that_lie_in_another_way_go_through_the_guards() -> None:
    plain = program_of(Pictures())
    quick = CheckedOnce(plain)
    seen: list[int] = []
    plain._guards_fn.register_forward_hook(lambda *_: seen.append(1))
    drawn = torch.rand(2, 3, 8, 8)
    quick(drawn)
    assert (len(seen), quick.passed(((drawn.shape, drawn.dtype),))) == (1, True)
    quick(drawn)
    assert len(seen) == 1
    for odd in (torch.rand(2, 8, 8, 3).permute(0, 3, 1, 2), torch.rand(3, 3, 8, 8)[1:]):
        asked: Batch = odd
        assert torch.equal(quick(asked), plain.forward(odd))
    assert len(seen) == 5


def test_no_word_of_a_program_is_in_what_is_run() -> None:
    plain = program_of(Pictures())
    straight = straight_forward(plain)
    assert straight is not None
    words = {*re.findall(r"\w+", straight.text)}
    named = {word for node in plain.graph.nodes for word in re.findall(r"\w+", f"{node.name} {node.target}")}
    assert named & words <= {"keepdim", "dim"}
    assert {word for word in words if not re.fullmatch(r"[ikv]?[0-9]+|def|forward|return|None|keepdim", word)} == set()

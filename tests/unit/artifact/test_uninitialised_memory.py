"""Programs that ask for memory and fill it are served as they were; what others left in it is in no answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mlratchet.infra.artifact.exported import load_program
from mlratchet.models.artifact.files import PROGRAM
from mlratchet.models.tensors.program_archive import as_stored, read_program
from torch import nn

Forward = Callable[[torch.Tensor], torch.Tensor]


class Of(nn.Module):
    """A module of one function."""

    def __init__(self, forward: Forward) -> None:
        super().__init__()
        self._of = forward

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._of(x)


def filled(x: torch.Tensor) -> torch.Tensor:
    out = x.new_empty(x.shape[0], x.shape[1] * 2)
    out[:, 0::2], out[:, 1::2] = x.sin(), x.cos()
    return out


def sized(x: torch.Tensor) -> torch.Tensor:
    return torch.empty(x.shape[0], 3, memory_format=torch.contiguous_format).fill_(2.0) + x[:, :3]


def branched(x: torch.Tensor) -> torch.Tensor:
    found: torch.Tensor = torch.cond(x.sum() > 0, lambda y: torch.empty_like(y) * 0 + y, lambda y: y - 1, (x,))
    return found


FILLED: dict[str, Forward] = {
    "new_empty": filled, "empty": sized, "empty_like": lambda x: torch.empty_like(x).copy_(x), "branch": branched,
}  # fmt: skip
LEFT: dict[str, Forward] = {
    "new_empty": lambda x: x.new_empty(x.shape[0], 4096), "empty_like": lambda x: torch.empty_like(x) * 1,
    "empty": lambda x: torch.empty(x.shape[0], 4096, dtype=torch.float64, memory_format=torch.contiguous_format) + 0,
    "half filled": lambda x: x.new_empty(x.shape[0], 4096).index_fill(1, torch.tensor([0]), 0.0),
}  # fmt: skip


def stored(directory: Path, forward: Forward) -> Path:
    program = torch.export.export(Of(forward).eval(), (torch.ones(4, 8),), dynamic_shapes=({0: torch.export.Dim.AUTO},))
    archive = directory / PROGRAM
    archive.parent.mkdir(parents=True, exist_ok=True)
    torch.export.save(program, archive)
    return archive


@pytest.mark.parametrize("how", FILLED)
def test_a_program_that_fills_what_it_asks_for_answers_as_its_model_does(tmp_path: Path, how: str) -> None:
    stored(tmp_path, FILLED[how])
    x = torch.randn(3, 8)
    assert torch.equal(load_program(tmp_path)(x), FILLED[how](x))


@pytest.mark.parametrize("how", LEFT)
def test_what_a_program_does_not_fill_is_zeros(tmp_path: Path, how: str) -> None:
    before = stored(tmp_path, LEFT[how]).read_bytes()
    del_me = [torch.full((3, 4096), 7.0) for _ in range(64)]  # what lies in the memory that is given next
    del del_me
    for model in (load_program(tmp_path), as_stored(read_program(tmp_path / PROGRAM)).module()):
        assert not model(torch.randn(3, 8)).any()
    assert (tmp_path / PROGRAM).read_bytes() == before


@pytest.mark.parametrize("how", FILLED)
def test_nothing_uninitialised_is_left_for_a_compiler(tmp_path: Path, how: str) -> None:
    program = read_program(stored(tmp_path, FILLED[how]))
    graphs = [one.graph for one in program.graph_module.modules() if isinstance(one, torch.fx.GraphModule)]
    called = [str(node.target) for graph in graphs for node in graph.nodes]
    assert any("zeros" in name for name in called)
    assert not any("empty" in name for name in called)
    assert program.run_decompositions() is not None

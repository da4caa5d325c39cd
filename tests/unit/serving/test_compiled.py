"""Programs compiled on this machine: built beside a program that serves, believed only as this home wrote them, gone
over to only where both answer alike."""

from __future__ import annotations

import stat
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from mlratchet.infra.artifact import compiling
from mlratchet.infra.artifact.compiling import PACKAGE, TRIED
from mlratchet.infra.artifact.exported import load_exported
from mlratchet.infra.serving import compiled
from mlratchet.infra.serving.compiled import CompiledPrograms
from mlratchet.models.ports.children import Workplace
from mlratchet.models.serving.config import ServingConfig
from mlratchet.models.serving.predictor import CompiledForward
from mlratchet.models.tensors.named import Inputs
from safetensors.numpy import save

from tests.unit.scoring.test_batch import artifact

from .conftest import TABLE, sum_of

__all__ = ["artifact"]
RECORD: Any = SimpleNamespace(name="m", version=3, manifest_digest="d" * 64)
ROWS = Inputs({"x": np.asarray([[1.0, 2.0]], np.float32)})


class Machine:
    """A home, a compiler that takes no time, and what it compiles to."""

    def __init__(self, home: Path, patch: pytest.MonkeyPatch) -> None:
        self.home, self.built = home, 0
        self.wait, self.said = threading.Event(), "done"
        self.wait.set()
        self.predictor = sum_of(3, TABLE)
        self.answer: Callable[[Any], torch.Tensor] = self.predictor.model
        self.config = ServingConfig(compile="aot")
        patch.setattr(compiling, "compile_away", self.compile)
        patch.setattr(compiled, "load_package", lambda _package, _program: self.answer)
        patch.setattr(compiled, "compiler", lambda: "true")

    def compile(self, _request: Mapping[str, Any], workplace: Workplace) -> str:
        self.built += 1
        assert self.wait.wait(60)
        (workplace.scratch / PACKAGE).write_bytes(b"machine code")
        (workplace.scratch / TRIED).write_bytes(save({"0:x": ROWS.array, "1:x": ROWS.array * 2}))
        return self.said

    def take_up(self, *, ends: bool = True) -> CompiledForward | None:
        """As a swap does; `ends`: once what it started has ended."""
        before = set(threading.enumerate())
        forward = CompiledPrograms(self.home, lambda _name: self.config).beside(RECORD, self.home, self.predictor.model)
        for one in set(threading.enumerate()) - before if ends else ():
            one.join(60)
        return forward

    @property
    def place(self) -> Path:
        (found,) = [one for one in (self.home / "compiled").iterdir() if one.is_dir()]
        return found


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def test_nothing_is_compiled_that_nobody_asks_for(machine: Machine) -> None:
    machine.config = ServingConfig()
    assert machine.take_up() is None
    assert (machine.built, list(machine.home.iterdir())) == (0, [])


def test_the_program_serves_until_the_compiled_one_is_there(machine: Machine) -> None:
    machine.wait.clear()
    machine.answer = lambda batch: machine.predictor.model(batch) + 1e-6
    forward = machine.take_up(ends=False)
    assert forward is not None
    predictor = sum_of(3, TABLE)
    object.__setattr__(predictor, "compiled", forward)
    first = predictor.answer(ROWS).output
    assert first.tolist() == [3.0]
    machine.wait.set()
    deadline = time.monotonic() + 120
    while forward.ready is None and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    assert predictor.answer(ROWS).output.tolist() != first.tolist()


def test_one_that_is_there_is_not_built_again(machine: Machine) -> None:
    assert machine.take_up().ready is machine.answer  # type: ignore[union-attr]
    assert machine.take_up().ready is machine.answer  # type: ignore[union-attr]
    assert machine.built == 1
    assert stat.S_IMODE((machine.home / "compiled").stat().st_mode) == 0o700
    assert stat.S_IMODE((machine.home / "compiled" / "key").stat().st_mode) == 0o600
    machine.config = ServingConfig(compile="aot", threads=2)  # which the machine code holds
    machine.take_up()
    assert machine.built == 2


@pytest.mark.parametrize("damage", [PACKAGE, TRIED, "code", "gone", "another key"])
def test_what_is_not_as_this_home_wrote_it_is_built_again(machine: Machine, damage: str) -> None:
    machine.take_up()
    if damage == "gone":
        (machine.place / PACKAGE).unlink()
    elif damage == "another key":
        (machine.home / "compiled" / "key").write_bytes(b"another")
    else:
        (machine.place / damage).write_bytes(b"planted")
    loaded: list[bytes] = []
    place = machine.place
    answer = machine.answer
    machine.answer = lambda batch: loaded.append((place / PACKAGE).read_bytes()) or answer(batch)  # type: ignore[func-returns-value]
    assert machine.take_up().ready is machine.answer  # type: ignore[union-attr]
    assert machine.built == 2
    assert set(loaded) == {b"machine code"}  # what was planted was never asked


def test_one_that_answers_otherwise_never_serves(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    machine.answer = lambda batch: machine.predictor.model(batch) + 0.01
    assert machine.take_up().ready is None  # type: ignore[union-attr]
    assert "more than 0.0001 apart" in caplog.text


def test_what_cannot_be_compiled_is_served_as_it_is(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    machine.said = "CppCompileError: no such instruction"
    assert machine.take_up().ready is None  # type: ignore[union-attr]
    assert "the exported program serves: it cannot be compiled: CppCompileError" in caplog.text


def test_without_a_compiler_it_says_so_and_the_program_serves(
    machine: Machine, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "compiler", lambda: None)
    assert machine.take_up() is None
    assert "there is no C++ compiler" in caplog.text


@pytest.mark.full
def test_a_program_is_compiled_and_answers_as_it_does(artifact: Path, tmp_path: Path) -> None:
    assert compiling.compiler() is not None, "this test needs g++ or clang++"
    program, made = load_exported(artifact), CompiledPrograms(tmp_path, lambda _name: ServingConfig(compile="aot"))
    before = set(threading.enumerate())
    forward = made.beside(RECORD, artifact, program)
    assert forward is not None
    for one in set(threading.enumerate()) - before:
        one.join(900)
    assert forward.ready is not None
    x = torch.randn(5, 3)
    with torch.inference_mode():
        one_row_again = torch.randn(1, 3).expand(5, 3)
        for rows in (x, one_row_again):
            assert torch.allclose(forward.ready(rows), program(rows), atol=1e-5)
        for wrong in (torch.randn(5, 4), torch.randn(5, 2), x.double()):
            with pytest.raises((RuntimeError, AssertionError)):
                forward.ready(wrong)

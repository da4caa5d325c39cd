"""Workloads that get into trouble once: the first process to make the file of `trouble` has it."""

from __future__ import annotations

import os
import resource
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mlratchet.models.workloads.base import Workload
from mlratchet.models.workloads.tabular import TableClassifier
from mlratchet.models.workloads.vision import ImageClassifier
from torch import nn

from tests.distributed.small_transformer import SmallTransformer


class StallingLoader(TableClassifier):
    """Preparing a batch never ends, once."""

    def __init__(self, *, columns: list[str], classes: list[str], trouble: str, hidden: int = 32) -> None:
        super().__init__(columns=columns, classes=classes, hidden=hidden)
        self.trouble, self._batches = Path(trouble), 0

    def augment(self, x: np.ndarray[Any, Any], rng: np.random.Generator) -> np.ndarray[Any, Any]:
        self._batches += 1
        if self._batches == 200 and not self.trouble.exists():
            self.trouble.write_text(str(os.getpid()))
            while True:
                time.sleep(60)
        return x


class Glutton(nn.Module):
    """Asks for more memory than the process may have, after some steps."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self._calls = inner, 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self._calls += self.training
        if self._calls == 50:
            resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
            torch.ones(16 << 30)
        out: torch.Tensor = self.inner(x)
        return out


class Hungry(TableClassifier):
    """Runs out of memory in the middle of training."""

    def build_model(self) -> nn.Module:
        return Glutton(super().build_model())


class Holding(Workload):
    """Each of its processes prepares so many batches, and the next one when the file is there: whoever wants something
    to happen in the middle of a training can be as late as a busy machine makes him. Beside that file is another one
    as long as somebody waits, or did when he was killed."""

    go_on: Path
    batches: int

    def augment(self, x: Any, rng: np.random.Generator) -> Any:
        self.batches -= 1
        if self.batches < 0 and not self.go_on.exists():
            with suppress(PermissionError):  # a rank of another node writes nothing here
                held_of(self.go_on).touch()
            while not self.go_on.exists():
                time.sleep(0.02)
        return super().augment(x, rng)


def go_on_of(scratch: str) -> Path:
    """What the ranks of an attempt that is held wait for."""
    return Path(scratch) / "go-on"


def held_of(go_on: Path) -> Path:
    """What somebody who waits for `go_on` leaves."""
    return go_on.with_name("held")


class HeldTable(Holding, TableClassifier):
    """Of columns."""

    def __init__(self, *, columns: list[str], classes: list[str], go_on: str, batches: int, hidden: int = 32) -> None:
        super().__init__(columns=columns, classes=classes, hidden=hidden)
        self.go_on, self.batches = Path(go_on), batches


class HeldTransformer(Holding, SmallTransformer):
    """Of columns."""

    def __init__(self, *, columns: list[str], classes: list[str], go_on: str, batches: int) -> None:
        super().__init__(columns=columns, classes=classes)
        self.go_on, self.batches = Path(go_on), batches


class HeldDigits(Holding, ImageClassifier):
    """Of pictures."""

    def __init__(self, *, classes: list[str], go_on: str, batches: int, height: int, width: int, channels: int) -> None:
        super().__init__(classes=classes, height=height, width=width, channels=channels)
        self.go_on, self.batches = Path(go_on), batches

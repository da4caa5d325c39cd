"""Workloads that get into trouble once: the first process to make the file of `trouble` has it."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mlratchet.models.workloads.tabular import TableClassifier
from torch import nn


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

"""A rehearsal is made in a child: whatever the user's code does there ends nothing but that child, and is told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from mlratchet.infra.child.call import ForkedChildren
from mlratchet.infra.launch import rehearsal
from mlratchet.infra.launch.rehearsal import rehearse_before_training
from mlratchet.models.config import WorkloadRef
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.ports.children import install
from mlratchet.models.sources.record import Split
from mlratchet.models.training.config import TrainConfig

TABLE = {"columns": ["a", "b"], "classes": ["low", "high"]}
ROWS = Split(ids=["1", "2"], x=np.ones((2, 2), dtype=np.float32), y=np.asarray([0, 1]))
OWN = """
import os
from mlratchet.models.workloads.tabular import TableClassifier
from torch import nn

class Right(TableClassifier):
    def build_model(self):
        return nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))

class Seen(TableClassifier):
    def build_model(self):
        raise ValueError([name for name in os.environ if "KEY" in name or "PASSWORD" in name])

class Leaves(TableClassifier):
    def build_model(self):
        os._exit(9)

class Endless(TableClassifier):
    def build_model(self):
        while True:
            pass
"""


@pytest.fixture(autouse=True)
def forked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As in a process that holds a key."""
    (tmp_path / "own_models.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RATCHET_SIGNING_KEY", "secret")
    monkeypatch.setenv("RATCHET_S3_SECRET_KEY", "secret")
    install(ForkedChildren(None))
    yield
    install(None)


def tried(use: str, rows: Split | None = None) -> tuple[str, ...]:
    return rehearse_before_training(
        WorkloadRef(use=f"own_models:{use}", parameters=TABLE), TrainConfig(), world=1, rows=rows
    )


def test_a_workload_that_is_right_passes() -> None:
    assert tried("Right", ROWS) == ()


@pytest.mark.parametrize(
    ("use", "words"),
    [
        ("Seen", r"^own_models.py:12: ValueError: \[\]$"),  # no key and no password is in reach
        ("Leaves", "its process ended without an answer"),
    ],
)
def test_what_the_users_code_does_is_told(use: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        tried(use, ROWS)


def test_a_model_that_never_ends_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "TIME_LIMIT_S", 1.0)
    with pytest.raises(ConfigurationError, match="no answer within 1 s"):
        tried("Endless")

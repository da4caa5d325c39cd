"""A rehearsal runs in a process of its own: whatever the user's code does there ends nothing but that process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import psutil
import pytest
from mlratchet.infra.launch import rehearsal
from mlratchet.infra.launch.rehearsal import rehearse_before_training, unanswered
from mlratchet.models.config import WorkloadRef
from mlratchet.models.errors import ConfigurationError, RatchetError
from mlratchet.models.sources.record import Split
from mlratchet.models.training.config import TrainConfig

TABLE = {"columns": ["a", "b"], "classes": ["low", "high"]}
OWN = """
import os
from mlratchet.models.workloads.tabular import TableClassifier
from torch import nn

class Key(TableClassifier):
    def build_model(self):
        raise ValueError(sorted(name for name in os.environ if "KEY" in name and name.startswith("RATCHET")))

class Endless(TableClassifier):
    def build_model(self):
        while True:
            pass
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_models.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def tried(use: str, rows: Split | None = None) -> tuple[str, ...]:
    return rehearse_before_training(WorkloadRef(use=use, parameters=TABLE), TrainConfig(), world=1, rows=rows)


def test_the_users_code_runs_where_no_private_key_is(own: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RATCHET_SIGNING_KEY", "secret")
    rows = Split(ids=["1", "2"], x=np.ones((2, 2), dtype=np.float32), y=np.asarray([0, 1]))
    with pytest.raises(ConfigurationError, match=r"^own_models.py:8: ValueError: \[\]$"):
        tried("own_models:Key", rows)


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        (9, ConfigurationError, "ended the process that tried it with code 9: enough"),
        (-11, ConfigurationError, "by signal SIGSEGV: enough"),
    ],
)
def test_how_a_process_without_an_answer_ended_is_told(code: int, kind: type[RatchetError], words: str) -> None:
    error = unanswered(code, "a line\nenough\n")
    assert type(error) is kind
    assert words in str(error)


def test_a_model_that_never_ends_is_ended(own: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "TIMEOUT_S", 0.5)
    with pytest.raises(ConfigurationError, match="did not end"):
        tried("own_models:Endless")
    mine = [child.cmdline() for child in psutil.Process().children(recursive=True) if child.status() != "zombie"]
    assert not [words for words in mine if "mlratchet.infra.child.main" in words]

"""A machine that joins a training has the same code as the first node, or is refused with what differs."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mlratchet.infra.launch import rank
from mlratchet.infra.launch.same_code import refuse_other_code
from mlratchet.models.config import WorkloadRef
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.identity.product import code_of_training
from mlratchet.models.training.config import TrainConfig
from mlratchet.models.training.job import Rendezvous, TrainJob
from mlratchet.models.workloads.loading import workload_source

LAYERS = "def width():\n    return 8\n"
WORKLOAD = """
from joined_layers import width
from mlratchet.models.workloads.tabular import TableClassifier

class Joined(TableClassifier):
    pass
"""
Job = Callable[..., TrainJob]


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    """A job of the code as it is now."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "joined.py").write_text(WORKLOAD)
    (tmp_path / "joined_layers.py").write_text(LAYERS)
    importlib.invalidate_caches()

    def make(*, first: bool = False) -> TrainJob:
        use = "joined:Joined"
        told = json.loads(json.dumps(code_of_training(workload_source(use), None)))
        return TrainJob(
            work_key="w", epoch=1, dataset_id="d", train=TrainConfig(nodes=2), processes=1,
            workload=WorkloadRef(use=use, parameters={"columns": ["a"], "classes": ["no", "yes"]}),
            scratch=str(tmp_path), code=told,
            rendezvous=Rendezvous(endpoint="10.0.0.1:5", run_id="r", first=first, address="10.0.0.12"),
        )  # fmt: skip

    return make


def edit(tmp_path: Path) -> None:
    (tmp_path / "joined_layers.py").write_text(LAYERS.replace("8", "16"))


def test_the_same_code_joins_and_the_first_node_asks_nobody(job: Job, tmp_path: Path) -> None:
    same, first = job(), job(first=True)
    (tmp_path / "joined_layers.py").write_text(f"# a comment\n{LAYERS}")
    refuse_other_code(same)
    edit(tmp_path)
    refuse_other_code(first)
    refuse_other_code(same.model_copy(update={"code": {}}))


def test_other_code_is_refused_with_what_differs(job: Job, tmp_path: Path) -> None:
    told = job()
    edit(tmp_path)
    with pytest.raises(ConfigurationError, match=r"at 10\.0\.0\.12: other code .*: code of joined_layers; bring"):
        refuse_other_code(told)
    other = told.model_copy(update={"code": {**job().code, "ratchet": "another release"}})
    with pytest.raises(ConfigurationError, match="other code than on the first node: Ratchet's own code that trains"):
        refuse_other_code(other)


def test_a_rank_with_other_code_meets_nobody_and_says_why(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = job().model_copy(update={"bucket": "store"})
    file = tmp_path / "job.json"
    file.write_text(told.model_dump_json())
    edit(tmp_path)

    def meets(*_: Any, **__: Any) -> Any:
        raise AssertionError("it met the others")

    monkeypatch.setitem(sys.modules, "mlratchet.infra.launch.bound", SimpleNamespace(CHANNEL=0))
    for name, value in {
        "die_with_parent": lambda: None, "gc": SimpleNamespace(freeze=lambda: None, enable=lambda: None),
        "Place": SimpleNamespace(told=lambda _: SimpleNamespace(local=0)), "join_group": meets,
        "Watchdog": lambda *_: SimpleNamespace(start=lambda: None), "borrow": lambda *_: None,
    }.items():  # fmt: skip
        monkeypatch.setattr(rank, name, value)
    with pytest.raises(SystemExit) as left:
        rank.main(str(file))
    assert left.value.code == 2
    said = json.loads((tmp_path / "error.json").read_text())  # which the joiner publishes for the first node
    assert said["message"].endswith("code of joined_layers; bring the same files and packages there, and run again")

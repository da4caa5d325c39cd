"""A module is Ratchet's by where it lies: a user's folder may be called `mlratchet`, and joins the namespace."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.finding import is_ours
from mlratchet.models.functions import KeptOutError, load_class, load_function
from mlratchet.models.identity.closure import closure_of
from mlratchet.models.pipeline.spec import PipelineSpec
from mlratchet.models.ports.children import InProcess, install
from mlratchet.models.workloads.base import Workload
from mlratchet.models.workloads.loading import load_workload
from mlratchet.tasks.support.check_whole import is_foreign_in

EVIL = "open(__file__ + '.ran', 'w').close()\ndef W(*_):\n    return {}\n"


class Asked(InProcess):
    """Children that only say that they were asked."""

    def call(self, function: str, *_: Any, **__: Any) -> Any:
        raise ConfigurationError(f"{function}: a child was asked")


@pytest.fixture(params=["first", "last"])
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A folder on the import path with a part of the namespace in it."""
    (tmp_path / "mlratchet").mkdir()
    (tmp_path / "mlratchet" / "evil.py").write_text(EVIL)
    here = [str(tmp_path)]
    monkeypatch.setattr(sys, "path", here + sys.path if request.param == "first" else sys.path + here)
    importlib.invalidate_caches()
    install(Asked())
    yield tmp_path
    install(None)
    sys.modules.pop("mlratchet.evil", None)


def test_the_process_with_the_key_runs_no_users_module_of_that_name(project: Path) -> None:
    with pytest.raises(KeptOutError):
        load_function("mlratchet.evil:W", "here")
    with pytest.raises(KeptOutError):
        load_class("mlratchet.evil:W", Workload, "workload")  # type: ignore[type-abstract]
    with pytest.raises(ConfigurationError, match="a child was asked"):
        load_workload("mlratchet.evil:W", {})
    assert not (project / "mlratchet" / "evil.py.ran").exists()


def test_its_source_counts_as_the_users(project: Path) -> None:
    assert set(closure_of(["mlratchet.evil"]).modules) == {"mlratchet.evil"}
    assert not is_ours("mlratchet.evil:W")


@pytest.mark.usefixtures("project")
def test_a_pipeline_with_it_is_checked_in_a_child() -> None:
    def spec(use: str) -> PipelineSpec:
        return PipelineSpec.model_construct(
            source=SimpleNamespace(format=None),
            train=SimpleNamespace(optimizer=SimpleNamespace(factory=None)),
            gates=SimpleNamespace(all_checks=list),
            workload=SimpleNamespace(use=use),
        )  # type: ignore[arg-type]  # what of them is asked

    assert is_foreign_in(spec("mlratchet.evil:W"))
    assert not is_foreign_in(spec("mlratchet.models.workloads.tabular:TabularWorkload"))


@pytest.mark.usefixtures("project")
def test_what_is_shipped_is_ours() -> None:
    assert is_ours("mlratchet.models.workloads.tabular")
    assert is_ours("mlratchet.tasks.support.check_whole:check_in_child")
    assert not is_ours("mlratchet.models.workloads.not_there")
    assert not is_ours("json")

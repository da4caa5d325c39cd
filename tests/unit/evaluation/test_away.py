"""Models in children: the user's module and exported programs answer there as they do here."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mlratchet.infra.artifact.exported import exported_away, load_exported
from mlratchet.infra.artifact.package import export, refuse_other_files
from mlratchet.infra.child.call import ForkedChildren
from mlratchet.models.errors import SecurityError
from mlratchet.models.evaluation.away import ModelAway
from mlratchet.models.evaluation.perturb import CustomPerturbation, perturb
from mlratchet.models.evaluation.score import outputs_of
from mlratchet.models.ports.children import ForeignCodeError, install
from mlratchet.models.sources.record import InputSpec, Split
from mlratchet.models.tensors.named import Inputs
from safetensors.torch import save

SHOP = '''
import os, sys
import torch
from pathlib import Path
from mlratchet.models.workloads.tabular import TableClassifier

class Mine(TableClassifier):
    """A workload of the user's."""

    def build_model(self):
        print("building")
        torch.manual_seed(0)
        return torch.nn.Sequential(torch.nn.Linear(3, 2))

class Short(Mine):
    """One whose model answers for one row too few."""

    def build_model(self):
        class Model(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.inner = torch.nn.Sequential(torch.nn.Linear(3, 2))
            def forward(self, x):
                return self.inner(x)[:-1]
            def load_state_dict(self, state):
                pass
        return Model()

def noise(x, rng):
    x[:] = rng.normal(size=x.shape)
    return x

def other_shape(x, rng):
    return x[:1]
'''
PARAMETERS = {"columns": ["a", "b", "c"], "classes": ["no", "yes"], "standardise": False}


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "shop.py").write_text(SHOP)
    monkeypatch.chdir(tmp_path)
    install(ForkedChildren(tmp_path / ".home"))
    yield tmp_path
    install(None)
    assert "shop" not in sys.modules


def away(name: str) -> ModelAway:
    torch.manual_seed(0)
    weights = save(torch.nn.Sequential(torch.nn.Linear(3, 2)).state_dict())
    arguments: dict[str, Any] = {"use": f"shop:{name}", "parameters": PARAMETERS, "weights": "w"}
    return ModelAway(
        load="mlratchet.models.evaluation.in_child:trained_module", arguments=arguments, objects={"w": weights}
    )


@pytest.mark.usefixtures("shop")
def test_the_users_module_answers_in_a_child_as_it_would_here() -> None:
    x = np.random.default_rng(0).normal(size=(700, 3)).astype(np.float32)
    torch.manual_seed(0)
    here = outputs_of(torch.nn.Sequential(torch.nn.Linear(3, 2)), Inputs({"x": x}), 512)
    assert np.array_equal(away("Mine").outputs(Inputs({"x": x}), batch_rows=512), here)


@pytest.mark.usefixtures("shop")
def test_outputs_of_too_few_rows_are_none() -> None:
    with pytest.raises(ForeignCodeError, match="no float32 output for each of 7 rows"):
        away("Short").outputs(Inputs({"x": np.zeros((7, 3), dtype=np.float32)}), batch_rows=512)


@pytest.mark.usefixtures("shop")
def test_a_perturbation_of_the_users_is_done_in_a_child() -> None:
    x = np.zeros((5, 3), dtype=np.float32)
    rows = Split(ids=list("abcde"), x=x, y=np.zeros(5, dtype=np.int64))
    spec = InputSpec(kind="table", shape=(3,), dtype="float32", columns=("a", "b", "c"))
    one = CustomPerturbation(kind="custom", function="shop:noise")
    changed = perturb(rows, one, spec).x.array
    assert np.array_equal(changed, perturb(rows, one, spec).x.array)
    assert changed.std() > 0.1
    assert not x.any()
    with pytest.raises(Exception, match=r"expected float32 of shape \(5, 3\)"):
        perturb(rows, CustomPerturbation(kind="custom", function="shop:other_shape"), spec)


def test_a_program_is_exported_and_asked_in_children(shop: Path) -> None:
    """The exported folder lies in what no child reads, but for the one that loads it."""
    out = shop / ".home" / "scratch" / "model"
    example = np.zeros((2, 3), dtype=np.float32)
    export(away("Mine"), Inputs({"x": example}), out)
    x = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    answered = exported_away(out).outputs(Inputs({"x": x}), batch_rows=512)
    np.testing.assert_allclose(answered, away("Mine").outputs(Inputs({"x": x}), batch_rows=512), atol=1e-6)
    for name, words in (("code/shop.py", "other files"), ("data/model.pth", "other files")):
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_text("raise SystemExit")
        with pytest.raises(ForeignCodeError, match=words):
            refuse_other_files(out)
        with pytest.raises(SecurityError, match="nothing is loaded"):
            load_exported(out)
        (out / name).unlink()
        if name.startswith("code"):
            (out / "code").rmdir()
    (out / "MLmodel").write_text((out / "MLmodel").read_text().replace("module: mlflow.pytorch", "module: shop"))
    with pytest.raises(ForeignCodeError, match="names other code"):
        refuse_other_files(out)
    (out / "MLmodel").unlink()
    (out / "MLmodel").symlink_to(shop / "shop.py")
    with pytest.raises(ForeignCodeError, match="neither a file nor a folder"):
        refuse_other_files(out)

"""A user's model with several tensors, in children: asked, exported, explained, perturbed, tried and measured there."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mlratchet.infra.artifact.exported import PROGRAM, exported_away
from mlratchet.infra.artifact.measure import measure_artifact
from mlratchet.infra.artifact.package import complete, export
from mlratchet.infra.child.call import ForkedChildren
from mlratchet.infra.launch.rehearsal import rehearse_before_training
from mlratchet.models.artifact.signature import signature_of
from mlratchet.models.comparison.latency import time_side_by_side
from mlratchet.models.config import WorkloadRef
from mlratchet.models.evaluation.away import ModelAway
from mlratchet.models.evaluation.perturb import CustomPerturbation, perturb
from mlratchet.models.ports.children import install
from mlratchet.models.serving.contract import contract_requests
from mlratchet.models.sources.record import Split, named_input
from mlratchet.models.tensors.batch import asked_by_name
from mlratchet.models.tensors.named import Inputs
from mlratchet.models.training.config import TrainConfig
from mlratchet.tasks.support.attribute import Questions, explain_all
from safetensors.torch import save, save_file

from tests.unit.tensors import named_models
from tests.unit.tensors.named_models import Readers, lines

SHOP = """
class Mine(Readers):
    pass

def next_user(x, rng):
    return type(x)({**x.columns, "user": (x.columns["user"] + 1) % 20})
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of a user's, whose module is imported in children alone."""
    (tmp_path / "named_shop.py").write_text(Path(named_models.__file__).read_text() + SHOP)
    monkeypatch.chdir(tmp_path)
    install(ForkedChildren(tmp_path / ".home"))
    yield tmp_path
    install(None)
    assert "named_shop" not in sys.modules


@pytest.fixture(scope="module")
def rows() -> Split:
    specs = Readers().tensors()
    made = lines(specs, 24)
    x = Inputs.stack([{spec.name: np.asarray(row[spec.name]) for spec in specs} for row in made], specs)
    return Split(ids=[row["id"] for row in made], x=x, y=np.asarray([row["label"] for row in made], dtype=np.int64))


def module() -> torch.nn.Module:
    torch.manual_seed(0)
    return Readers().build_model().eval()


def away() -> ModelAway:
    arguments: dict[str, Any] = {"use": "named_shop:Mine", "parameters": {}, "weights": "w"}
    weights = {"w": save(module().state_dict())}
    return ModelAway(load="mlratchet.models.evaluation.in_child:trained_module", arguments=arguments, objects=weights)


def expected(x: Inputs) -> Any:
    from mlratchet.models.evaluation.score import outputs_of

    return outputs_of(asked_by_name(module(), Readers().tensors()), x, 512)


@pytest.mark.slow
def test_what_children_do_with_it_is_what_is_done_here(shop: Path, rows: Split) -> None:
    here = expected(rows.x)
    np.testing.assert_array_equal(away().outputs(rows.x, batch_rows=512), here)
    out = shop / ".home" / "scratch" / "model"
    export(away(), rows.x.rows(slice(2)), out)
    program = exported_away(out)
    np.testing.assert_allclose(program.outputs(rows.x, batch_rows=7), here, atol=1e-6)
    timed = time_side_by_side(program, away(), rows.x)
    assert timed.a_ms["p50"] > 0
    asked = Questions(
        chosen=np.arange(24), models={"candidate": program, "champion": away()}, places={},
        inputs={"candidate": rows.x, "champion": rows.x}, columns={}, y=rows.y,
    )  # fmt: skip
    found = explain_all(asked, "classification", named_input(Readers().tensors()), 8)
    assert found["candidate"].values.shape == (24, 2)
    np.testing.assert_allclose(found["candidate"].values, found["champion"].values, atol=1e-5)
    custom = CustomPerturbation(kind="custom", function="named_shop:next_user")
    moved = perturb(rows, custom, named_input(Readers().tensors())).x
    assert (moved.columns["user"] == (rows.x.columns["user"] + 1) % 20).all()  # type: ignore[operator]  # whole numbers
    ref = WorkloadRef(use="named_shop:Mine")
    for given in (None, rows):
        assert rehearse_before_training(ref, TrainConfig(), world=1, rows=given) == ()
    measure(out, rows, here)


def measure(out: Path, rows: Split, here: Any) -> None:
    """The artifact in a clean process."""
    weights, signature = out.parent / "w.safetensors", signature_of(Readers())
    save_file(module().state_dict(), weights)
    manifest = complete(out, signature, rows.x.rows(slice(2)), card="card", weights_file=weights)
    assert PROGRAM in manifest.files
    requests = contract_requests(signature, rows.x, here)
    found = measure_artifact(out, manifest, sample_x=rows.x, expected=here, threads=1, requests=requests)
    assert found.contract_failures == ()
    assert found.parity_max_difference is not None
    assert found.parity_max_difference < 1e-5
    assert found.latency_ms["p50"] > 0

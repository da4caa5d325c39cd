"""`ratchet export`: verified bytes that answer as the server does, in a process that has no Ratchet."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from mlratchet.infra.artifact import converted as converting
from mlratchet.infra.artifact.converted import NEEDED
from mlratchet.infra.artifact.exported import load_exported
from mlratchet.infra.artifact.package import complete, export
from mlratchet.infra.registry.memory import MemoryRegistry
from mlratchet.models.artifact.elsewhere import ENDINGS
from mlratchet.models.artifact.signature import Signature
from mlratchet.models.config import WorkloadRef
from mlratchet.models.errors import ConfigurationError, SecurityError
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.preparation.base import State
from mlratchet.models.serving.config import ServingConfig
from mlratchet.models.serving.contract import served_signature
from mlratchet.models.serving.predictor import Predictor
from mlratchet.models.serving.schema import parse_request
from mlratchet.models.tensors.batch import batch_of
from mlratchet.models.tensors.named import Inputs
from mlratchet.models.training.rehearsal_rows import fitted_to_made_up, made_up
from mlratchet.models.workloads.base import Workload
from mlratchet.models.workloads.fields import SchemaWorkload
from mlratchet.models.workloads.tabular import TableClassifier
from mlratchet.tasks.actions.export import export_version
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import save_file

from tests.unit.audit.conftest import World

SCHEMA = {
    "fields": {
        "amount": {"kind": "number"},
        "note": {"kind": "text"},
        "paid": {"kind": "category", "values": ["no", "yes"]},
    },
    "label": "paid",
}
EXAMPLE = {"amount": 3.5, "note": "made up words"}
OUTSIDE = """
import sys
sys.modules["mlratchet"] = None
import json, torch
from safetensors.torch import load_file
rows = load_file(sys.argv[2])
{load}
with torch.inference_mode():
    output = {call}
print(json.dumps(output.softmax(dim=1).tolist()))
"""


class Exported:
    """A promoted version of a real model, and what its server answers."""

    def __init__(self, world: World, workload: Workload, rows: Inputs, folder: Path, **more: Any) -> None:
        torch.manual_seed(0)
        module = workload.build_model().eval()
        weights, out = folder / "w.safetensors", folder / "model"
        save_file(module.state_dict(), weights)
        export(load_module(module, workload), rows, out)
        signature = served_signature(workload, ServingConfig())
        complete(out, signature, rows, card="card", weights_file=weights, **more)
        world.files = {str(one.relative_to(out)): one.read_bytes() for one in out.rglob("*") if one.is_file()}
        self.world, self.rows, self.module = world, rows, module
        world.promote(9)
        self.predictor = Predictor(
            version=9, generation=1, signature=Signature.from_json((out / "signature.json").read_text()),
            model=load_exported(out),
        )  # fmt: skip
        self.adapters: Any = SimpleNamespace(
            store=world.store, keys=world.keys, ledger=world.ledger, registry=MemoryRegistry(), bucket=world.bucket
        )

    def outside(self, load: str, call: str, folder: Path) -> list[dict[str, float]]:
        """What a process without Ratchet answers to the rows."""
        tensors = folder / "rows.safetensors"
        batch = batch_of(self.rows)
        named = {"x": batch} if isinstance(batch, torch.Tensor) else batch
        save_arrays({name: np.ascontiguousarray(one.numpy()) for name, one in named.items()}, tensors)
        done = subprocess.run(
            [sys.executable, "-c", OUTSIDE.format(load=load, call=call), str(folder), str(tensors)],
            capture_output=True, text=True, check=False, cwd=folder,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return [dict(zip(("no", "yes"), one, strict=True)) for one in json.loads(done.stdout)]


def load_module(module: Any, workload: Workload) -> Any:
    from mlratchet.models.tensors.batch import asked_by_name

    return asked_by_name(module, workload.tensors())


@pytest.fixture
def table(world: World, tmp_path: Path) -> Exported:
    x = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    workload = TableClassifier(columns=["a", "b", "c"], classes=["no", "yes"], hidden=8)
    return Exported(world, workload, Inputs({"x": x}), tmp_path)


@pytest.mark.slow
def test_a_program_elsewhere_answers_as_the_server(table: Exported, tmp_path: Path) -> None:
    told = export_version(table.adapters, "digits", 9, to="pt2", out=tmp_path / "it.pt2")
    expected = [one["probabilities"] for one in table.predictor.predict(table.rows)]
    load = "\n".join(told["load"][:2])
    assert told["load"][2] == "output = model(x)"
    found = table.outside(load, "model(rows['x'])", tmp_path)
    assert [one["yes"] for one in found] == pytest.approx([one["yes"] for one in expected], abs=1e-6)
    about = json.loads((tmp_path / "it.json").read_text())
    assert (about["columns"], about["classes"], about["version"]) == (["a", "b", "c"], ["no", "yes"], 9)
    assert not told["prepared"]


@pytest.mark.parametrize("to", ["state_dict", "safetensors"])
def test_weights_elsewhere_are_those_of_the_version(table: Exported, tmp_path: Path, to: str) -> None:
    ending = {"state_dict": ".pt", "safetensors": ".safetensors"}[to]
    export_version(table.adapters, "digits", 9, to="pt2", out=tmp_path / "weights.pt2")  # beside it lies the same
    told = export_version(table.adapters, "digits", 9, to=to, out=tmp_path / f"weights{ending}")
    assert "weights_only=True" in " ".join(told["load"]) or to == "safetensors"
    file = told["files"][0]
    assert "mlratchet" not in Path(file).read_bytes().decode("latin-1")
    from safetensors.torch import load_file

    held = torch.load(file, weights_only=True) if to == "state_dict" else load_file(file)
    fresh = TableClassifier(columns=["a", "b", "c"], classes=["no", "yes"], hidden=8).build_model()
    fresh.load_state_dict(held)
    with torch.inference_mode():
        x = torch.from_numpy(table.rows.array)
        assert torch.equal(fresh.eval()(x), table.module(x))


@pytest.mark.slow
def test_what_prepares_examples_lies_beside(world: World, tmp_path: Path) -> None:
    ref = WorkloadRef(use="mlratchet.models.workloads.fields:SchemaWorkload", parameters={"schema": SCHEMA})
    ref = fitted_to_made_up(SchemaWorkload(schema=SCHEMA), ref)
    workload = SchemaWorkload(**ref.parameters)
    it = Exported(world, workload, made_up(workload).x.rows(slice(2, 4)), tmp_path, instances=[EXAMPLE] * 2)
    told = export_version(it.adapters, "digits", 9, to="pt2", out=tmp_path / "it.pt2")
    about = json.loads((tmp_path / "it.json").read_text())
    assert about["preparation"]["schema"]["fields"]["note"] == {"kind": "text"}
    fitted = State.from_bytes((tmp_path / "it.preparation.safetensors").read_bytes())
    assert about["preparation"]["fitted"] == dict(fitted.document)
    assert told["takes"][1] == "note: int64 (rows, steps), filled up with zeros; note_lengths: int64 (rows)"
    rows = parse_request(
        json.dumps({"instances": [{"amount": 3.5, "note": "made up words"}] * 2}).encode(), it.predictor.signature
    )
    it.rows = rows
    call = told["load"][2].partition(" = ")[2]
    for name in ("numbers", "note_lengths"):
        call = call.replace(f"={name}", f"=rows['{name}']")
    call = call.replace("=note,", "=rows['note'],")
    found = it.outside("\n".join(told["load"][:2]), call, tmp_path)
    expected = [one["probabilities"]["yes"] for one in it.predictor.predict(rows)]
    assert [one["yes"] for one in found] == pytest.approx(expected, abs=1e-6)


def needs(to: str) -> None:
    for name in NEEDED[to]:  # type: ignore[index]
        pytest.importorskip(name, reason=f"{name} is not installed: `pip install 'mlratchet[onnx]'`")


def answered(to: str, file: Path, rows: Inputs) -> np.ndarray[Any, Any]:
    """What the runtime of a form answers."""
    batch = batch_of(rows)
    if to == "torchscript":
        loaded = torch.jit.load(str(file))
        with torch.inference_mode():
            return (loaded(batch) if isinstance(batch, torch.Tensor) else loaded(**batch)).numpy()
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    named = {"x": batch} if isinstance(batch, torch.Tensor) else batch
    return session.run(None, {name: one.numpy() for name, one in named.items()})[0]


@pytest.mark.parametrize("to", ["onnx", "torchscript"])
def test_a_form_for_other_runtimes_answers_as_the_program(table: Exported, tmp_path: Path, to: str) -> None:
    needs(to)
    export_version(table.adapters, "digits", 9, to="pt2", out=tmp_path / "it.pt2")  # beside it lies the same
    file = tmp_path / f"it.{to}"
    told = export_version(table.adapters, "digits", 9, to=to, out=file)
    assert "batches of 1, 2, 3, 8, 33 rows" in told["tried"]
    beside = json.loads((tmp_path / "it.json").read_text())["load"][to]
    assert (beside[0], beside[2], f"digits-9{ENDINGS[to]}" in beside[1]) == (told["load"][0], told["load"][2], True)  # type: ignore[index]
    for count in (1, 3, 4):
        rows = table.rows.rows(slice(count))
        with torch.inference_mode():
            expected = table.module(torch.from_numpy(rows.array)).numpy()
        assert answered(to, file, rows) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("to", ["onnx", "torchscript"])
def test_a_form_of_a_model_of_named_tensors_takes_them_by_name(world: World, tmp_path: Path, to: str) -> None:
    needs(to)
    ref = WorkloadRef(use="mlratchet.models.workloads.fields:SchemaWorkload", parameters={"schema": SCHEMA})
    ref = fitted_to_made_up(SchemaWorkload(schema=SCHEMA), ref)
    workload = SchemaWorkload(**ref.parameters)
    it = Exported(world, workload, made_up(workload).x.rows(slice(2, 4)), tmp_path, instances=[EXAMPLE] * 2)
    export_version(it.adapters, "digits", 9, to=to, out=tmp_path / f"it.{to}")
    rows = parse_request(json.dumps({"instances": [EXAMPLE] * 3}).encode(), it.predictor.signature)
    expected = it.predictor.answer(rows).output
    assert answered(to, tmp_path / f"it.{to}", rows) == pytest.approx(expected, abs=1e-5)


def test_a_form_that_answers_otherwise_is_refused_with_what_differs(
    table: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(_directory: Path, program: Any, _example: Inputs, file: Path) -> Any:
        file.write_bytes(b"made")
        return lambda batch: program(batch) + (0.01 if len(batch) == 3 else 0.0)

    monkeypatch.setattr(converting, "make_torchscript", wrong)
    with pytest.raises(ConfigurationError, match=r"of 3 rows it answers row \d with .* expected at most 0.0001 apart"):
        export_version(table.adapters, "digits", 9, to="torchscript", out=tmp_path / "it.ts")
    assert not (tmp_path / "it.ts").exists()


def test_without_what_makes_a_form_it_says_what_to_install(
    table: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(converting.NEEDED, "onnx", ("json", "no_such_package"))
    with pytest.raises(
        ConfigurationError, match=r"no_such_package is not installed; `pip install 'mlratchet\[onnx\]'`"
    ):
        export_version(table.adapters, "digits", 9, to="onnx", out=tmp_path / "it.onnx")


def test_changed_bytes_and_files_that_are_there_are_refused(table: Exported, tmp_path: Path) -> None:
    (tmp_path / "there.json").write_text("mine")
    with pytest.raises(ConfigurationError, match=r"there\.json: is there already"):
        export_version(table.adapters, "digits", 9, to="pt2", out=tmp_path / "there.pt2")
    with pytest.raises(ConfigurationError, match="did you mean 'pt2'"):
        export_version(table.adapters, "digits", 9, to="pt", out=None)
    key = next(
        info.key for info in table.world.uploads.list() if info.key.endswith("m-9/artifacts/weights.safetensors")
    )
    data = bytearray(table.world.uploads.get(key))
    data[-1] ^= 1
    table.world.uploads.put(key, bytes(data))
    with pytest.raises(SecurityError):
        export_version(table.adapters, "digits", 9, to="state_dict", out=tmp_path / "it.pt")
    assert not (tmp_path / "it.pt").exists()


def test_a_version_whose_promotion_is_not_signed_by_a_believed_key_is_refused(
    table: Exported, tmp_path: Path, classified: Callable[..., RowOutputs]
) -> None:
    table.adapters.keys = World(classified).keys  # of somebody else
    with pytest.raises(SecurityError):
        export_version(table.adapters, "digits", 9, to="pt2", out=tmp_path / "it.pt2")
    assert not (tmp_path / "it.pt2").exists()

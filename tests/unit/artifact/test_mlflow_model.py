"""MLflow's own way of loading a version answers as the server does, by name, and runs nothing of the artifact."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from mlflow.exceptions import MlflowException
from mlratchet.infra.artifact.exported import load_exported
from mlratchet.infra.artifact.package import complete, export
from mlratchet.infra.artifact.pyfunc import _load_pyfunc
from mlratchet.models.artifact.signature import Signature, signature_of
from mlratchet.models.errors import DataError, SecurityError
from mlratchet.models.serving.predictor import Predictor
from mlratchet.models.serving.reading.limits import MAX_INSTANCES
from mlratchet.models.serving.schema import parse_request
from mlratchet.models.tensors.named import Inputs
from mlratchet.models.workloads.base import Workload
from mlratchet.models.workloads.tabular import TableClassifier, TableRegressor
from safetensors.torch import save_file

COLUMNS = ["price", "stock", "age"]
Made = tuple[Path, Callable[[Any], list[dict[str, Any]]]]


def made(folder: Path, workload: Workload, **more: Any) -> Made:
    """A model directory, and what the server answers to instances."""
    torch.manual_seed(0)
    module = workload.build_model().eval()
    weights = folder / "w.safetensors"
    save_file(module.state_dict(), weights)
    example = np.random.default_rng(0).random((2, *workload.input_spec().shape)).astype(np.float32)
    out = folder / "model"
    export(module, Inputs({"x": example}), out)
    complete(out, signature_of(workload, **more), Inputs({"x": example}), card="card", weights_file=weights)
    signature = Signature.from_json((out / "signature.json").read_text())
    predictor = Predictor(version=0, generation=0, signature=signature, model=load_exported(out))
    return out, lambda rows: predictor.predict(parse_request(json.dumps({"instances": rows}).encode(), signature))


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A classifier of rows with three columns."""
    return made(tmp_path_factory.mktemp("table"), TableClassifier(columns=COLUMNS, classes=["no", "yes"], hidden=8))


def test_a_frame_is_read_by_name_and_answered_as_the_server_answers(table: Made) -> None:
    directory, server = table
    loaded = mlflow.pyfunc.load_model(str(directory))
    frame = pd.DataFrame({"age": [3, 40], "price": [1.5, 2.0], "stock": [1, 0]})  # another order; whole numbers
    expected = server([{"price": 1.5, "stock": 1, "age": 3}, [2.0, 0, 40]])
    assert loaded.predict(frame) == expected
    assert loaded.predict(frame[COLUMNS].astype("float32")) == expected
    assert loaded.predict({name: frame[name].to_numpy(dtype="float64") for name in frame}) == expected
    assert expected[0]["class"] in ("no", "yes")
    with pytest.raises(MlflowException, match="missing inputs"):
        loaded.predict(frame.rename(columns={"age": "years"}))
    with pytest.raises(DataError, match=r"instances\[1\].price: got nan"):
        loaded.predict(frame.assign(price=[1.0, float("nan")]))


def test_the_signature_has_names_and_types_and_the_files_hold_no_code(table: Made) -> None:
    directory, server = table
    described = yaml.safe_load((directory / "MLmodel").read_text())
    plain = described["flavors"].pop("python_function")
    assert described["flavors"] == {}
    assert plain["loader_module"] == "mlratchet.infra.artifact.pyfunc"
    assert plain.get("code") is None
    names = {path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()}
    assert names == {
        "MLmodel", "card.md", "conda.yaml", "data/model.pt2", "input_example.json", "python_env.yaml",
        "requirements.txt", "serving_input_example.json", "signature.json", "weights.safetensors",
    }  # fmt: skip
    info = mlflow.models.get_model_info(str(directory))
    assert [(one.name, one.type) for one in info.signature.inputs.inputs] == [(n, np.dtype("float64")) for n in COLUMNS]
    assert info.signature.outputs.input_names() == list(server([[1, 2, 3]])[0])
    assert "mlratchet==" in (directory / "requirements.txt").read_text()


def test_an_artifact_that_brings_code_is_not_loaded(table: Made, tmp_path: Path) -> None:
    marked = tmp_path / "ran"
    for name, text in (
        ("code/planted.py", f"open({str(marked)!r}, 'w')"),
        ("data/pickle_module_info.txt", "planted"),
        ("data/model.pth", "pickle"),
    ):
        directory = tmp_path / name.replace("/", "-")
        shutil.copytree(table[0], directory)
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_text(text)
        with pytest.raises(SecurityError, match="nothing is loaded"):
            load_exported(directory)
    assert not marked.exists()


def test_a_frame_may_be_larger_than_a_request_and_may_be_empty(table: Made) -> None:
    directory, server = table
    loaded = mlflow.pyfunc.load_model(str(directory))
    count = MAX_INSTANCES + 10
    frame = pd.DataFrame(np.random.default_rng(2).random((count, 3)), columns=COLUMNS)
    answers = loaded.predict(frame)
    assert len(answers) == count
    last = server(frame.iloc[-10:].to_dict("records"))
    for got, expected in zip(answers[-10:], last, strict=True):
        assert got["probabilities"] == pytest.approx(expected["probabilities"])
    frame.loc[MAX_INSTANCES + 3, "stock"] = float("nan")
    with pytest.raises(DataError, match=rf"instances\[{MAX_INSTANCES + 3}\].stock: got nan"):
        loaded.predict(frame)
    served = _load_pyfunc(str(directory))  # MLflow itself finds no type in an empty frame, and refuses it
    assert served.predict(frame[:0]) == served.predict(np.empty((0, 3))) == []


def test_its_own_input_example_is_answered(table: Made) -> None:
    directory, _ = table
    loaded = mlflow.pyfunc.load_model(str(directory))
    assert len(loaded.predict(loaded.input_example)) == 2
    body = json.loads((directory / "serving_input_example.json").read_text())
    assert set(body["dataframe_split"]["columns"] if "dataframe_split" in body else body["inputs"]) == set(COLUMNS)


def test_columns_with_a_default_may_be_left_out(tmp_path: Path) -> None:
    directory, server = made(tmp_path, TableRegressor(columns=COLUMNS, hidden=4), defaults={"age": 7.0})
    loaded = mlflow.pyfunc.load_model(str(directory))
    frame = pd.DataFrame({"stock": [1], "price": [2]})
    assert loaded.predict(frame) == server([{"price": 2, "stock": 1}]) == server([[2, 1, 7]])
    with pytest.raises(MlflowException, match="missing inputs"):
        loaded.predict(frame[["stock"]])


def test_pictures_are_arrays(tmp_path: Path, digits_workload: Workload) -> None:
    directory, server = made(tmp_path, digits_workload)
    x = np.random.default_rng(1).random((3, *digits_workload.input_spec().shape)).astype(np.float32)
    answers = mlflow.pyfunc.load_model(str(directory)).predict(x)
    assert answers == server(x.tolist())
    assert set(answers[0]) == {"class", "probability", "probabilities"}

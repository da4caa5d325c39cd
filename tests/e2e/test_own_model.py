"""A user's own model: two linear layers 10-5-2 on synthetic rows, SGD, weights brought as a `.pth` file."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from mlflow.tracking import MlflowClient
from mlratchet.models.artifact.weights import initial_weights_key, read_state_dict
from mlratchet.models.registration.record import find_registration
from safetensors.torch import load
from torch import nn

from tests.conftest import wait_for

NAME = "brought"
pytestmark = [pytest.mark.stack, pytest.mark.slow]


@pytest.fixture(scope="module")
def trained(stack: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Version 1, begun from weights that were saved and loaded as the text does it."""
    stack.pipeline(NAME)  # the README's own commands are run with two-layers
    stack("upload", NAME, "rows.csv")
    torch.manual_seed(1)
    module = nn.Sequential(nn.Linear(10, 5), nn.ReLU(), nn.Linear(5, 2))
    file = tmp_path_factory.mktemp("weights") / "model.pth"
    torch.save(module.state_dict(), file)
    digest = stack.json("import-weights", str(file))["sha256"]
    path = stack.pipelines / f"{NAME}.yaml"
    path.write_text(path.read_text().replace("train:\n", f"train:\n  initial_weights: {digest}\n"))
    notes = stack("validate", str(path)).stdout
    assert "is valid" in notes
    report: dict[str, Any] = stack.json("run", NAME, "--local")
    return {**report, "file": file, "initial": digest}


def test_it_goes_the_whole_road_as_a_users_own_workload(stack: Any, trained: dict[str, Any]) -> None:
    assert (trained["outcome"], trained["version"]) == ("promoted", 1)
    assert trained["metrics"]["accuracy"] > 0.85
    assert trained["training"]["parent_version"] is None
    assert {"precision_macro", "recall_macro", "f1_macro", "log_loss"} <= set(trained["metrics"])


def test_it_begins_from_the_weights_that_were_brought(stack: Any, trained: dict[str, Any]) -> None:
    brought = read_state_dict(trained["file"])
    store = stack.adapters.store
    imported = load(store.get(initial_weights_key(trained["initial"]), sha256=trained["initial"]))
    assert all(torch.equal(imported[name], tensor) for name, tensor in brought.items())
    record = find_registration(store, trained["work_key"])
    assert record is not None
    kept = set(load(store.get(record.weights_key, sha256=record.weights_sha256)))
    assert {name for name in kept if not name.startswith("standardise_")} == set(brought)
    run = MlflowClient(stack.settings.mlflow_tracking_uri).get_run(record.run_id)
    assert run.data.params["initial_weights"] == trained["initial"]


def test_predictions_by_column_name_or_in_order(stack: Any, trained: dict[str, Any], tmp_path: Path) -> None:
    row = [0.5, -1, 0, 0.25, 1, 2, -0.5, 0, 0.1, 0.9]
    (tmp_path / "row.json").write_text(json.dumps(row))
    (tmp_path / "named.json").write_text(json.dumps({f"x{i}": value for i, value in enumerate(row)}))
    (tmp_path / "short.json").write_text(json.dumps(row[:-1]))
    both = stack.json("predict", NAME, str(tmp_path / "row.json"), str(tmp_path / "named.json"))
    one, other = both["predictions"]
    assert one["class"] == other["class"]
    assert one["probability"] == pytest.approx(other["probability"], abs=1e-5)
    assert "got 9 values, expected 10" in stack("predict", NAME, str(tmp_path / "short.json"), code=3).stderr


def test_a_batch_is_scored_by_the_command_and_from_prefect(stack: Any, trained: dict[str, Any]) -> None:
    raw, out = (stack.adapters.bucket(name) for name in ("batch-in", "batch-out"))
    for bucket in (raw, out):
        bucket.ensure_bucket()
    row = [0.5, -1.0, 0.0, 0.25, 1.0, 2.0, -0.5, 0.0, 0.1, 0.9]
    header = ",".join(f"x{number}" for number in range(10))
    for name in ("a", "b"):
        raw.put(f"day/{name}.csv", "\n".join([header, ",".join(map(str, row)), "oops" + ",1" * 9]).encode())
    report = stack.json("score", NAME, "s3://batch-in/day", "s3://batch-out/day")
    assert report["line"] == "4 read, 2 scored, 2 set aside: 2 not_a_number"
    with stack.prefect() as client:
        asked = {"source": "s3://batch-in/day", "target": "s3://batch-out/again"}
        made = client.create_flow_run_from_deployment(
            client.read_deployment_by_name(f"score/{NAME}").id, parameters={"pipeline": NAME, "parameters": asked}
        )
        wait_for("the worker to score", lambda: client.read_flow_run(made.id).state.is_final())
        assert client.read_flow_run(made.id).state.message == report["line"]
    scores = [one.key for one in out.list() if "/scores/" in one.key]
    first, again = (pq.read_table(io.BytesIO(out.get(key))).to_pylist() for key in sorted(scores))
    assert first == again
    assert [one["id"] for one in first] == ["a.csv:2", "b.csv:2"]
    assert (
        "is one of Ratchet's own buckets"
        in stack("score", NAME, "s3://batch-in/day", f"s3://{stack.settings.store_bucket}/x", code=2).stderr
    )


def test_weights_that_were_not_imported_or_are_a_pickle_are_refused(
    stack: Any, trained: dict[str, Any], tmp_path: Path
) -> None:
    torch.save(nn.Linear(1, 1), tmp_path / "module.pth")
    assert "SECURITY" in stack("import-weights", str(tmp_path / "module.pth"), code=6).stderr
    report = stack.json("run", NAME, "--local", "--set", f"train.initial_weights={'f' * 64}",
                        "--set", "train.warm_start=none", code=2)  # fmt: skip
    assert "import-weights" in report["line"]

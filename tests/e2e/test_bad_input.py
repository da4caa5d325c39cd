"""What is wrong is said in one line, with the right exit code, and nothing is half-written."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Stack, wait_for

pytestmark = [pytest.mark.stack, pytest.mark.slow]


def nothing_written(stack: Any, name: str) -> None:
    assert stack.adapters.registry.list_versions(name) == []
    assert stack.adapters.ledger.entries(name) == []


@pytest.fixture(scope="module")
def name(stack: Any) -> str:
    made: str = stack.pipeline("bad-input")
    stack("upload", made, "rows.csv")
    return made


@pytest.mark.parametrize(
    ("overrides", "code", "words"),
    [
        (["train.epoch=3"], 2, "did you mean 'epochs'"),
        (["train.epochs=0"], 2, "train.epochs"),
        (["train.mode=fast", "train.processes=1024", "train.global_batch_size=1024"], 2, "this machine has"),
        (["source.bucket=no-such-bucket"], 2, "no-such-bucket"),
        (["source.prefix=nothing-here/"], 3, "no objects"),
        (["source.label_column=target"], 3, "column 'target' is missing"),
        (["workload.use=two_layers:Nothing"], 2, "no subclass of Workload"),
        (["gates.candidate.0.metric=acuracy"], 2, "did you mean 'accuracy'"),
    ],
)
def test_a_run_that_cannot_work_says_why(stack: Any, name: str, overrides: list[str], code: int, words: str) -> None:
    arguments = [argument for override in overrides for argument in ("--set", override)]
    done = stack("run", name, "--local", *arguments, code=code)
    assert words in done.stdout + done.stderr
    nothing_written(stack, name)


def test_a_delivery_of_damaged_files_is_stopped_with_examples(stack: Any, tmp_path: Path) -> None:
    name = stack.pipeline("damaged")
    lines = (stack.project / "rows.csv").read_text().splitlines()
    lines[10:200] = ["nonsense"] * 190
    (tmp_path / "rows.csv").write_text("\n".join(lines))
    stack("upload", name, str(tmp_path / "rows.csv"))
    report = stack.json("run", name, "--local", code=4)
    assert "rejected_fraction 0.12" in report["line"]
    assert "rows.csv:11" in report["line"]
    assert "190 set aside: 190 ragged_row (rows.csv:11, rows.csv:12, rows.csv:13, ...)" in report["reading"]
    found = stack.json("rejects", name)
    assert found["run"] == report["run_id"]
    assert [(one["key"], one["row"], one["rule"]) for one in found["rejects"]] == [
        ("rows.csv", row, "ragged_row") for row in range(11, 201)
    ]
    assert "rows.csv:200: got 1 fields" in stack("rejects", name).stdout
    nothing_written(stack, name)


def test_mlflow_stopped_is_one_clear_line_and_nothing_is_half_written(stack: Any) -> None:
    """The server is stopped in its tracks (SIGSTOP), so that the supervisor does not heal it meanwhile."""
    name = stack.pipeline("no-mlflow")
    stack("upload", name, "rows.csv")
    pid = stack.services()["mlflow"].pid
    group = os.getpgid(pid)
    os.killpg(group, signal.SIGSTOP)
    try:
        report = stack.json(
            "run", name, "--local", code=5, MLFLOW_HTTP_REQUEST_TIMEOUT="1", MLFLOW_HTTP_REQUEST_MAX_RETRIES="0"
        )
    finally:
        os.killpg(group, signal.SIGCONT)
    assert report["line"].startswith("TRACKING")
    assert "ratchet logs mlflow" in report["line"]
    wait_for("mlflow to answer", stack.healthy)
    nothing_written(stack, name)


def test_prefect_away_is_one_clear_line(stack: Any) -> None:
    away = {"RATCHET_PREFECT_API_URL": "http://127.0.0.1:9/api", "PREFECT_CLIENT_MAX_RETRIES": "0"}
    for arguments in (("run", "two-layers"), ("deploy",)):
        err = stack(*arguments, code=5, **away).stderr
        (line,) = [line for line in err.splitlines() if line.startswith("INFRA")]
        assert "http://127.0.0.1:9/api/" in line
        assert "connection refused; `ratchet status` says what is down" in line


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    other = Stack(tmp_path)
    other("down")
    from mlratchet.infra.machine.free_ports import remembered_ports

    other.home.mkdir(exist_ok=True)
    port = remembered_ports(other.home)["mlflow"]
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", port))
        holder.listen()
        findings = {f["what"]: f for f in other.json("doctor", code=5)}
        assert f"mlflow {port}" in findings["ports"]["found"]
        assert findings["ports"]["do"]
        refused = other("up", code=5).stderr
        assert f"mlflow {port}" in refused
    assert other.services() == {}

"""Two inputs by name, one of them ragged, as a user's own workload: from raw objects to a served champion, twice."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from mlratchet.infra.serving.local import LocalServers
from mlratchet.models.ports.storage import ObjectStore

from tests.conftest import REPOSITORY

pytestmark = [pytest.mark.stack, pytest.mark.slow]
EXAMPLE = REPOSITORY / "docs" / "examples" / "reads"


def deliver(stack: Any, rows: int, seed: int) -> None:
    subprocess.run([sys.executable, str(EXAMPLE / "make_rows.py"), str(rows), str(seed)], cwd=stack.project, check=True)
    with (stack.project / f"reads-{seed}.jsonl").open("a") as sink:
        sink.write('{"id": "none", "reader": 3, "liked": true}\n')
        sink.write(json.dumps({"id": f"long-{seed}", "reader": [3, 4], "words": [1], "liked": True}) + "\n")
    stack("upload", "reads", f"reads-{seed}.jsonl")


@pytest.fixture(scope="module")
def promoted(stack: Any) -> list[dict[str, Any]]:
    """Version 1, and version 2 after another delivery: judged against version 1 on the same rows."""
    shutil.copy(EXAMPLE / "reads.py", stack.project)
    shutil.copy(EXAMPLE / "reads.yaml", stack.pipelines)
    deliver(stack, 1500, 0)
    assert "is valid" in stack("validate", str(stack.pipelines / "reads.yaml")).stdout
    first = stack.json("run", "reads")
    deliver(stack, 1000, 1)
    return [first, stack.json("run", "reads")]


def test_both_versions_are_promoted_and_every_check_was_judged(stack: Any, promoted: list[dict[str, Any]]) -> None:
    assert [(one["outcome"], one["version"]) for one in promoted] == [("promoted", 1), ("promoted", 2)]
    assert promoted[1]["metrics"]["accuracy"] > 0.8
    decisions = {d["decision"]["gate"]: d["decision"] for d in stack.json("decision", "reads", "2")}
    checks = {(gate, c["kind"]): c["verdict"] for gate, found in decisions.items() for c in found["checks"]}
    assert checks["candidate", "robustness"] == checks["staging", "parity"] == "pass"
    assert checks["champion", "non_inferiority"] == "pass"
    assert stack.json("audit", "reads", "--replay")["passed"]


def test_which_inputs_the_answers_come_from_is_kept_for_both(stack: Any, promoted: list[dict[str, Any]]) -> None:
    assert promoted[1]["version"] == 2
    store: ObjectStore = stack.adapters.store
    documents = [json.loads(store.get(info.key)) for info in store.list("attributions/")]
    ours = [one for one in documents if any(name.startswith("long-") or "-" in name for name in one["ids"])]
    both = next(one["models"] for one in ours if len(one["models"]) == 2)
    assert set(both) == {"candidate", "champion"}
    assert all(len(one["importance"]) == 2 for one in both.values())  # reader, words


def test_the_server_takes_rows_by_name_of_any_length(
    stack: Any, promoted: list[dict[str, Any]], tmp_path: Path
) -> None:
    assert promoted[1]["version"] == 2
    url = LocalServers(Path(stack.home)).url("reads")
    assert url is not None
    even, odd = {"reader": 30, "words": [0, 2, 4, 6, 8, 10]}, {"reader": 30, "words": [1, 3, 5]}
    reply = httpx.post(f"{url}/predict", json={"instances": [even, odd]}, timeout=120)
    assert reply.status_code == 200, reply.text
    likes, dislikes = (one["probabilities"]["yes"] for one in reply.json()["predictions"])
    assert likes > 0.6 > 0.5 > dislikes
    alone = httpx.post(f"{url}/predict", json={"instances": [odd]}, timeout=120).json()["predictions"]
    assert alone[0]["probabilities"]["yes"] == pytest.approx(dislikes, abs=1e-5)
    wrong = httpx.post(f"{url}/predict", json={"instances": [{**even, "words": [0, 999]}]}, timeout=120)
    assert (wrong.status_code, wrong.json()["field"]) == (422, "instances[0].words[1]")
    (tmp_path / "row.json").write_text(json.dumps({"instances": [even]}))
    assert stack.json("predict", "reads", str(tmp_path / "row.json"))["version"] == 2


def test_a_comparison_of_both_times_and_scores_them(stack: Any, promoted: list[dict[str, Any]]) -> None:
    assert promoted[1]["version"] == 2
    compared = stack.json("compare", "reads", "1", "2")
    assert compared["latency"]["a_ms"]["p50"] > 0
    assert compared["rows_from"].startswith("those of version 2")

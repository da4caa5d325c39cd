"""A user's own objective: counts with a Poisson loss, from raw objects to the served champion."""

from __future__ import annotations

import math
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from mlratchet.infra.serving.local import LocalServers

from tests.conftest import REPOSITORY

pytestmark = [pytest.mark.stack, pytest.mark.slow]


@pytest.fixture(scope="module")
def promoted(stack: Any) -> dict[str, Any]:
    """Version 1 of the example, as its docs say; two rows hold no count."""
    example = REPOSITORY / "docs" / "examples" / "counts"
    shutil.copy(example / "visits.py", stack.project)
    shutil.copy(example / "visits.yaml", stack.pipelines)
    subprocess.run([sys.executable, str(example / "make_rows.py"), "800"], cwd=stack.project, check=True)
    with (stack.project / "visits.csv").open("a") as sink:
        sink.write("0,0,0,-1\n0,0,0,1.5\n")
    stack("upload", "visits", "visits.csv")
    assert "is valid" in stack("validate", str(stack.pipelines / "visits.yaml")).stdout
    report: dict[str, Any] = stack.json("run", "visits")
    return report


def test_the_gates_judge_by_the_metric_that_the_objective_brings(stack: Any, promoted: dict[str, Any]) -> None:
    assert (promoted["outcome"], promoted["version"]) == ("promoted", 1)
    assert set(promoted["metrics"]) == {"poisson_deviance"}
    assert 0.8 < promoted["metrics"]["poisson_deviance"] < 1.6  # a model that knows the true rates is at about 1.1
    decisions = {d["decision"]["gate"]: d["decision"] for d in stack.json("decision", "visits", "1")}
    (check,) = [c for c in decisions["champion"]["checks"] if c["kind"] == "absolute"]
    assert (check["metric"], check["verdict"]) == ("poisson_deviance", "pass")
    (rejected,) = [c for c in decisions["data"]["checks"] if c["metric"] == "rejected_fraction"]
    assert rejected["value"] == pytest.approx(2 / 802)


def test_the_server_answers_the_rate(stack: Any, promoted: dict[str, Any]) -> None:
    assert promoted["outcome"] == "promoted"
    url = LocalServers(Path(stack.home)).url("visits")
    assert url is not None
    rows = [{"hour": hour, "price": 0, "rain": 0} for hour in (-1, 0, 1)]
    reply = httpx.post(f"{url}/predict", json={"instances": rows}, timeout=120)
    assert reply.status_code == 200, reply.text
    low, middle, high = (one["rate"] for one in reply.json()["predictions"])
    assert 0 < low < middle < high
    assert middle == pytest.approx(math.exp(0.8), rel=0.25)
    described = httpx.get(f"{url}/openapi.json", timeout=120).json()
    assert '"rate"' in str(described).replace("'", '"')


def test_its_decisions_can_be_judged_again(stack: Any, promoted: dict[str, Any]) -> None:
    assert promoted["outcome"] == "promoted"
    assert stack.json("audit", "visits", "--replay")["passed"]

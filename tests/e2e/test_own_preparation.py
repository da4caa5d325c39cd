"""A preparation of the user's own: edited between two versions, each answers by its own, also after a rollback."""

from __future__ import annotations

import json
import random
from typing import Any

import httpx
import pytest
from mlratchet.infra.serving.local import LocalServers

from tests.conftest import wait_for

pytestmark = [pytest.mark.stack, pytest.mark.slow]
FILE = """
name: till
schema:
  label: dear
  fields:
    price: {kind: number}
    dear: {kind: category, values: ["no", "yes"]}
preparation:
  own:
    money: {use: "till_prices:Money", fields: [price]}
source: {prefix: till/, format: csv}
train: {epochs: 6, global_batch_size: 32, shards: 1, processes: 1, optimizer: {learning_rate: 0.05}}
workload: {parameters: {hidden: [8]}}
gates:
  data: [{kind: data, measure: rows, minimum: 100}]
  candidate: [{kind: absolute, metric: accuracy, minimum: 0.7}]
  staging: [{kind: parity, maximum_difference: 0.0001}]
  champion: [{kind: absolute, metric: accuracy, minimum: 0.7}, {kind: non_inferiority, metric: accuracy, margin: 0.3}]
"""
OWN = """
import numpy as np
from mlratchet.models.preparation.base import Preparation, State
from mlratchet.models.tensors.named import Inputs
from mlratchet.models.tensors.spec import TensorSpec
from till_scale import SCALE


class Money(Preparation):
    def fit(self, pieces):
        return State(document={"dearest": max(max(piece["price"].to_pylist()) for piece in pieces())})

    def apply(self, examples, state):
        prices = np.asarray(examples["price"].to_pylist()) / state.document["dearest"]
        return Inputs({"money": (SCALE * (prices - 0.5)).astype(np.float32)[:, None]})

    def tensors(self, state):
        return (TensorSpec(name="money", shape=(1,), dtype="float32"),)
"""


def answers(stack: Any, version: int) -> Any:
    """Of the server, once it serves the version."""
    url = LocalServers(stack.home).url("till")
    rows = [{"price": price} for price in (1.0, 40.0, 60.0, 99.0)]

    def asked() -> Any:
        reply = httpx.post(f"{url}/predict", json={"instances": rows}, timeout=120)
        return reply.json() if reply.status_code == 200 and reply.json()["version"] == version else None

    return wait_for(f"version {version} to answer", asked)["predictions"]


def test_a_version_answers_by_the_code_that_it_was_made_with(stack: Any) -> None:
    rng = random.Random(0)
    prices = [round(rng.uniform(1, 100), 2) for _ in range(400)]
    rows = "".join(f"{price},{'yes' if price > 50 else 'no'}\n" for price in prices)
    (stack.project / "till.csv").write_text(f"price,dear\n{rows}")
    (stack.project / "till_prices.py").write_text(OWN)
    (stack.project / "till_scale.py").write_text("SCALE = 2.0\n")
    (stack.pipelines / "till.yaml").write_text(FILE)
    stack("upload", "till", "till.csv")
    assert stack.json("run", "till")["outcome"] == "promoted"
    first = answers(stack, 1)
    assert [one["class"] for one in first] == ["no", "no", "yes", "yes"]
    (stack.project / "till_scale.py").write_text("SCALE = -3.0\n")
    report = stack.json("run", "till")
    assert (report["outcome"], report["version"]) == ("promoted", 2)
    decisions = {d["decision"]["gate"]: d["decision"] for d in stack.json("decision", "till", "2")}
    compared = next(c for c in decisions["champion"]["checks"] if c["kind"] == "non_inferiority")
    assert compared["verdict"] == "pass", compared  # both were asked, each through its own
    assert [one["class"] for one in answers(stack, 2)] == ["no", "no", "yes", "yes"]
    (stack.project / "till_scale.py").unlink()
    stack("rollback", "till")
    assert json.dumps(answers(stack, 1)) == json.dumps(first)

"""A schema changes between two runs: the champion is asked through its own signature, whatever the file lists now."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.stack, pytest.mark.slow]
FILE = """
name: order
workload:
  use: mlratchet.models.workloads.tabular:TableClassifier
  parameters: {columns: [a, b], classes: [low, mid, high], hidden: 8}
source: {prefix: order/, label_column: label}
train: {epochs: 6, global_batch_size: 64, processes: 1, optimizer: {name: adam, learning_rate: 0.02}}
gates:
  data:
    - {kind: data, measure: rows, minimum: 100}
  candidate:
    - {kind: absolute, metric: accuracy, minimum: 0.1}
  staging:
    - {kind: parity, maximum_difference: 0.0001}
  champion:
    - {kind: absolute, metric: accuracy, minimum: 0.1}
    - {kind: non_inferiority, metric: accuracy, margin: 0.05}
"""
MEANS = {"low": -3.0, "mid": 0.0, "high": 3.0}


@pytest.fixture(scope="module")
def champion(stack: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Version 1 of a pipeline over 1,500 rows of two numbers and three classes."""
    draw, lines = random.Random(1), ["a,b,label"]
    for _ in range(1500):
        name = draw.choice(list(MEANS))
        lines.append(f"{draw.gauss(MEANS[name], 1):.5f},{draw.gauss(0, 1):.5f},{name}")
    rows: Path = tmp_path_factory.mktemp("rows") / "order.csv"
    rows.write_text("\n".join(lines))
    (stack.pipelines / "order.yaml").write_text(FILE)
    stack("upload", "order", str(rows))
    report: dict[str, Any] = stack.json("run", "order", "--local")
    assert (report["outcome"], report["version"]) == ("promoted", 1)
    return report


def rerun(stack: Any, *changes: tuple[str, str], code: int) -> dict[str, Any]:
    """A run of the file with these changes."""
    text = FILE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (stack.pipelines / "order.yaml").write_text(text)
    report: dict[str, Any] = stack.json("run", "order", "--local", "--set", "train.warm_start=none", code=code)
    return report


WEAKER = [("epochs: 6", "epochs: 1"), ("learning_rate: 0.02", "learning_rate: 0.0005")]


@pytest.mark.parametrize(
    "change",
    [("[low, mid, high]", "[high, mid, low]"), ("[a, b]", "[b, a]"), ("[low, mid, high]", "[low, new, mid, high]")],
)
def test_a_weaker_model_with_another_layout_replaces_nobody(
    stack: Any, champion: dict[str, Any], change: tuple[str, str]
) -> None:
    report = rerun(stack, change, *WEAKER, code=4)
    assert report["outcome"] == "stopped_by_gate"
    assert report["metrics"]["accuracy"] < champion["metrics"]["accuracy"] - 0.1
    assert "gain over the champion -" in str(report)
    assert stack.json("champion", "order")["version"] == 1


def test_a_column_less_moves_no_row_and_the_champion_still_gets_it(stack: Any, champion: dict[str, Any]) -> None:
    """Clients that still send the column are refused, which the file must allow."""
    parity = "    - {kind: parity, maximum_difference: 0.0001}\n"
    allowed = f"{parity}    - {{kind: contract, breaking: [b]}}\n"
    report = rerun(stack, ("[a, b]", "[a]"), (parity, allowed), code=0)
    assert report["outcome"] == "promoted"
    assert report["champion_before"] == 1
    said = stack("decision", "order", str(report["version"])).stdout
    assert "rows left out" not in said
    assert "gain over the champion" in said
    stack("rollback", "order", "--to", "1")  # the champion of the other tests, whatever their order


SENTENCES = '''
"""Bags of the most common words of the delivery that is read: another delivery codes the same sentence anew."""
import json
from collections import Counter

import numpy as np
from mlratchet.models.workloads.base import InputSpec, Record, Workload
from torch import nn


class Sentences(Workload):
    task = "classification"

    def class_names(self):
        return ("sea", "land")

    def input_spec(self):
        return InputSpec(kind="tensor", shape=(6,), dtype="float32")

    def records(self, objects, fetch, source):
        rows = [json.loads(line) for item in objects for line in fetch(item).decode().splitlines()]
        counts = Counter(word for row in rows for word in row["text"].split())
        words = [word for word, _ in sorted(counts.items(), key=lambda one: (-one[1], one[0]))[:6]]
        for row in rows:
            said = row["text"].split()
            x = np.asarray([float(said.count(word)) for word in words], dtype=np.float32)
            yield Record(id=row["id"], x=x, y=self.class_names().index(row["label"]), raw_digest=row["text"])

    def build_model(self):
        return nn.Linear(6, 2)
'''
WORDS = {"sea": ("boat", "wave", "salt"), "land": ("tree", "road", "barn")}


def sentences(stack: Any, first: int, count: int, favourite: str = "") -> str:
    """A file of sentences, each of two words of its class; `favourite` stands in every one of them, too."""
    draw, lines = random.Random(first), []
    for number in range(first, first + count):
        label = draw.choice(list(WORDS))
        text = " ".join([*draw.sample(WORDS[label], 2), *([favourite] * 3 if favourite else [])])
        lines.append(json.dumps({"id": f"s{number}", "text": text, "label": label}))
    file: Path = stack.project / f"sentences-{first}.jsonl"
    file.write_text("\n".join(lines))
    return str(file)


def test_a_vocabulary_counted_anew_compares_nothing_and_new_sides_begin_fresh(stack: Any) -> None:
    (stack.project / "sentences.py").write_text(SENTENCES)
    text = FILE.replace("name: order", "name: sentences").replace("order/, label_column: label", "sentences/")
    text = text.replace("mlratchet.models.workloads.tabular:TableClassifier", "sentences:Sentences")
    text = text.replace("  parameters: {columns: [a, b], classes: [low, mid, high], hidden: 8}\n", "")
    file = stack.pipelines / "sentences.yaml"
    file.write_text(text.replace("epochs: 6", "epochs: 1"))
    stack("upload", "sentences", sentences(stack, 0, 400))
    first = stack.json("run", "sentences", "--local")
    assert (first["outcome"], first["training"]["began_fresh"]) == ("promoted", "")

    stack("upload", "sentences", sentences(stack, 400, 100, favourite="salt"))
    file.write_text(file.read_text() + "data: {split: {salt: other sides}}\n")
    said = stack("run", "sentences", "--local", code=4).stdout
    assert "champion gate: inconclusive" in said
    assert "rows prepare to other inputs than when it was trained (s" in said
    assert "and their raw cells are the same: the preparation changed, so nothing can be compared" in said
    assert "begins fresh, not from the champion: version 1 was trained on " in said
    assert "begins fresh, not from the champion: version 1" in stack("decision", "sentences", "2").stdout
    assert stack.json("champion", "sentences")["version"] == 1

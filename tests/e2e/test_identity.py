"""What moves an identity and what does not, on the road: a module that the workload imports, a file that it declares,
a gate's function, and Ratchet's own code."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.stack, pytest.mark.slow]

REPOSITORY = Path(__file__).parents[2]
NAME = "made-of"
WORKLOAD = """
from layers import net
from mlratchet.models.workloads.tabular import TableClassifier

class MadeOf(TableClassifier):
    files = ("words.json",)

    def build_model(self):
        return net()
"""
LAYERS = """
from torch import nn

def net():
    return nn.Sequential(nn.Linear(10, 5), nn.ReLU(), nn.Linear(5, 2))
"""
GATE = """
def judge(evidence):
    n = len(evidence.candidate.ids)
    return {"value": n, "verdict": "fail", "reason": f"{n} rows", "n": n}
"""
CHECK = "    - {kind: custom, function: 'made_of_gate:judge'}\n"


class Journey:
    """A project whose files are edited between runs, and a copy of Ratchet that a run may be told to use."""

    def __init__(self, stack: Any, folder: Path) -> None:
        self.stack, self.folder = stack, folder
        for room in ("flows", "tasks", "infra", "models"):
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(REPOSITORY / room, folder / "mlratchet" / room, ignore=ignore)
        for file, text in {
            "made_of.py": WORKLOAD, "layers.py": LAYERS, "made_of_gate.py": GATE, "words.json": "[]",
        }.items():  # fmt: skip
            (stack.project / file).write_text(text)
        stack.pipeline(
            NAME,
            "use: two_layers:TwoLayers -> use: made_of:MadeOf",
            "epochs: 20 -> epochs: 5",
            "processes: 2 -> processes: 1",
            "  staging: -> " + CHECK + "  staging:",
        )
        stack("upload", NAME, "rows.csv")

    def edit(self, file: str, old: str, new: str) -> None:
        """Of the project."""
        path = self.stack.project / file
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    def edit_ratchet(self, file: str, more: str) -> None:
        """In the copy."""
        with (self.folder / "mlratchet" / "models" / file).open("a") as opened:
            opened.write(more)

    def run(self, code: int = 0, **environment: str) -> dict[str, Any]:
        report: dict[str, Any] = self.stack.json("run", NAME, "--local", code=code, **environment)
        return report


def test_an_edit_moves_what_it_decides_and_a_comment_moves_nothing(stack: Any, tmp_path: Path) -> None:
    journey = Journey(stack, tmp_path)
    stopped = journey.run(code=4)
    assert (stopped["gates"][-1]["gate"], stopped["gates"][-1]["verdict"]) == ("candidate", "fail")

    # a mended gate function is asked again, and nothing trains
    journey.edit("made_of_gate.py", '"fail"', '"pass"')
    first = journey.run()
    assert (first["outcome"], first["version"]) == ("promoted", 1)
    assert (first["work_key"], first["why"]) == (stopped["work_key"], "")
    assert first["training"]["mlflow_run"] == stopped["training"]["mlflow_run"]

    # comments, another built-in workload, and where Ratchet lies
    journey.edit("layers.py", "def net():", 'def net():\n    """The network."""  # in a module of its own')
    journey.edit_ratchet("training/loop.py", "\n# a comment\n")
    journey.edit_ratchet("workloads/vision.py", "\nANOTHER = 1\n")
    same = journey.run(PYTHONPATH=str(tmp_path))
    assert (same["outcome"], same["work_key"]) == ("unchanged", first["work_key"])

    # the network, the words and the rule of the split
    journey.edit("layers.py", "nn.ReLU()", "nn.GELU()")
    journey.edit("words.json", "[]", '["one"]')
    journey.edit_ratchet("data/split.py", "\nANOTHER = 1\n")
    again = stack("run", NAME, "--local", PYTHONPATH=str(tmp_path)).stdout
    assert (
        "trains anew, since version 1 was trained from other parts: code of layers; file made_of/words.json; "
        "Ratchet's own code that makes datasets" in again
    )
    assert "version 2 is champion" in again

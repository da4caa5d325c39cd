"""From a table that nobody prepared to a served champion: `ratchet init`, `upload`, `run`, and no line by hand."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from sklearn.datasets import load_wine

pytestmark = [pytest.mark.stack, pytest.mark.slow]


def test_an_unknown_table_becomes_a_champion_by_three_commands(stack: Any, tmp_path: Path) -> None:
    wine = load_wine()
    names = [*[f"Größe {name}" for name in wine.feature_names[:-1]], "Preis (€)", "Sorte"]
    file = tmp_path / "Wein 2026.csv"
    with file.open("w", newline="", encoding="utf-8-sig") as sink:
        writer = csv.writer(sink, delimiter=";")
        writer.writerow(names)
        for values, target in zip(wine.data.tolist(), wine.target.tolist(), strict=True):
            writer.writerow([*(str(value).replace(".", ",") for value in values), ["rot", "NO", "weiß"][target]])
    drafted = stack.json("init", str(file), "--name", "wein")
    assert "is valid" in stack("validate", drafted["file"]).stdout
    stack("upload", "wein", str(file))
    report = stack.json("run", "wein", "--local")
    assert (report["outcome"], report["version"]) == ("promoted", 1)
    assert report["metrics"]["accuracy"] > 0.9
    (tmp_path / "row.json").write_text(json.dumps(dict(zip(names[:-1], wine.data[0].tolist(), strict=True))))
    answer = stack.json("predict", "wein", str(tmp_path / "row.json"))["predictions"][0]
    assert answer["class"] == "rot"

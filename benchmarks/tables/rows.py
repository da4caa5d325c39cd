"""Rows of benchmarks/results/."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent.parent / "results"


def newest(
    claim: str, *keys: str, file: str | None = None, where: Callable[[dict[str, Any]], bool] = lambda _: True
) -> list[dict[str, Any]]:
    """The last row per combination of `keys`. `file`: one that holds the rows of several claims; `where`: of which
    rows."""
    path = RESULTS / f"{file or claim}.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
    rows = [row for row in rows if (file is None or row["claim"] == claim) and where(row)]
    return list({tuple(row[k] for k in keys): row for row in rows}.values())


def table(names: str, rows: Iterable[Iterable[object]]) -> list[str]:
    """Lines of a table behind a blank one. `names` of the columns, parted by ` | `."""
    columns = names.split(" | ")
    cut = [f"| {names} |", "|" + "---|" * len(columns)]
    return ["", *cut, *("| " + " | ".join(map(str, row)) + " |" for row in rows)]


def about(row: dict[str, Any]) -> str:
    return f"{row['date']}, torch {row['torch']}, {row['cores']} cores, load {row['load']:.1f}"

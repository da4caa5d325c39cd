"""Two answers to one request, or an answer and its label: the same, or how far apart."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

UNLIKE = math.inf  # answers that have no distance


def apart(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> float:
    """0 for the same class or labels, the distance of two numbers, `UNLIKE` for everything else that differs."""
    for field in ("class", "labels"):
        if field in ours or field in theirs:
            return 0.0 if _plain(ours.get(field)) == _plain(theirs.get(field)) else UNLIKE
    a, b = number_in(ours), number_in(theirs)
    if a is not None and b is not None:
        return abs(a - b)
    return 0.0 if ours == theirs else UNLIKE


def is_right(answer: Mapping[str, Any], label: str, tolerance: float) -> bool | None:
    """Whether an answer is what the label says; None where that cannot be told. `tolerance`: of a number."""
    if "class" in answer:
        return str(answer["class"]) == label
    if "labels" in answer:
        return bool(_plain(answer["labels"]) == _labels(label))
    value = number_in(answer)
    try:
        return None if value is None else abs(value - float(label)) <= tolerance
    except ValueError:
        return None


def number_in(answer: Mapping[str, Any]) -> float | None:
    """Of an answer that is one number."""
    values = list(answer.values())
    one = values[0] if len(values) == 1 else None
    return float(one) if isinstance(one, int | float) and not isinstance(one, bool) else None


def _plain(value: Any) -> Any:
    return sorted(map(str, value)) if isinstance(value, list) else value


def _labels(text: str) -> list[str]:
    """Of JSON, or names with commas between them."""
    try:
        found = json.loads(text)
    except ValueError:
        found = [part.strip() for part in text.split(",") if part.strip()]
    return sorted(map(str, found)) if isinstance(found, list) else [text]

"""Findings for tests."""

from __future__ import annotations

from typing import Any

from mlratchet.models.monitoring.finding import Finding, WindowSpan

HOUR = 3600.0


def finding(number: int = 1, **changes: Any) -> Finding:
    """Of window `number`, an hour each: an alarm on accuracy, unless changed."""
    whole = changes.pop("whole", True)
    span = WindowSpan(from_s=number * HOUR, to_s=(number + 1) * HOUR, rows=500, files=("a" * 64,), whole=whole)
    facts: dict[str, Any] = {
        "pipeline": "digits", "version": 3, "generation": 4, "window": span, "kind": "quality",
        "subject": "accuracy on region=eu", "severity": "alarm", "measure": "accuracy", "n": 120,
        "threshold": ">= 0.90", "method": "e-detector",
        "words": "accuracy on eu fell below 0.90", "policy": "b" * 64, "at_s": span.to_s,
    }  # fmt: skip
    return Finding(**{**facts, **changes})

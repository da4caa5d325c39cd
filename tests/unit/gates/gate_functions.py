"""Functions that the policies of these tests name."""

from __future__ import annotations

from typing import Any

CALLS: list[str] = []


def halves(rows: Any) -> list[str]:
    return ["first" if i < len(rows.ids) // 2 else "second" for i in range(len(rows.ids))]


def too_short(rows: Any) -> list[str]:
    return ["one"]


def breaks(rows: Any) -> list[str]:
    raise RuntimeError("no such luck")


def agrees(evidence: Any, at_least: int = 1) -> dict[str, Any]:
    n = 0 if evidence.candidate is None else len(evidence.candidate.ids)
    return {"value": n, "verdict": "pass" if n >= at_least else "fail", "reason": f"{n} rows", "n": n}


def answers(evidence: Any, answer: Any = None) -> Any:
    return answer


def nan(evidence: Any) -> dict[str, Any]:
    return {"value": float("nan"), "verdict": "pass", "reason": "trust me"}


def raises(evidence: Any) -> dict[str, Any]:
    raise KeyError("nothing here")


def leaves(evidence: Any) -> dict[str, Any]:
    raise SystemExit(0)


def improves_the_candidate(evidence: Any) -> dict[str, Any]:
    evidence.candidate.output[:] = 0
    return {"value": 1, "verdict": "pass", "reason": "better now"}

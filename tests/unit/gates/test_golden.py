"""What checks say does not change with how they are written: canonical bytes, verdicts, words and numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import pytest

from tests.unit.gates.golden import cases


@pytest.fixture(scope="module")
def recorded() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(cases.FILE.read_text())
    return found


@pytest.fixture(scope="module")
def now() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(cases.everything()))
    return found


def differences(a: Any, b: Any, path: str = "") -> Iterator[str]:
    """Floats may differ by the last bits of another machine's arithmetic."""
    if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
        for key in a:
            yield from differences(a[key], b[key], f"{path}.{key}")
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for number, (one, other) in enumerate(zip(a, b, strict=True)):
            yield from differences(one, other, f"{path}.{number}")
    elif isinstance(a, float) and isinstance(b, float):
        if not math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9):
            yield f"{path}: {a!r}, recorded {b!r}"
    elif a != b:
        yield f"{path}: {a!r}, recorded {b!r}"


@pytest.mark.parametrize("part", ["policy", "digest", "again", "results", "warnings", "wrong", "power", "demands"])
def test_checks_say_what_they_said(now: dict[str, Any], recorded: dict[str, Any], part: str) -> None:
    assert list(differences(now[part], recorded[part])) == []


def test_every_kind_is_recorded(recorded: dict[str, Any]) -> None:
    judged = {check["kind"] for result in recorded["results"].values() for check in result["checks"]}
    declared = {check["kind"] for checks in cases.GATES.values() for check in checks}
    assert declared <= judged
    assert len(declared) == 19

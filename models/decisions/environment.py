"""The environment of a decision: what must be equal for every statistic to come out to the last bit."""

from __future__ import annotations

import hashlib
import platform
from functools import cache
from importlib.metadata import version
from pathlib import Path

import mlratchet.models.evaluation
import mlratchet.models.gates
import mlratchet.models.metrics

PACKAGES = ("torch", "numpy", "scipy", "scikit-learn", "mlratchet")


@cache
def judging_source_digest() -> str:
    """SHA-256 hex of the source of the packages that measure and judge."""
    hasher = hashlib.sha256()
    for package in (mlratchet.models.metrics, mlratchet.models.evaluation, mlratchet.models.gates):
        for folder in package.__path__:
            root = Path(folder)
            for path in sorted(root.rglob("*.py")):
                hasher.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes() + b"\0")
    return hasher.hexdigest()


@cache
def _environment() -> tuple[tuple[str, str], ...]:
    versions = [(name, version(name)) for name in PACKAGES]
    return (*versions, ("python", platform.python_version()), ("platform", f"{platform.system()}-{platform.machine()}"))


def environment() -> dict[str, str]:
    """Versions of what computes, and the kind of machine."""
    return dict(_environment())

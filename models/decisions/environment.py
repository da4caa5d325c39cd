"""The environment of a decision: what must be equal for every statistic to come out to the last bit."""

from __future__ import annotations

import platform
from functools import cache
from importlib.metadata import version

from mlratchet.models.identity.product import JUDGEMENT

PACKAGES = ("torch", "numpy", "scipy", "scikit-learn", "mlratchet")


@cache
def judging_source_digest() -> str:
    """SHA-256 hex of what Ratchet's modules do that measure and judge."""
    return JUDGEMENT.digest()


@cache
def _environment() -> tuple[tuple[str, str], ...]:
    versions = [(name, version(name)) for name in PACKAGES]
    return (*versions, ("python", platform.python_version()), ("platform", f"{platform.system()}-{platform.machine()}"))


def environment() -> dict[str, str]:
    """Versions of what computes, and the kind of machine."""
    return dict(_environment())

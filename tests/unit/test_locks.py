"""The locks are whole on every Python 3.11, not only on the one they were made with."""

from __future__ import annotations

import re
from importlib.metadata import distribution

import pytest
from packaging.requirements import Requirement

from tests.conftest import REPOSITORY

LOCKS = ("requirements.lock", "requirements-test.lock")
RELEASES = ("3.11.0", "3.11.2", "3.11.7", "3.11.14")  # Debian 12 has 3.11.2


def normal(name: str) -> str:
    """One spelling per package (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def locked() -> dict[str, str]:
    """Package -> pinned release, of both locks."""
    lines = [line.strip() for lock in LOCKS for line in (REPOSITORY / lock).read_text().splitlines()]
    return {normal(name): release for name, _, release in (line.partition("==") for line in lines) if release}


@pytest.mark.parametrize("release", RELEASES)
def test_what_a_locked_package_requires_is_locked(release: str) -> None:
    """The locks are installed without resolving, so what they lack is missing."""
    pins = locked()
    here = {"python_version": "3.11", "python_full_version": release, "extra": ""}  # laid over this machine's
    missing = []
    for name in pins:
        for line in distribution(name).requires or ():
            wanted = Requirement(line)
            if wanted.marker is not None and not wanted.marker.evaluate(here):
                continue
            pin = pins.get(normal(wanted.name))
            if pin is None or not wanted.specifier.contains(pin.split("+")[0], prereleases=True):
                missing.append(f"{name} wants {wanted}, locked is {pin}")
    assert not missing

"""Fixtures of several rooms; a unit test starts no server of Prefect's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from prefect.settings import PREFECT_SERVER_ALLOW_EPHEMERAL_MODE, temporary_settings

from tests.unit.audit.conftest import world

__all__ = ["world"]


@pytest.fixture(scope="session", autouse=True)
def no_server_of_prefect() -> Iterator[None]:
    """Whoever asks Prefect outside of a run would wait for a temporary server; here it is an error."""
    with temporary_settings({PREFECT_SERVER_ALLOW_EPHEMERAL_MODE: False}):
        yield

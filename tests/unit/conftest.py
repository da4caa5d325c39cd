"""Fixtures of several rooms; a unit test starts no server of Prefect's. As in `tests/conftest.py`, what takes long to
import is imported where it is used."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from mlratchet.models.metrics.rows import RowOutputs

    from tests.unit.audit.conftest import World


@pytest.fixture(scope="session", autouse=True)
def no_server_of_prefect() -> Iterator[None]:
    """Whoever asks Prefect outside of a run would wait for a temporary server; here it is an error."""
    from prefect.settings import PREFECT_SERVER_ALLOW_EPHEMERAL_MODE, temporary_settings

    with temporary_settings({PREFECT_SERVER_ALLOW_EPHEMERAL_MODE: False}):
        yield


@pytest.fixture(scope="session")
def whole_world(classified: Callable[..., RowOutputs]) -> World:
    """A pipeline with a history, which nobody changes."""
    from tests.unit.audit.conftest import made_world

    return made_world(classified)


@pytest.fixture
def world(whole_world: World) -> World:
    """A copy of it, which may be changed."""
    return whole_world.copied()

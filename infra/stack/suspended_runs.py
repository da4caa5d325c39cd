"""Runs that ended their process to wait for people: which of them the worker takes up again, and why."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from mlratchet.infra.settings import Settings, load_settings
from mlratchet.models.errors import RatchetError
from prefect.client.schemas.objects import FlowRun

if TYPE_CHECKING:
    from mlratchet.models.identity.signed_records import RecordStore

SUSPENDED = "Suspended"  # the name of their state

logger = logging.getLogger(__name__)


def asks(run: FlowRun) -> bool:
    """Whether a run has suspended itself: then there is a form."""
    return run.state is not None and run.state.state_details.run_input_keyset is not None


class SuspendedRuns:
    """Asks the bucket about runs. `home`: of the stack; its bucket is opened when the first run waits."""

    def __init__(self, home: Path) -> None:
        self._home = home

    @cached_property
    def _settings(self) -> Settings:
        return load_settings(self._home)

    @cached_property
    def _store(self) -> RecordStore:
        from mlratchet.infra.keys.files import InstalledKeys
        from mlratchet.infra.storage.opening import open_bucket
        from mlratchet.models.identity.signed_records import RecordStore

        return RecordStore(open_bucket(self._settings), InstalledKeys(self._settings))

    def due(self, runs: Iterable[FlowRun]) -> dict[UUID, str]:
        """Run -> why it goes on now. What cannot be looked up waits, and is asked again; a run that a person suspended
        waits for that person."""
        found = {}
        for run in filter(asks, runs):
            try:
                why = self._why(str(run.parameters.get("pipeline", "")), str(run.id))
            except (RatchetError, OSError) as error:
                logger.warning("run %s waits on: %s", run.name, error)
                continue
            if why:
                found[run.id] = why
        return found

    def _why(self, pipeline: str, run: str) -> str:
        from mlratchet.infra.keys.files import load_trusted, trusted_keys_file
        from mlratchet.models.decisions.waiting import goes_on

        trusted = load_trusted(trusted_keys_file(self._settings))
        return goes_on(self._store, trusted, pipeline, run, now_s=time.time())

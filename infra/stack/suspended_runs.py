"""Runs that ended their process to wait: for people, or for their version's canary. Which of them the worker takes up
again, and why."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from mlratchet.infra.settings import Settings, load_settings
from mlratchet.models.decisions.waiting import IN_CANARY
from mlratchet.models.errors import RatchetError
from prefect.client.schemas.objects import FlowRun

if TYPE_CHECKING:
    from mlratchet.models.decisions.waiting import WaitingRun
    from mlratchet.models.identity.signed_records import RecordStore
    from mlratchet.models.inference_log.config import LabelsConfig
    from mlratchet.models.ports.storage import ObjectStore
    from mlratchet.models.serving.canary_reader import CanaryReader

SUSPENDED = "Suspended"  # the name of their state
LOOK_S = 5.0  # seconds between two looks at a canary, and
REST = 5.0  # times as long as the last look took

logger = logging.getLogger(__name__)


def asks(run: FlowRun) -> bool:
    """Whether a run has suspended itself: then there is a form, or it says that its version is in its canary."""
    if run.state is None:
        return False
    details = run.state.state_details
    return details.run_input_keyset is not None or (details.pause_key or "").startswith(IN_CANARY)


class SuspendedRuns:
    """Asks the bucket about runs. `home`: of the stack; its bucket is opened when the first run waits."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._next_look: dict[str, float] = {}  # run in its canary -> when to look again, by the monotonic clock
        self._readers: dict[str, CanaryReader] = {}  # pipeline -> what the looks at its canary have read

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
        from mlratchet.models.decisions.waiting import goes_on, waiting_of

        waiting = waiting_of(self._store, pipeline, run, now_s=time.time())
        if waiting is not None and waiting.watch:
            return self._why_canary(waiting)
        trusted = load_trusted(trusted_keys_file(self._settings))
        return goes_on(self._store, trusted, pipeline, run, now_s=time.time())

    def _why_canary(self, waiting: WaitingRun) -> str:
        """A look reads the log, and takes no more than a small part of this process's time."""
        began = time.monotonic()
        if began < self._next_look.get(waiting.run, 0.0):
            return ""
        from mlratchet.infra.keys.files import InstalledKeys
        from mlratchet.infra.ledger.heads import open_heads
        from mlratchet.infra.ledger.objects import ObjectLedger
        from mlratchet.models.serving.canary_look import canary_goes_on
        from mlratchet.models.serving.canary_reader import CanaryReader

        heads, keys = open_heads(self._settings, writes=False), InstalledKeys(self._settings)
        reader = self._readers.setdefault(waiting.pipeline, CanaryReader(self._store, keys, self._labels_in))
        why = canary_goes_on(
            self._store,
            reader,
            ObjectLedger(self._store, keys, heads).chain(waiting.pipeline),
            waiting,
            seen=heads.mark(waiting.pipeline, "canary"),
            now_s=time.time(),
        )
        if why:  # it is over, or another process goes on with it
            del self._readers[waiting.pipeline]
        took_s = time.monotonic() - began
        self._next_look[waiting.run] = time.monotonic() + max(LOOK_S, took_s * REST)
        return why

    def _labels_in(self, labels: LabelsConfig) -> ObjectStore | None:
        from mlratchet.infra.storage.opening import open_bucket

        return open_bucket(self._settings, labels.bucket or self._settings.raw_bucket) if labels.prefix else None

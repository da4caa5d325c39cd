"""Whether a run that is not over can still end."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from mlratchet.models.errors import InfrastructureError
from mlratchet.models.identity.lease import RENEW_S, lease_key, server_now
from mlratchet.models.ports.storage import ObjectNotFound, ObjectStore, StorageError

SILENT_S = 180.0  # without a sign of life: twice what Prefect's automation waits for a heartbeat
STARTING_S = 900.0  # the same for a run that a worker has taken and that has not begun: a container may be pulled
PATIENCE_S = {"RUNNING": SILENT_S, "CANCELLING": SILENT_S, "PENDING": STARTING_S}  # by Prefect's type of state


class SignOfLife:
    """Signs of life of one run, for whoever waits for its end.

    Prefect marks a run as crashed when its process is gone, but not where it cannot write: with a full disk the run is
    `Running` for ever. A run that lives renews its lease; and it cannot end while the store takes no objects.
    """

    def __init__(
        self, store: ObjectStore, run_id: str, command: str, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`command`: that was asked for the run, and resumes it."""
        self._store, self._clock = store, clock
        self._lease = lease_key(run_id)
        self._resume = f"`ratchet status` says what is down; then `{command}` resumes run {run_id}"
        self._progress: object = None
        self._renewed: float | None = None  # by the store's clock
        self._moved = self._looked = self._taken = clock()
        self._refusal: StorageError | None = None

    def check(self, state: str, progress: object) -> None:
        """Call it often; the store is asked every `RENEW_S`. `state` is Prefect's type of the run's state, `progress`
        whatever differs while a run gets on.

        Raises ``StorageError`` when the store has refused objects for `SILENT_S`, and ``InfrastructureError`` when the
        run has been silent for the `PATIENCE_S` of its state. One that waits for a worker or a person may be silent.
        """
        now = self._clock()
        patience_s = PATIENCE_S.get(state, math.inf)
        if math.isinf(patience_s) or (state, progress) != self._progress:
            self._progress, self._moved = (state, progress), now
        if now - self._looked < RENEW_S:
            return
        self._looked = now
        self._ask_store(now)
        if self._refusal is not None and now - self._taken >= SILENT_S:
            raise StorageError(f"for {SILENT_S:.0f} s: {self._refusal}; no run can end meanwhile; {self._resume}")
        if now - self._moved >= patience_s:
            raise InfrastructureError(
                f"Prefect calls the run {state.lower()}, but it has given no sign of life for {patience_s:.0f} s: its "
                f"process is gone or stopped, or Prefect cannot record its end; {self._resume}"
            )

    def _ask_store(self, now: float) -> None:
        """Does it take objects, and has the run renewed its lease?"""
        try:
            server_now(self._store)
            self._taken, self._refusal = now, None
            renewed = self._store.head(self._lease).modified_s
        except ObjectNotFound:  # before the first step and after the last one
            return
        except StorageError as error:
            self._refusal = error
            return
        if renewed != self._renewed:
            self._renewed, self._moved = renewed, now

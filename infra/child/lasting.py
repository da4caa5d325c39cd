"""A child that is asked again and again: for a process that has to answer faster than a new process starts."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from mlratchet.infra.child.call import Conversation, Output, answer_in, own_environment, request_of
from mlratchet.infra.child.lent_store import Lender
from mlratchet.infra.child.start import end, start_alone
from mlratchet.infra.machine.temporary import temporary_folder
from mlratchet.models.ports.children import MINUTES_10, Rights
from mlratchet.models.ports.storage import ObjectStore

logger = logging.getLogger(__name__)


class LastingChild:
    """The children port over one process, which begins with the first call, and anew after one that it did not answer.
    It ends with this object, and with this process. Thread-safe: one call after the other."""

    def __init__(self, *, closed: tuple[Path, ...], most_s: float, log: Callable[[str], None] | None = None) -> None:
        """`closed`: never read by it. `most_s`: seconds that any call may take, whatever it asks for."""
        self._closed, self._most_s = closed, most_s
        self._log = log or (lambda line: logger.warning("%s", line))
        self._lock = threading.Lock()
        self._begun = ExitStack()
        self._running: tuple[Conversation, Path] | None = None

    def call(
        self,
        function: str,
        request: Mapping[str, Any],
        *,
        scratch: Path | None = None,
        store: ObjectStore | None = None,
        rights: Rights = Rights(),  # noqa: B008 - frozen, and it allows nothing
        reads: tuple[Path, ...] = (),
        time_limit_s: float = MINUTES_10,
    ) -> Any:
        """See the port; its scratch is its own, and it reads no more than at its first call."""
        if scratch is not None or reads:
            raise ValueError("a child that lasts takes neither scratch nor reads")
        with self._lock:
            conversation, folder = self._running or self._begin()
            asked = request_of(function, request, scratch=folder, store=store, closed=self._closed, lasting=True)
            limit_s = min(time_limit_s, self._most_s)
            try:
                head = conversation.run(asked, Lender(store, rights), limit_s, to_be_continued=True)
            except BaseException:
                self._end()
                raise
        return answer_in(head)

    def _begin(self) -> tuple[Conversation, Path]:
        folder = Path(self._begun.enter_context(temporary_folder("child")))
        ours, theirs = socket.socketpair()
        read, write = os.pipe()
        self._begun.enter_context(ours)
        output = self._begun.enter_context(Output(read, self._log))
        try:
            with theirs:
                child = start_alone(theirs, own_environment(folder), write)
        finally:
            os.close(write)
        self._begun.callback(end, child)
        self._running = Conversation(ours, output, child), folder
        return self._running

    def _end(self) -> None:
        self._running = None
        self._begun.close()

    def __del__(self) -> None:
        self._end()

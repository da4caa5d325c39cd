"""The server's connection to the log writer: what the logs of its pipelines hold is sent by a thread of its own.

Nothing here is waited for on behalf of a request: neither the writer nor S3 nor a disk.
"""

from __future__ import annotations

import logging
import secrets
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path

import orjson
from mlratchet.infra.inference_log.pipeline_log import PipelineLog, SchemaOf, Waiting
from mlratchet.infra.inference_log.socket import connect, send_whole
from mlratchet.models.inference_log.config import LogConfig
from mlratchet.models.inference_log.frames import Frame, count_frame, hello_frame

logger = logging.getLogger(__name__)

EVERY_S = 0.1  # between two looks at the queues
SEND_S = 5.0  # for a frame; a writer that takes longer is connected to anew
AGAIN_S = 0.5  # between two tries to connect
LAST_WORDS_S = 5.0  # of a server that ends


class LogClient:
    """One connection of a server process for all of its pipelines, and the thread that fills it."""

    def __init__(self, home: Path) -> None:
        self._home, self._server = home, secrets.token_hex(8)
        self._wake, self._stopping = threading.Event(), threading.Event()
        self._logs: dict[str, PipelineLog] = {}
        self._over: list[PipelineLog] = []  # all of them, once this process ends
        self._connection: socket.socket | None = None
        self._pending: deque[Waiting] = deque()
        self._planned: set[tuple[str, int]] = set()  # of which the writer that is connected was told
        self._counted: set[str] = set()  # pipelines whose count it was given
        self._replies = b""
        self._not_before = 0.0
        self._last_words_s = LAST_WORDS_S
        self._thread = threading.Thread(target=self._run, name="inference-log", daemon=True)

    def take_up(self, pipeline: str, config: LogConfig, schema_of: SchemaOf, *, read_s: float) -> PipelineLog:
        """The log of a pipeline that is served from now on, or in another way: its numbers go on, as long as this
        process lives. `read_s`: seconds that a request may take to arrive."""
        log = self._logs.get(pipeline)
        if log is None:
            log = self._logs[pipeline] = PipelineLog(pipeline, config, schema_of, self._wake, read_s=read_s)
        else:
            log.change(config, schema_of, read_s=read_s)
        self._planned = {told for told in self._planned if told[0] != pipeline}
        return log

    def start(self) -> None:
        """From now on what is offered is sent."""
        self._thread.start()

    def close(self, within_s: float = LAST_WORDS_S) -> None:
        """Send what waits, and that there is no more. Gives up after `within_s`: what is left is lost, and the writer
        counts this server among those that ended without a word."""
        self._last_words_s = within_s
        self._stopping.set()
        self._wake.set()
        self._thread.join(within_s + AGAIN_S)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.wait(EVERY_S)
            self._wake.clear()
            self._send_waiting()
        self._over, self._logs = list(self._logs.values()), {}
        until_s = time.monotonic() + self._last_words_s
        while (self._over or self._pending) and time.monotonic() < until_s:
            self._send_waiting()
            time.sleep(AGAIN_S / 10)
        self._forget_connection()

    def _send_waiting(self) -> None:
        """All that waits by now, a frame of each pipeline in turn, as long as there is a writer. What is answered
        meanwhile is for the next time: whoever went on would send frames of a few answers without end."""
        newest = {log: log.newest for log in [*self._logs.values(), *self._over]}
        while self._is_connected() and self._give_counts():
            self._hear()
            if not self._pending:
                self._pending.extend(self._gathered(newest))
            if not self._pending:
                return
            first = self._pending[0]
            if self._tell_plans(first) and self._sent(first.frame):
                self._pending.popleft()
                first.log.freed(first.size)

    def _gathered(self, newest: Mapping[PipelineLog, int]) -> list[Waiting]:
        found = [one for log, number in newest.items() for one in log.waiting(number)]
        for log in [one for one in self._over if one.is_empty]:
            found += log.end()
            self._over.remove(log)
        return found

    def _give_counts(self) -> bool:
        """Of each pipeline, before anything else of it."""
        for log in [*self._logs.values(), *self._over]:
            if log.pipeline not in self._counted:
                if not self._sent(count_frame(log.pipeline), log.count.descriptor):
                    return False
                self._counted.add(log.pipeline)
        return True

    def _tell_plans(self, waiting: Waiting) -> bool:
        for version in waiting.versions:
            told = waiting.log.pipeline, version
            if told not in self._planned and not self._sent(waiting.log.plan(version)):
                return False
            self._planned.add(told)
        return True

    def _is_connected(self) -> bool:
        if self._connection is not None:
            return True
        if time.monotonic() < self._not_before:
            return False
        try:
            self._connection = connect(self._home, timeout_s=SEND_S)
        except OSError:
            self._not_before = time.monotonic() + AGAIN_S
            return False
        self._planned.clear()
        self._counted.clear()
        return self._sent(hello_frame(self._server))

    def _sent(self, frame: Frame, descriptor: int | None = None) -> bool:
        """`descriptor`: goes with the first byte."""
        if self._connection is None:
            return False
        try:
            if descriptor is not None:
                first, *frame = frame
                sent = socket.send_fds(self._connection, [first], [descriptor])
                frame = [first[sent:], *frame]
            send_whole(self._connection, frame)
        except OSError as error:
            logger.warning("inference log: the writer is gone (%s)", error)
            self._forget_connection()
            return False
        return True

    def _forget_connection(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection, self._replies = None, b""

    def _hear(self) -> None:
        """What the writer says of each pipeline, a line of JSON at a time."""
        if self._connection is None:
            return
        if not select.select([self._connection], [], [], 0)[0]:
            return
        try:
            more = self._connection.recv(65536)
        except OSError:
            more = b""
        if not more:
            self._forget_connection()
            return
        *lines, self._replies = (self._replies + more).split(b"\n")
        for pipeline, facts in (orjson.loads(lines[-1]) if lines else {}).items():
            if pipeline in self._logs:
                self._logs[pipeline].hear(facts)

"""The log writer without its sockets: it hears servers, and makes rows and files of what they tell."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Mapping
from typing import Any, get_args

from mlratchet.infra.inference_log.buffers import READ_S, Buffer
from mlratchet.infra.inference_log.count import CountRead
from mlratchet.infra.inference_log.spool import LogSpool
from mlratchet.models.errors import SecurityError
from mlratchet.models.inference_log.config import LogConfig
from mlratchet.models.inference_log.file import Holds, Stretch
from mlratchet.models.inference_log.frames import NotAFrameError, blocks_of
from mlratchet.models.inference_log.joined import JoinedAnswers
from mlratchet.models.inference_log.joined_rows import rows_of_joined
from mlratchet.models.inference_log.rows import LogPlan, label_rows, rows_of
from mlratchet.models.schema.fields import Schema
from pydantic import ValidationError

logger = logging.getLogger(__name__)
GONE_S = 10.0  # without a connection a server process has ended
HOLDS: tuple[Holds, ...] = get_args(Holds)

Known = Callable[[str, Holds], Mapping[str, Stretch]]


class LogWriter:
    """Everything but sockets, threads and S3. Called by one thread.

    Clocks are passed in: `now_s` is monotonic, `wall_s` seconds since the epoch.
    """

    def __init__(self, spool: LogSpool, known: Known, *, secret: bytes) -> None:
        """`known`: up to where a chain has the answers of each server, from before; `secret`: of the keyed hash."""
        self._spool, self._known, self._secret = spool, known, secret
        self._life = secrets.token_hex(4)
        self._buffers: dict[tuple[str, Holds], Buffer] = {}
        self._plans: dict[tuple[str, int], LogPlan] = {}
        self._connections: dict[str, int] = {}  # server -> how many
        self._gone_s: dict[str, float] = {}  # server -> since when it has none
        self._counts: dict[tuple[str, str, Holds], CountRead] = {}  # server, pipeline -> how far it has numbered them

    def begin(self, pipelines: Mapping[tuple[str, Holds], Any], now_s: float) -> None:
        """Chains that this writer wrote before: servers of which nothing is heard any more have ended."""
        for pipeline, holds in pipelines:
            for server, said in self._buffer(pipeline, holds).servers.items():
                if not said.ended:
                    self._gone_s.setdefault(server, now_s)

    def connected(self, server: str) -> None:
        """A server process said its name."""
        self._connections[server] = self._connections.get(server, 0) + 1
        self._gone_s.pop(server, None)

    def counts(self, server: str, pipeline: str, count: CountRead) -> None:
        """Where a server that is killed has left how far it came."""
        for holds in HOLDS:
            self._buffer(pipeline, holds)
            self._counts[server, pipeline, holds] = count

    def disconnected(self, server: str, now_s: float) -> None:
        """Its connection ended."""
        self._connections[server] = self._connections.get(server, 1) - 1
        if self._connections[server] <= 0:
            del self._connections[server]
            self._gone_s[server] = now_s

    def hear(self, server: str, said: dict[str, Any], numbers: memoryview, now_s: float) -> None:
        """One frame. Raises ``NotAFrameError``: whoever sends that is no server of ours."""
        try:
            kind, pipeline = said["k"], str(said["p"])
            if kind == "plan":
                self._plan(pipeline, said)
            elif kind == "answers":
                self._answers(server, pipeline, said, numbers, now_s)
            elif kind == "feedback":
                self._feedback(server, pipeline, said, now_s)
            elif kind == "end" and said["holds"] in HOLDS:
                buffer = self._buffer(pipeline, said["holds"])
                buffer.arrived(server, int(said["last"]), 0, now_s)
                buffer.end(server, now_s, unclosed=False)
                self._counts.pop((server, pipeline, said["holds"]), None)  # of who ended a flush forgets where it was
            else:
                raise NotAFrameError(f"no frame of kind {kind!r}")
        except (KeyError, TypeError, ValueError, ValidationError, SecurityError) as error:
            raise NotAFrameError(f"{said.get('k')!r}: {error}") from error

    def _plan(self, pipeline: str, said: dict[str, Any]) -> None:
        schema = Schema.model_validate_json(said["schema"]) if said["schema"] is not None else None
        config = LogConfig.model_validate_json(said["log"])
        read_s = float(said.get("read_s", READ_S))  # which a server of an earlier release does not say
        self._plans[pipeline, int(said["v"])] = LogPlan(schema=schema, config=config, secret=self._secret)
        for holds in HOLDS:
            self._buffer(pipeline, holds).plan(config, read_s)

    def _answers(self, server: str, pipeline: str, said: dict[str, Any], numbers: memoryview, now_s: float) -> None:
        buffer = self._buffer(pipeline, "answers")
        nothing = LogPlan(schema=None, config=buffer.config, secret=self._secret)
        made = []  # before the frame counts as here: of what fails the numbers are missing then, and are counted
        for block in blocks_of(said, numbers):
            plan = self._plans.get((pipeline, block.version), nothing)
            rows = rows_of_joined(block, plan) if isinstance(block, JoinedAnswers) else rows_of(block, plan)
            made.append((rows, len(block)))
        if buffer.arrived(server, int(said["last"]), sum(count for _, count in made), now_s):
            for rows, count in made:
                buffer.add(rows, count, server)

    def _feedback(self, server: str, pipeline: str, said: dict[str, Any], now_s: float) -> None:
        buffer = self._buffer(pipeline, "feedback")
        if said["labels"]:
            rows = label_rows(said["labels"])
            if buffer.arrived(server, int(said["last"]), len(said["labels"]), now_s):
                buffer.add(rows, len(said["labels"]), server)

    def _buffer(self, pipeline: str, holds: Holds) -> Buffer:
        if (pipeline, holds) not in self._buffers:
            if not is_pipeline(pipeline):
                raise NotAFrameError(f"{pipeline[:60]!r} is no name of a pipeline")
            self._buffers[pipeline, holds] = Buffer(pipeline, holds, self._spool, dict(self._known(pipeline, holds)))
        return self._buffers[pipeline, holds]

    def tick(self, now_s: float, wall_s: float) -> bool:
        """Whatever is due becomes files; whether there were any."""
        for server, since_s in list(self._gone_s.items()):
            if now_s - since_s >= GONE_S:
                del self._gone_s[server]
                self._end(server, now_s)
        due = [buffer for buffer in self._buffers.values() if buffer.is_due(now_s)]
        return self._flush(due, wall_s)

    def _end(self, server: str, now_s: float) -> None:
        """A server that said no last word. What it had numbered and not sent is lost; of one whose count is not here,
        as after a kill of both, nobody knows how much that was."""
        for (pipeline, holds), buffer in self._buffers.items():
            count = self._counts.get((server, pipeline, holds))
            last = count.read(holds) if count is not None else None
            if last:
                buffer.arrived(server, last, 0, now_s)
            buffer.end(server, now_s, unclosed=last is None)
        self._counts = {key: count for key, count in self._counts.items() if key[0] != server}

    def flush_all(self, wall_s: float) -> bool:
        """All that waits becomes files: this process ends."""
        return self._flush([one for one in self._buffers.values() if one.first_s is not None], wall_s)

    def _flush(self, buffers: list[Buffer], wall_s: float) -> bool:
        for buffer in buffers:
            rows = buffer.rows
            try:
                whole = buffer.flush(wall_s)
            except OSError as error:  # a full disk: the rows stay in memory, and are tried again or lost by number
                logger.warning("inference log of %s: %s", buffer.pipeline, error)
                buffer.give_up()
                continue
            if not whole:
                logger.warning("inference log of %s: no room for %d rows; they are counted", buffer.pipeline, rows)
        return bool(buffers)

    def facts(self, server: str) -> dict[str, Any]:
        """Pipeline -> what a server tells whoever asks for its health: `dropped` of all servers since this process
        started, `yours` of its own answers, where any was heard of."""
        found: dict[str, Any] = {}
        for (pipeline, holds), buffer in self._buffers.items():
            mine = found.setdefault(pipeline, {"dropped": 0, "waiting": 0, "spooled_bytes": self._spool.size_bytes})
            mine["waiting"] += buffer.rows
            if holds == "answers":
                mine["dropped"] += buffer.lost
                mine["yours"] = buffer.missing_of(server, self._life)
        return found


def is_pipeline(name: str) -> bool:
    """Whether a pipeline can have this name: it stands in the names of objects and files."""
    return 0 < len(name) <= 48 and name[0].islower() and name.isascii() and name.replace("-", "").isalnum()

"""What the log writer holds of one pipeline until it becomes a file, and what it knows of the servers that tell it."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
from mlratchet.infra.inference_log.lost import Missing
from mlratchet.infra.inference_log.spool import LogSpool
from mlratchet.models.identity.canonical import digest_bytes
from mlratchet.models.inference_log.chain import FileFacts
from mlratchet.models.inference_log.config import LogConfig
from mlratchet.models.inference_log.file import Holds, Stretch
from mlratchet.models.inference_log.filing import files_of
from mlratchet.models.inference_log.reading import together
from mlratchet.models.inference_log.rows import LogRows

READ_S = 30.0  # that a request may take to arrive, until a server has said so
ANSWER_S = 5.0  # later its row is here, or answering took longer
MOST_BYTES = 64_000_000  # of rows in memory: a file is written then, whatever the time
MOST_OVER = 4096  # server processes whose end is remembered
FOR_ALL = 0.9  # of the spool: beyond it only rows of errors are kept
FIRST_ERROR = 400  # status of HTTP


class Buffer:
    """The rows of one chain that no file holds yet."""

    def __init__(self, pipeline: str, holds: Holds, spool: LogSpool, servers: dict[str, Stretch]) -> None:
        """`servers`: up to where the log has the answers of each server process, as far as is known from before."""
        self.pipeline, self.holds, self._spool = pipeline, holds, spool
        self.config = LogConfig()
        self._read_s: float | None = None
        self.servers = {name: one for name, one in servers.items() if not one.ended}
        self._over = {name: one for name, one in servers.items() if one.ended}  # and in a file: it may say so again
        self.tables: list[pa.Table] = []
        self._of: list[tuple[str, int]] = []  # of each table: the server, and how many answers it holds
        self.media: dict[str, bytes] = {}
        self.rows = self.bytes = 0
        self.answers = 0  # whose rows are in `tables`
        self.dropped = self.unclosed = 0  # since the newest file
        self.lost = 0  # since this process started
        self._missing: dict[str, tuple[int, int]] = {}  # server -> after which number, and how many it lost since
        self.first_s: float | None = None  # by the monotonic clock: when the first of what waits came

    def plan(self, config: LogConfig, read_s: float) -> None:
        """As a server has it from now on. `read_s`: seconds that a request may take to arrive; the longest that was
        ever said holds, because of requests that began under it and of servers that still live by it."""
        self.config = config
        self._read_s = max(read_s, self._read_s or 0.0)

    @property
    def settle_s(self) -> float:
        """So long after a request began its row is here."""
        return (READ_S if self._read_s is None else self._read_s) + ANSWER_S

    def arrived(self, server: str, last: int, count: int, now_s: float) -> bool:
        """Of a frame with `count` answers up to number `last`: what is missing before it is counted. False for a frame
        that was here before."""
        over = self._over.get(server)
        if over is not None and last <= over.last:
            return False
        known = self.servers.get(server) or over or Stretch(last=0)
        if last < known.last or (last == known.last and count):
            return False
        missing = max(0, last - known.last - count)
        self._missing.setdefault(server, (known.last, 0))
        self._lose(server, missing)
        self.servers[server] = Stretch(last=last)
        if missing or count:
            self.first_s = now_s if self.first_s is None else self.first_s
        return True

    def _lose(self, server: str, count: int) -> None:
        """So many of its answers are in no file."""
        self.dropped += count
        self.lost += count
        if server in self._missing:  # not of one that ended before what it told became a file
            after, lost = self._missing[server]
            self._missing[server] = after, lost + count

    def missing_of(self, server: str, life: str) -> Missing | None:
        """What a server is told of its answers; None where nothing was heard of it. `life`: of this process."""
        if server not in self._missing or server not in self.servers:
            return None
        after, lost = self._missing[server]
        return {"life": life, "first": after, "last": self.servers[server].last, "lost": lost}

    def add(self, rows: LogRows, answers: int, server: str) -> None:
        """Rows of answers that arrived."""
        self.tables.append(rows.table)
        self._of.append((server, answers))
        self.media |= rows.media
        self.rows += rows.table.num_rows
        self.bytes += rows.table.nbytes + sum(map(len, rows.media.values()))
        self.answers += answers

    def end(self, server: str, now_s: float, *, unclosed: bool) -> None:
        """A server process has no more to tell; `unclosed`: it did not say so."""
        known = self.servers.get(server)
        if known is None or known.ended:
            return
        self.servers[server] = known.model_copy(update={"ended": True})
        if unclosed:
            self.unclosed += 1
            self.first_s = now_s if self.first_s is None else self.first_s

    def is_due(self, now_s: float) -> bool:
        """Whether it is time for a file."""
        if self.first_s is None:
            return False
        late = now_s - self.first_s >= self.config.flush_seconds
        return late or self.rows >= self.config.flush_rows or self.bytes >= MOST_BYTES

    def flush(self, wall_s: float) -> bool:
        """What waits goes to the spool; False where there was no room for rows, which are counted as dropped then."""
        table = together(self.tables, self.holds)
        whole = self._spool.has_room(self.bytes, share=FOR_ALL)
        if not whole:
            table = self._errors(table)
        told = FileFacts(
            version=0, rows=0, first_s=wall_s, last_s=wall_s, settled_s=wall_s - self.settle_s, dropped=self.dropped,
            unclosed=self.unclosed, servers=self.servers,
        )  # fmt: skip
        if table.num_rows or self.dropped or self.unclosed:
            if whole:
                for digest, data in self.media.items():
                    self._spool.put(self.pipeline, self.holds, data, None, digest)
            for data, facts in files_of(table, self.holds, told=told):
                self._spool.put(self.pipeline, self.holds, data, facts, digest_bytes(data) if data else "")
        over = {name: one for name, one in self.servers.items() if one.ended}
        self._over = dict(list({**self._over, **over}.items())[-MOST_OVER:])
        self.servers = {name: one for name, one in self.servers.items() if not one.ended}
        self._missing = {name: one for name, one in self._missing.items() if name in self.servers}
        self._empty()
        self.dropped = self.unclosed = 0
        self.first_s = None
        return whole

    def give_up(self) -> None:
        """Nothing can be written: what waits is counted as dropped, in the next file that can be."""
        for server, answers in self._of:
            self._lose(server, answers)
        self._empty()

    def _empty(self) -> None:
        self.tables, self._of, self.media, self.rows, self.bytes, self.answers = [], [], {}, 0, 0, 0

    def _errors(self, table: pa.Table) -> pa.Table:
        """Rows of errors, as far as there is room for them; of all others is only told how many they were."""
        kept = table.slice(0, 0)
        if self.holds == "answers":
            errors = _errors_of(table)
            kept = errors if self._spool.has_room(errors.nbytes) else kept
        for one, (server, answers) in zip(self.tables, self._of, strict=True):
            self._lose(server, answers - (len(pc.unique(_errors_of(one)["request_id"])) if len(kept) else 0))
        return kept


def _errors_of(table: pa.Table) -> pa.Table:
    return table.filter(pc.greater_equal(table["status"], FIRST_ERROR))

"""Calls a function in a child: starts it where no key was ever held, lends it a store, believes nothing it says before
it is checked, and leaves nothing of it running."""

from __future__ import annotations

import logging
import os
import selectors
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

from mlratchet.infra.child.confine import users_files
from mlratchet.infra.child.frames import FrameError, receive_frame, send_frame
from mlratchet.infra.child.lent_store import Lender
from mlratchet.infra.child.start import END_S, Starter, end
from mlratchet.infra.machine.temporary import temporary_folder
from mlratchet.infra.warm.ask import Process
from mlratchet.models.errors import ConfigurationError, DataError, InfrastructureError, RatchetError, SecurityError
from mlratchet.models.ports.children import MINUTES_10, EndedError, ForeignCodeError, HungError, KilledError, Rights
from mlratchet.models.ports.storage import DigestMismatch, ObjectNotFound, ObjectStore, StorageError
from mlratchet.models.printable import plain

logger = logging.getLogger(__name__)

HANDS = 8  # requests of one child that are answered side by side
MOST_WORDS = 4000  # characters of an error
MOST_LINE, MOST_OUTPUT = 2000, 1 << 20  # bytes of a line, and of all lines of one call
BELIEVED: Mapping[str, type[RatchetError]] = {
    one.__name__: one
    for one in (
        ConfigurationError, DataError, SecurityError, InfrastructureError, ForeignCodeError,
        StorageError, ObjectNotFound, DigestMismatch,
    )
}  # fmt: skip
"""Errors of ours that a child may raise here; any other is told as a `ForeignCodeError`."""


class ForkedChildren:
    """The children port over processes. `home`: of the stack whose warm process is forked; never read by a child."""

    def __init__(self, home: Path | None, *, closed: tuple[Path, ...] = (), log: Callable[[str], None] | None = None):
        self._starter = Starter(home)
        self._closed = (*([home] if home is not None else []), *closed)
        self._log = log or (lambda line: logger.warning("%s", line))

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
        """See the port."""
        lender = Lender(store, rights)
        with nullcontext(scratch) if scratch is not None else temporary_folder("child") as folder:
            asked = request_of(function, request, scratch=Path(folder), store=store, reads=reads, closed=self._closed)
            return self._call(asked, lender, time_limit_s)

    def _call(self, asked: dict[str, Any], lender: Lender, time_limit_s: float) -> Any:
        ours, theirs = socket.socketpair()
        read, write = os.pipe()
        own = own_environment(Path(asked["scratch"]))
        with ours, Output(read, self._log) as output:
            try:
                with theirs:
                    child = self._starter.start(theirs, own, write)
            finally:
                os.close(write)
            try:
                return answer_in(Conversation(ours, output, child).run(asked, lender, time_limit_s))
            finally:
                end(child)
                output.read(to_the_end=True)


def request_of(
    function: str,
    request: Mapping[str, Any],
    *,
    scratch: Path,
    store: ObjectStore | None,
    reads: tuple[Path, ...] = (),
    closed: tuple[Path, ...],
    lasting: bool = False,
) -> dict[str, Any]:
    """What a child is told."""
    return {
        "function": function,
        "request": dict(request),
        "scratch": str(scratch),
        "bucket": store.bucket if store is not None else None,
        "reads": [str(file) for file in users_files()],
        "granted": [str(path) for path in reads],
        "closed": [str(path) for path in closed],
        "touch": False,
        "lasting": lasting,
    }


def own_environment(scratch: Path) -> dict[str, str]:
    """Of a child that writes there."""
    return dict.fromkeys(("HOME", "TMPDIR", "TORCHINDUCTOR_CACHE_DIR", "XDG_CACHE_HOME"), str(scratch))


class Output:
    """What a child prints, passed on line by line, as text that moves no cursor and of bounded size."""

    def __init__(self, descriptor: int, log: Callable[[str], None]) -> None:
        os.set_blocking(descriptor, False)
        self.descriptor, self._log = descriptor, log
        self._begun, self._left = b"", MOST_OUTPUT
        self.last_line = ""

    def __enter__(self) -> Output:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)

    def read(self, *, to_the_end: bool = False) -> bool:
        """Pass on what is there; whether there may be more."""
        while True:
            try:
                piece = os.read(self.descriptor, 1 << 16)
            except BlockingIOError:
                return True
            if not piece:
                self._say(self._begun)
                self._begun = b""
                return False
            *lines, self._begun = (self._begun + piece).split(b"\n")
            for line in lines:
                self._say(line)
            if len(self._begun) > MOST_LINE:
                self._say(self._begun)
                self._begun = b""
            if not to_the_end:
                return True

    def _say(self, line: bytes) -> None:
        if line.strip() and self._left > 0:
            self._left -= len(line)
            self.last_line = plain(line[:MOST_LINE].decode(errors="replace"))
            self._log(self.last_line)
            if self._left <= 0:
                self._log(f"(what it prints beyond {MOST_OUTPUT} bytes is left out)")


class Conversation:
    """With one child, to its answer."""

    def __init__(self, connection: socket.socket, output: Output, child: Process) -> None:
        self._connection, self._output, self._child = connection, output, child
        self._sending = threading.Lock()

    def run(
        self, asked: dict[str, Any], lender: Lender, time_limit_s: float, *, to_be_continued: bool = False
    ) -> dict[str, Any]:
        """The head of the answer. Raises ``ForeignCodeError`` when there is none, or not in time, ``KilledError`` when
        the child was killed. `to_be_continued`: it is asked more after an answer."""
        answered = False
        deadline, function = time.monotonic() + time_limit_s, asked["function"]
        late = HungError(f"{function}: no answer within {time_limit_s:g} s; its process was ended")
        with selectors.DefaultSelector() as selector, ThreadPoolExecutor(HANDS) as hands:
            selector.register(self._connection, selectors.EVENT_READ, self._connection)
            selector.register(self._output.descriptor, selectors.EVENT_READ, None)
            try:
                self._connection.settimeout(time_limit_s)
                send_frame(self._connection, asked)
                while True:
                    ready = selector.select(max(0.0, deadline - time.monotonic()))
                    if not ready:
                        raise late
                    for key, _ in ready:
                        if key.data is None:
                            if not self._output.read():
                                selector.unregister(self._output.descriptor)
                            continue
                        self._connection.settimeout(max(0.001, deadline - time.monotonic()))
                        head, body = receive_frame(self._connection)
                        if "ask" not in head:
                            answered = True
                            return head
                        hands.submit(self._answer, lender, head, body)
            except TimeoutError as error:
                raise late from error
            except (EOFError, FrameError, OSError) as error:
                raise self._ended(function, error) from error
            finally:
                if not (answered and to_be_continued):  # a hand that answers does not wait for who is ended
                    with suppress(OSError):
                        self._connection.shutdown(socket.SHUT_RDWR)

    def _answer(self, lender: Lender, head: dict[str, Any], body: bytes) -> None:
        answer = lender.answer(head, body)
        with self._sending, suppress(OSError):
            send_frame(self._connection, *answer)

    def _ended(self, function: str, error: Exception) -> ForeignCodeError | KilledError:
        if isinstance(error, FrameError):
            return ForeignCodeError(f"{function}: {error}; its process was ended")
        self._output.read(to_the_end=True)
        code = None
        with suppress(subprocess.TimeoutExpired):
            code = self._child.wait(END_S)
        if code == -signal.SIGKILL:  # not by us, who have not ended it yet; also where the warm process went with it
            return KilledError(
                f"{function}: its process was killed (SIGKILL): the machine had no memory left, or the stack was "
                "restarted; try again, and lower the batch where it comes back"
            )
        return EndedError(
            f"{function}: its process ended without an answer: it called os._exit or crashed; what it printed stands "
            "above",
            exit_code=code,
            last_line=self._output.last_line,
        )


def answer_in(head: Mapping[str, Any]) -> Any:
    """What was answered. Raises the error that the child tells of, if it is one that a child may raise."""
    if "done" in head:
        return head["done"]
    why = plain(str(head.get("why", "")))[:MOST_WORDS] or "no reason given"
    raise BELIEVED.get(str(head.get("failed")), ForeignCodeError)(why)

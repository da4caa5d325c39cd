"""One stage of the warm process: forks itself for whoever asks, and tells how each fork ended."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass

from mlratchet.infra.warm.protocol import PASSED_ON, Request, may_ask, receive_request, send

RECEIVE_S = 5.0  # for the packet of somebody who has connected


@dataclass(frozen=True)
class Fork:
    """Returned in the fork: what it is to become, and its standard descriptors."""

    request: Request
    descriptors: list[int]


@dataclass
class Child:
    """A fork that lives."""

    pid: int
    pidfd: int
    request: Request
    connection: socket.socket | None  # None: whoever asked is gone


class Server:
    """Single-threaded, as what forks has to be. `refuse` says why a request is better served by a new interpreter, or
    nothing; `worn` whether this process is out of date: it then takes no more requests, tells the next stage so, and
    ends with its last fork, after that stage, whose forks would end with it."""

    def __init__(
        self,
        listener: socket.socket,
        *,
        refuse: Callable[[Request], str],
        worn: Callable[[], bool],
        next_stage: int | None,
        told: int | None = None,
        tells: int | None = None,
    ) -> None:
        """`next_stage`: its pid. `told`: a pipe that ends when the stage before takes no more requests; `tells`: that
        pipe to the next stage."""
        self._listener, self._refuse, self._worn = listener, refuse, worn
        self._selector = selectors.DefaultSelector()
        self._children: list[Child] = []
        self._open, self._followed, self._tells = True, False, tells
        self._watch(listener, self._accept)
        if told is not None:
            self._watch(told, self._end_of_pipe)
        if next_stage is not None:
            try:
                self._watch(os.pidfd_open(next_stage), self._end_of_next)
                self._followed = True
            except ProcessLookupError:  # it ended, and was waited for, while this process imported
                self._close()

    def _watch(self, what: int | socket.socket, then: Callable[..., Fork | None], *more: object) -> None:
        self._selector.register(what, selectors.EVENT_READ, (then, more))

    def serve(self) -> Fork | None:
        """In a fork, what it is to become. None when this process has served out."""
        while self._open or self._children or self._followed:
            for key, _ in self._selector.select():
                if not self._follows(key):  # what came before has ended it
                    continue
                then, more = key.data
                fork: Fork | None = then(key.fileobj, *more)
                if fork is not None:
                    return fork
        return None

    def _follows(self, key: selectors.SelectorKey) -> bool:
        """Asked by the key: a socket that is closed cannot be looked up."""
        return any(known is key for known in self._selector.get_map().values())

    def _accept(self, listener: socket.socket) -> None:
        try:
            connection, _ = listener.accept()
        except OSError:  # who asked is gone, or there are no more files for now
            return
        if not may_ask(connection):
            connection.close()
            return
        connection.settimeout(RECEIVE_S)
        self._watch(connection, self._read)

    def _read(self, connection: socket.socket) -> Fork | None:
        """The request of a connection."""
        self._selector.unregister(connection)
        try:
            request, descriptors = receive_request(connection)
        except (OSError, ValueError, TypeError, KeyError, EOFError):
            connection.close()
            return None
        if self._worn():
            self._close()
        reason = self._refuse(request) if self._open else "this process is out of date"
        if reason:
            send(connection, refused=reason)
            connection.close()
        elif self._fork(request, connection):
            return Fork(request, descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        return None

    def _fork(self, request: Request, connection: socket.socket) -> bool:
        """Whether this is the fork. There signals wait until it has become what it is to be: one that is passed on at
        once would be lost on what this process does with it."""
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)
        try:
            pid = os.fork()
        except OSError as error:  # the forks that there are go on
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
            send(connection, refused=str(error))
            connection.close()
            return False
        if pid == 0:
            self._forget()
            connection.close()
            return True
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        self._follow(pid, request, connection)
        return False

    def _follow(self, pid: int, request: Request, connection: socket.socket) -> None:
        child = Child(pid, os.pidfd_open(pid), request, connection)
        self._children.append(child)
        send(connection, pid=pid)
        self._watch(connection, self._hear, child)
        self._watch(child.pidfd, self._ended, child)

    def _hear(self, connection: socket.socket, child: Child) -> None:
        """A signal to pass on; nothing when whoever asked is gone."""
        try:
            said = connection.recv(1)
        except OSError:
            said = b""
        if not said:
            self._selector.unregister(connection)
            connection.close()
            child.connection = None
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, said[0] if said else child.request.when_gone)

    def _ended(self, pidfd: int, child: Child) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(
                child.pid, signal.SIGKILL
            )  # what it left in its session; until it is waited for, the id is its own
        _, status = os.waitpid(child.pid, 0)
        self._selector.unregister(pidfd)
        os.close(pidfd)
        self._children.remove(child)
        if child.connection is not None:
            self._selector.unregister(child.connection)
            send(child.connection, status=status)
            child.connection.close()

    def _end_of_next(self, pidfd: int) -> None:
        """The stages end together: whoever keeps them starts them anew."""
        self._followed = False
        self._end_of_pipe(pidfd)

    def _end_of_pipe(self, descriptor: int) -> None:
        self._selector.unregister(descriptor)
        os.close(descriptor)
        self._close()

    def _close(self) -> None:
        if self._open:
            self._open = False
            self._selector.unregister(self._listener)
            self._listener.close()
            self._hang_up()

    def _hang_up(self) -> None:
        if self._tells is not None:
            os.close(self._tells)
            self._tells = None

    def _forget(self) -> None:
        """In a fork: everything of the server's."""
        for key in list(self._selector.get_map().values()):
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.close()
            else:
                os.close(key.fd)
        self._selector.close()
        self._hang_up()

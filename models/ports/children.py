"""The children port: who calls a function that runs a user's code, or loads a program.

The process that holds a key imports no module of a user's. Whatever would, is a function of ours that is named here by
`package.module:function` and called through this port: in a child that never held a key, or, where nothing is held (a
child itself, a test), in this process.

A request and an answer are JSON, whatever else goes back and forth are objects of a store. `Workplace` is what such a
function has.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from mlratchet.models.errors import ConfigurationError, InfrastructureError, RatchetError
from mlratchet.models.finding import look_in
from mlratchet.models.functions import keep_out
from mlratchet.models.ports.storage import ObjectStore
from mlratchet.models.ports.temporary import folder_for

MINUTES_10 = 600.0


class ForeignCodeError(ConfigurationError):
    """A user's code raised, hung, ended its process or answered with what is no answer."""


class HungError(ForeignCodeError):
    """It gave no answer in time and was ended."""


class EndedError(ForeignCodeError):
    """Its process ended by itself, without an answer."""

    def __init__(self, words: str, *, exit_code: int | None, last_line: str) -> None:
        super().__init__(words)
        self.ended_with, self.last_line = exit_code, last_line


class KilledError(InfrastructureError):
    """Its process was killed from outside, or was lost with who forked it: no fault of the user's code, and worth
    another try. Raised by who calls, never on a child's word."""


@dataclass(frozen=True, kw_only=True)
class Rights:
    """What of a store a child may do: prefixes of keys."""

    read: tuple[str, ...] = ()
    """It reads and lists below these."""
    create: tuple[str, ...] = ()
    """It creates below these, and only an object whose name holds the SHA-256 of its bytes: it plants nothing."""


@dataclass(frozen=True, kw_only=True)
class Workplace:
    """What a function has that is called through this port."""

    scratch: Path  # the only folder that it may write; what the caller put there is in it
    store: ObjectStore | None = None  # with the caller's rights alone

    @property
    def objects(self) -> ObjectStore:
        """The store. Raises ``ConfigurationError`` where the caller lent none."""
        if self.store is None:
            raise ConfigurationError("this call was lent no store")
        return self.store


Called = Callable[[Mapping[str, Any], Workplace], Any]


@runtime_checkable
class Children(Protocol):
    """Who makes the call."""

    def call(
        self,
        function: str,
        request: Mapping[str, Any],
        *,
        scratch: Path | None = None,
        store: ObjectStore | None = None,
        rights: Rights = Rights(),
        reads: tuple[Path, ...] = (),
        time_limit_s: float = MINUTES_10,
    ) -> Any:
        """Call ``function(request, workplace)`` and return its answer as JSON values.

        Args:
            function: Of ours, as `package.module:function`.
            request: JSON values.
            scratch: A folder for files in both directions; without it one of its own, which is gone afterwards.
            store: What the function reads and creates objects in, by the caller's hand.
            rights: What of it.
            reads: Folders and files that the function reads beside the project and what is installed.
            time_limit_s: Seconds until it is ended.

        Raises the error of ours that the function raised, ``ForeignCodeError`` for anything else it did wrong, and
        ``KilledError`` where its process was killed from outside.
        """
        ...


class InProcess:
    """No child: the call is made here. For processes that hold nothing, and tests."""

    def call(
        self,
        function: str,
        request: Mapping[str, Any],
        *,
        scratch: Path | None = None,
        store: ObjectStore | None = None,
        rights: Rights = Rights(),  # noqa: ARG002 - it is trusted as this process is
        reads: tuple[Path, ...] = (),  # noqa: ARG002
        time_limit_s: float = MINUTES_10,  # noqa: ARG002
    ) -> Any:
        """See the port."""
        asked = json.loads(json.dumps(dict(request)))
        if scratch is not None:
            return answer_of(function, asked, Workplace(scratch=scratch, store=store))
        with folder_for("call") as folder:
            return answer_of(function, asked, Workplace(scratch=Path(folder), store=store))


def answer_of(function: str, request: Mapping[str, Any], workplace: Workplace) -> Any:
    """Call it; the answer as JSON values. Raises ``ForeignCodeError`` for what is none of our errors."""
    module, _, name = function.partition(":")
    try:
        called: Called = getattr(importlib.import_module(module), name)
        return json.loads(json.dumps(called(request, workplace), allow_nan=True))
    except RatchetError:
        raise
    except (Exception, SystemExit) as error:
        raise ForeignCodeError(f"{type(error).__name__}: {error}{where(error)}") from error


def where(error: BaseException) -> str:
    """` (file.py:12)`, the innermost line of the user's own that the error came through; empty without one."""
    found, trace = "", error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if not any(part in file for part in OF_OTHERS):
            found = f" ({Path(file).name}:{trace.tb_lineno})"
        trace = trace.tb_next
    return found


OF_OTHERS = ("site-packages", "dist-packages", "/lib/python", "<frozen", "<string>", str(Path(__file__).parents[2]))

_children: list[Children] = [InProcess()]


def children() -> Children:
    """Who makes the calls of this process."""
    return _children[-1]


def in_process() -> bool:
    """Whether they are made here: nothing is held that a user's code could reach."""
    return isinstance(children(), InProcess)


def install(found: Children | None) -> None:
    """From now on `found` makes the calls of this process; None: nobody but itself. An entry point decides that, once:
    code that is reached through a parsed file, such as a user's own check, cannot be handed anything. A process
    with children imports no user's module any more."""
    _children[:] = [InProcess(), *([found] if found is not None else [])]
    keep_out(found is not None)
    if found is None:
        look_in(())  # it imports by itself again

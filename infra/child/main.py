"""A child: takes a request from its standard input, gives up all rights that it does not need, calls, answers; where
the first request says that it lasts, again and again.

Run as ``python -m mlratchet.infra.child.main`` in a fork of a process that never held a key. Standard input is the
socket to who called.
"""

from __future__ import annotations

import os
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

from mlratchet.infra.child.confine import Bounds, confine
from mlratchet.infra.child.frames import receive_frame
from mlratchet.infra.child.lent_store import BorrowedStore
from mlratchet.infra.machine.lifetime import die_with_parent
from mlratchet.infra.settings import forbid_pickle
from mlratchet.infra.warm.resident import forked, touch_what_the_parent_holds
from mlratchet.models.errors import RatchetError
from mlratchet.models.ports.children import Workplace, answer_of


def main() -> None:
    """One call, or as many as are asked for."""
    die_with_parent()
    connection = socket.socket(fileno=os.dup(0))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    asked, _ = receive_frame(connection)
    scratch = Path(asked["scratch"])
    if asked["touch"] and forked():
        touch_what_the_parent_holds()
    confine(
        Bounds(
            scratch=scratch,
            reads=tuple(map(Path, asked["reads"])),
            granted=tuple(map(Path, asked["granted"])),
            closed=tuple(map(Path, asked["closed"])),
        )
    )
    tempfile.tempdir = str(scratch)  # whoever it is a fork of may have asked for another
    lent, lasting = BorrowedStore(connection, asked["bucket"] or ""), asked["lasting"]
    while True:
        answer = told(asked, Workplace(scratch=scratch, store=lent if asked["bucket"] is not None else None))
        sys.stdout.flush()
        sys.stderr.flush()
        lent.send(answer)
        following = lent.next_request() if lasting else None
        if following is None:
            break
        asked = following
    os._exit(0)  # no thread, exit handler or finaliser of the user's code has a word after the answer


def told(asked: dict[str, Any], workplace: Workplace) -> dict[str, Any]:
    """The answer, or the error, as a frame's head."""
    try:
        forbid_pickle()
        return {"done": answer_of(asked["function"], asked["request"], workplace)}
    except RatchetError as error:
        return {"failed": type(error).__name__, "code": error.code, "exit_code": error.exit_code, "why": str(error)}
    except BaseException as error:  # noqa: BLE001 - KeyboardInterrupt and what a user's code derives from it
        return {"failed": "", "code": "CONFIG", "exit_code": 2, "why": f"{type(error).__name__}: {error}"}


if __name__ == "__main__":
    main()

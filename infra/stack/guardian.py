"""Outlives the supervisor by a moment: when it ends, whatever ended it, every process of the stack is swept,
and what they left on the disk.

``PR_SET_PDEATHSIG`` ends the services themselves, but not what they started (`mlflow server` starts uvicorn).
Run as ``python -m mlratchet.infra.stack.guardian HOME`` with a pipe from the supervisor as its standard input.
"""

from __future__ import annotations

import sys
from pathlib import Path

from mlratchet.infra.stack.leftovers import clear_leftovers


def main(home: str) -> None:
    """Wait for the end of the pipe, which comes with the end of the supervisor."""
    sys.stdin.buffer.read()
    clear_leftovers(Path(home))


if __name__ == "__main__":
    main(sys.argv[1])

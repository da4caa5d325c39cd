"""The command `ratchet`: an interrupt while its modules are still imported ends it as a later one does, in a word."""

from __future__ import annotations

import signal
import sys

INTERRUPTED = 130  # as shells have it: 128 and the signal's number


def main() -> None:
    """Import the commands and run one."""
    try:
        from mlratchet.flows.cli.app import main as run_command
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one finds nothing to stop
        sys.stderr.write("interrupted\n")
        sys.exit(INTERRUPTED)
    run_command()

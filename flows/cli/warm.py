"""Commands that need torch and Prefect go on in a fork of the stack's warm process, which has imported both."""

from __future__ import annotations

import sys

from mlratchet.infra.settings import find_home
from mlratchet.infra.warm.hand_over import ForkLostError, hand_over
from mlratchet.infra.warm.resident import forked
from mlratchet.models.errors import InfrastructureError


def go_on_in_a_fork() -> None:
    """Ends this process as the fork ends, with the same arguments, environment, terminal and signals. Returns in a
    fork, and where the stack does not run.

    Raises ``InfrastructureError`` when the warm process is killed meanwhile.
    """
    if forked():
        return
    try:
        hand_over(find_home(), "mlratchet.flows.cli", sys.argv[1:])
    except ForkLostError:
        raise InfrastructureError(
            "the stack's process `warm` is gone, and with it this command and every run under way; "
            f"`ratchet {' '.join(sys.argv[1:])}` again resumes it"
        ) from None

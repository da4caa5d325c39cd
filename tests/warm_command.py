"""A command of Ratchet as a fork of a stack's warm process, which has imported everything: `warm_command.py HOME ...`.

The process ends as its fork ends and takes it along when it is killed; where the fork goes with the warm process, it
ends as `ratchet` does then. Without a warm process it becomes `ratchet`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from mlratchet.infra.warm.hand_over import ForkLostError, hand_over
from mlratchet.models.errors import InfrastructureError

if __name__ == "__main__":
    try:
        hand_over(Path(sys.argv[1]), "mlratchet.flows.cli", sys.argv[2:])
    except ForkLostError:
        sys.exit(InfrastructureError.exit_code)
    ratchet = str(Path(sys.executable).with_name("ratchet"))
    os.execv(ratchet, [ratchet, *sys.argv[2:]])

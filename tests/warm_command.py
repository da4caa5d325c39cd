"""A command of Ratchet as a fork of a stack's warm process, which has imported everything: `warm_command.py HOME ...`.

The process ends as its fork ends and takes it along when it is killed. Without a warm process it becomes `ratchet`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from mlratchet.infra.warm.hand_over import hand_over

if __name__ == "__main__":
    hand_over(Path(sys.argv[1]), "mlratchet.flows.cli", sys.argv[2:])
    ratchet = str(Path(sys.executable).with_name("ratchet"))
    os.execv(ratchet, [ratchet, *sys.argv[2:]])

"""A disk that takes no more of what a command prints is told in one line, and is no success."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_output_to_a_full_disk_is_one_line_and_an_exit_code(tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        ran = subprocess.run(
            [sys.executable, "-m", "mlratchet.flows.cli", "--help"],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=300,
            env={**os.environ, "PYTHONUNBUFFERED": "", "RATCHET_HOME": str(tmp_path)},
        )  # fmt: skip
    told = "what the command prints goes to a disk: No space left on device; make room there and run the command again"
    assert (ran.stderr, ran.returncode) == (f"INFRA: {told}\n", 5)

"""A fork of the warm process ends as a program ends, and copies nothing to do so."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

FORK = """
import atexit, json, os, sys, threading
from mlratchet.infra.machine.interpreter import run_to_the_end
HELD = [[number] for number in range(400_000)]  # some 30 MB that the fork shares
def program():
    atexit.register(print, "at exit", end="")
    thread = threading.Thread(target=lambda: (go.wait(), print("thread", end=", ")))
    thread.start()
    print("program", end=", ")
    threading.Timer(0, go.set).start()
    sys.exit({code})
go = threading.Event()
pid = os.fork()
if pid == 0:
    run_to_the_end(program)
_, status, used = os.wait4(pid, 0)
print(json.dumps([os.waitstatus_to_exitcode(status), used.ru_minflt * os.sysconf("SC_PAGE_SIZE")]), file=sys.stderr)
"""


@pytest.mark.parametrize(("code", "ends"), [("", 0), ("-1", 255), ("'words'", 1)])
def test_a_fork_waits_for_its_threads_says_all_and_copies_nothing_of_what_it_shares(code: str, ends: int) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", FORK.format(code=code)], capture_output=True, text=True, check=True, timeout=60,
        env={**os.environ, "PYTHONUNBUFFERED": ""},
    )  # fmt: skip
    assert ran.stdout == "program, thread, at exit"
    *words, told = ran.stderr.splitlines()
    assert words == (["words"] if ends == 1 else [])
    found, copied_bytes = json.loads(told)
    assert found == ends
    assert copied_bytes < 8 << 20

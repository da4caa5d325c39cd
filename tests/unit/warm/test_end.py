"""A fork of the warm process ends as a program ends, and copies nothing to do so."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

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
        [sys.executable, "-c", FORK.format(code=code)], capture_output=True, text=True, check=True, timeout=300,
        env={**os.environ, "PYTHONUNBUFFERED": ""},
    )  # fmt: skip
    assert ran.stdout == "program, thread, at exit"
    *words, told = ran.stderr.splitlines()
    assert words == (["words"] if ends == 1 else [])
    found, copied_bytes = json.loads(told)
    assert found == ends
    assert copied_bytes < 8 << 20


FILES = """
import gc, gzip, os, sys
from mlratchet.infra.machine.interpreter import run_to_the_end
SHARED = open({folder!r} + "/shared", "w")
SHARED.write("once, ")
gc.freeze()  # as whatever forks does
def program():
    global LEFT, PACKED
    LEFT = open({folder!r} + "/left", "w")
    LEFT.write("words")
    PACKED = gzip.open({folder!r} + "/packed", "wt")
    PACKED.write("words")
pid = os.fork()
if pid == 0:
    run_to_the_end(program)
os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) or SHARED.close() or 0)
"""


def test_what_a_fork_left_in_an_open_file_is_written_and_what_it_shares_is_not(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", FILES.format(folder=str(tmp_path))], check=True, timeout=300)
    assert (tmp_path / "left").read_text() == "words"
    assert gzip.decompress((tmp_path / "packed").read_bytes()) == b"words"
    assert (tmp_path / "shared").read_text() == "once, "


UNREAD = """
import os, sys
from mlratchet.infra.machine.interpreter import run_to_the_end
def program():
    print("words")
    sys.exit({code})
{ends}
"""


@pytest.mark.parametrize("code", [0, 4])
def test_output_that_cannot_be_written_is_told_as_the_interpreter_tells_it(code: int) -> None:
    told = {}
    for ends in ("program()", "run_to_the_end(program)"):
        with Path("/dev/full").open("wb") as full:
            ran = subprocess.run(
                [sys.executable, "-c", UNREAD.format(code=code, ends=ends)],
                stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=300,
                env={**os.environ, "PYTHONUNBUFFERED": ""},
            )  # fmt: skip
        told[ends] = (ran.returncode, ran.stderr.splitlines()[-1:])
    assert told["run_to_the_end(program)"] == told["program()"]
    assert told["program()"] == (120, ["OSError: [Errno 28] No space left on device"])

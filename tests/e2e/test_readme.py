"""The README's own commands, as they stand there and in their order, against the session's stack."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPOSITORY, Stack

pytestmark = [pytest.mark.stack, pytest.mark.slow]
Shell = Callable[[str], "subprocess.CompletedProcess[str]"]


def commands(heading: str) -> list[str]:
    """The lines of the section's first block of commands, without what is said beside them."""
    section = (REPOSITORY / "README.md").read_text().split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    block = section.split("```sh\n", 1)[1].split("```", 1)[0]
    return [line for line in (re.sub(r"\s+#.*", "", one).strip() for one in block.splitlines()) if line]


def runbook() -> list[str]:
    """The lines of its blocks, and its commands within a sentence, each once."""
    page = (REPOSITORY / "docs" / "runbook.md").read_text()
    blocks = [line.strip() for block in page.split("```")[1::2] for line in block.splitlines()]
    found = [line for line in [*blocks, *re.findall(r"`(ratchet [^`]+)`", page)] if line.startswith("ratchet ")]
    return list(dict.fromkeys(found))


@pytest.fixture(scope="module")
def shell(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """In a folder that has nothing but the examples; `ratchet` is a fork of the warm process, as in other tests."""
    folder, path = tmp_path_factory.mktemp("empty"), tmp_path_factory.mktemp("bin")
    (folder / "docs").symlink_to(REPOSITORY / "docs")
    real, warm = Path(sys.executable).with_name("ratchet"), REPOSITORY / "tests" / "warm_command.py"
    words = shlex.join([sys.executable, str(warm), str(stack.home)])
    (path / "ratchet").write_text(
        f'#!/bin/sh\ncase $1 in up|open) exec {shlex.quote(str(real))} "$@";; *) exec {words} "$@";; esac\n'
    )
    (path / "python").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    for command in path.iterdir():
        command.chmod(0o755)

    def run(line: str) -> subprocess.CompletedProcess[str]:
        environment = stack.environment(BROWSER="true")
        environment["PATH"] = f"{path}:{environment['PATH']}"
        return subprocess.run(
            ["bash", "-c", line], cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, timeout=600, check=False,
        )  # fmt: skip

    return run


def run_all(shell: Shell, lines: list[str]) -> dict[str, str]:
    """What each printed; none may fail, and the first that does ends it."""
    said = {}
    for line in lines:
        done = shell(line)
        assert done.returncode == 0, f"{line}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr, f"{line}\n{done.stderr}"
        said[line] = done.stdout
    return said


def test_your_own_model_in_ten_lines(shell: Shell) -> None:
    lines = commands("Your own model in ten lines")
    assert [one.split()[1] for one in lines if one.startswith("ratchet ")] == [
        "up", "validate", "upload", "run", "predict",
    ]  # fmt: skip
    said = run_all(shell, lines)
    answer = said["ratchet predict two-layers row.json"].strip()
    assert re.fullmatch(r"row\.json: [01] \([01]\.\d+\)  \[version 1\]", answer)
    ended = said["ratchet run two-layers"]
    assert "version 1 is champion" in ended
    assert re.search(r"\(`ratchet open prefect --run [0-9a-f-]{36}`\)", ended)
    assert re.search(r"\(`ratchet open mlflow --run [0-9a-f-]{36}`\)", ended)


def test_three_in_the_morning(shell: Shell, second: Any) -> None:
    lines = commands("At three in the morning")
    assert len(lines) > 10
    said = run_all(shell, lines)
    assert "version 1 is champion again" in said["ratchet rollback digits"]
    assert "version 2 is champion" in said["ratchet promote digits 2"]


def test_what_the_runbook_asks(shell: Shell, second: Any) -> None:
    """What writes or wants a finding is left out, by its first words: `tests/unit/cli` holds it against the options."""
    writes = "run", "rollback", "promote", "resolve", "stop", "deploy", "canary NAME --stop", "forget NAME KEY"
    left = (*writes, "finding", "monitor NAME --ask-labels", "open")
    lines = [
        line.replace("NAME", "digits").replace(" 7", " 2").replace("KEY", "nobody")
        for line in runbook()
        if "--dry-run" in line or not line.removeprefix("ratchet ").startswith(left)
    ]
    assert len(lines) > 11
    said = run_all(shell, lines)
    assert "(generation " in said["ratchet champion digits"]
    assert "digits" in said["ratchet ls"]


def test_who_decided(shell: Shell, second: Any) -> None:
    lines = [one for one in commands("Who decided, and on what evidence") if "strict.yaml" not in one]
    assert len(lines) == 3  # the fourth wants a policy file of one's own; tests/unit/cli holds it against the options
    run_all(shell, lines)

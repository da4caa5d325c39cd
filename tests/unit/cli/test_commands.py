"""Commands as a user types them, without a stack: one clear line and the right exit code."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest
from mlratchet.flows.cli.app import main

REPOSITORY = Path(__file__).parent.parent.parent.parent
COMMANDS = (
    "up", "down", "status", "doctor", "logs", "env", "validate", "seed", "upload", "import-weights", "deploy", "run",
    "predict", "versions", "decision", "history", "promote", "rollback", "approve", "approvals", "reconcile", "gc",
    "demo", "ls", "stop", "remove", "raw", "compare", "backtest", "champion", "audit", "keys", "rejects",
    "init", "schema", "score", "export",
)  # fmt: skip
SCORE = ("score", "digits", "s3://given/day", "s3://out/day")


class Cli:
    """Runs `ratchet` in an empty folder with an empty home: in this process, or in one that is started for it."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch, printed: pytest.CaptureFixture[str]) -> None:
        self.folder, self._patch, self._printed = folder, patch, printed
        mine = {k: v for k, v in os.environ.items() if not k.startswith(("RATCHET_", "PREFECT_", "MLFLOW_"))}
        self._environment = {**mine, "RATCHET_HOME": str(folder / "home"), "COLUMNS": "200"}

    def __call__(self, *arguments: str, code: int = 0, anew: bool = False) -> subprocess.CompletedProcess[str]:
        done = self._anew(arguments) if anew else self._here(arguments)
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    def _anew(self, arguments: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(Path(sys.executable).with_name("ratchet")), *arguments],
            capture_output=True, text=True, cwd=self.folder, env=self._environment, check=False,
        )  # fmt: skip

    def _here(self, arguments: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
        """The same entry point; what it changes of the process is put back."""
        self._printed.readouterr()
        with self._patch.context() as here, mock.patch.dict(os.environ, self._environment, clear=True):
            here.chdir(self.folder)
            here.setattr(sys, "argv", ["ratchet", *arguments])
            here.setattr(sys, "path", [*sys.path])
            with pytest.raises(SystemExit) as ended:
                main()
        said = self._printed.readouterr()
        return subprocess.CompletedProcess(arguments, int(ended.value.code or 0), said.out, said.err)


@pytest.fixture
def ratchet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(tmp_path, monkeypatch, capsys)


def test_help_lists_every_command_and_the_exit_codes(ratchet: Cli) -> None:
    text = ratchet("--help", anew=True).stdout
    assert not [name for name in COMMANDS if not re.search(rf"\b{name}\b", text)]
    assert "4 a gate said no" in text


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(ratchet: Cli, command: str) -> None:
    text = ratchet(command, "--help").stdout
    assert "Usage: ratchet" in text
    assert len(text.splitlines()) > 5


@pytest.mark.slow
def test_without_a_stack_every_command_that_needs_one_says_what_to_do(ratchet: Cli) -> None:
    for arguments in (("run", "digits"), ("versions", "digits"), ("deploy",), ("predict", "digits", "x.png"), SCORE):
        for anew in (arguments[0] == "run", False):
            assert "run `ratchet up`" in ratchet(*arguments, code=2, anew=anew).stderr
    assert "not running" in ratchet("status", code=5).stdout
    assert "no log of" in ratchet("logs", "mlflow", code=2).stderr


@pytest.mark.slow
def test_the_file_that_ships_is_valid(ratchet: Cli, digits_file: Path) -> None:
    assert json.loads(ratchet("validate", str(digits_file), "--json", anew=True).stdout)["pipeline"] == "digits"


def test_validate_reports_every_problem_with_file_and_line(ratchet: Cli, digits_file: Path, tmp_path: Path) -> None:
    text = digits_file.read_text()
    bad = tmp_path / "bad.yaml"
    bad.write_text(text.replace("epochs: 12", "epoch: 12").replace("minimum: 500", "minimum: .nan"))
    lines = ratchet("validate", str(bad), code=2).stderr.splitlines()
    assert any("did you mean 'epochs'" in line and re.search(r"bad\.yaml:\d+", line) for line in lines)
    assert any("finite" in line for line in lines)
    misspelt = text.replace("vision:ImageClassifier", "vision:ImageClasifier")
    bad.write_text(misspelt)
    (line,) = ratchet("validate", str(bad), code=2).stderr.splitlines()
    number = next(n for n, words in enumerate(misspelt.splitlines(), 1) if "use:" in words)
    assert f"bad.yaml:{number}: workload" in line
    assert "did you mean 'ImageClassifier'" in line
    assert "cannot be read" in ratchet("validate", "absent.yaml", code=2).stderr


def test_a_secret_in_a_pipeline_file_is_never_echoed(ratchet: Cli, digits_file: Path, tmp_path: Path) -> None:
    file = tmp_path / "secret.yaml"
    file.write_text(digits_file.read_text() + "password: hunter2\n")
    done = ratchet("validate", str(file), code=2)
    assert "secrets come from the environment" in done.stderr
    assert "hunter2" not in done.stdout + done.stderr


def test_usage_errors_exit_with_2(ratchet: Cli) -> None:
    ratchet("no-such-command", code=2)
    ratchet("run", code=2)
    ratchet("seed", "digits", "--delivery", "9", code=2)
    ratchet("versions", "digits", "--no-such-option", code=2)


def test_doctor_says_what_to_do_about_each(ratchet: Cli) -> None:
    done = ratchet("doctor", "--json", anew=True)
    findings = {finding["what"]: finding for finding in json.loads(done.stdout)}
    assert {"python", "torch", "prefect", "mlflow", "disk", "gpu", "ports"} <= set(findings)
    assert all(finding["ok"] or finding["do"] for finding in findings.values())


def test_an_audit_without_keys_or_bucket_says_what_it_needs(ratchet: Cli, tmp_path: Path) -> None:
    told = ratchet("audit", "digits", code=2, anew=True).stderr
    assert "an audit needs the public list of keys: --trusted-keys FILE" in told
    (tmp_path / "keys.json").write_text("{")
    told = ratchet("audit", "digits", "--trusted-keys", "keys.json", "--endpoint", "http://127.0.0.1:9", code=6).stderr
    assert "keys.json: not a list of trusted keys" in told
    assert "is not a time" in ratchet("champion", "digits", "--at", "yesterday", code=2).stderr


@pytest.mark.parametrize("more", [(), ("--loop",), ("--fields",)])
def test_demo_outside_a_checkout_says_where_it_runs_before_it_starts(ratchet: Cli, more: tuple[str, ...]) -> None:
    said = ratchet("demo", *more, code=2).stderr
    assert "demos run in a checkout of Ratchet" in said
    assert "`ratchet init DATA`" in said
    assert not (ratchet.folder / "home").exists()

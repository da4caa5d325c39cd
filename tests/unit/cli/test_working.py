"""A command that takes long says at once that it is at work, on a terminal alone."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from mlratchet.flows.cli import app as command_line
from mlratchet.flows.cli import output
from mlratchet.models.errors import ConfigurationError, RatchetError
from typer.testing import CliRunner

from tests.left_out import most_slow

LONG: dict[str, tuple[str, ...]] = {
    "mlratchet.models.drafting.draft.draft": ("init data.csv",),
    "mlratchet.models.drafting.delivery.look_at": ("schema show .", "schema diff shop ."),
    "mlratchet.flows.check_file.check_pipeline": ("validate shop.yaml",),
    "mlratchet.infra.settings.load_audit_settings": ("audit shop",),
    "mlratchet.tasks.wiring.open_adapters": (
        "backtest shop --policy strict.yaml", "compare shop 1 2", "data shop", "data shop --diff champion newest",
        "decision shop 1 --verify", "export shop 1 --to pt2", "finding 0a --verify", "forget shop ada", "gc",
        "monitor shop", "monitor shop --ask-labels 100", "power shop", "promote shop 1", "reconcile",
        "rejects shop --retry", "rollback shop", "simulate shop",
    ),
}  # fmt: skip
"""What does the work -> commands that do it."""


class StoppedError(RatchetError):
    """Where the work would begin."""


@dataclass
class Said:
    """What a command says of its work."""

    now: list[str] = field(default_factory=list)  # what it is at
    hidden: list[bool] = field(default_factory=list)

    @contextmanager
    def begin(self, what: str, *, hidden: bool = False) -> Iterator[Callable[..., None]]:
        """In place of both ways to say it."""
        self.now.append(what)
        self.hidden.append(hidden)
        try:
            yield lambda *_: None
        finally:
            self.now.pop()


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Said]:
    found = Said()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    for way in ("working", "progress_bar"):
        monkeypatch.setattr(output, way, found.begin)
    monkeypatch.setattr("mlratchet.flows.cli.schema._schema_of", lambda _name: None)
    monkeypatch.setattr("mlratchet.flows.cli.schema._declared", lambda _name: None)
    with mock.patch.dict(os.environ, {"RATCHET_HOME": str(tmp_path / "home")}):
        yield found


@pytest.mark.parametrize(
    ("work", "command"), most_slow([(work, one) for work, commands in LONG.items() for one in commands], keep=10)
)
def test_long_command_says_so_before_its_work_begins(
    work: str, command: str, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []

    def stop(*_: Any, **__: Any) -> None:
        seen.append(list(said.now))
        raise StoppedError("here")

    monkeypatch.setattr(work, stop)
    for arguments in (command.split(), [*command.split(), "--json"]):
        result = CliRunner().invoke(command_line.app, arguments)
        assert isinstance(result.exception, StoppedError), (result.output, result.exception)
    assert [len(one) for one in seen] == [1, 1], "nothing was said before the work"
    assert said.hidden == [False, True], "--json says nothing"


class Terminal(io.StringIO):
    """Where a person looks."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("place", "hidden", "seen"), [(Terminal(), False, True), (Terminal(), True, False), (io.StringIO(), False, False)]
)
def test_work_is_told_on_a_terminal_alone(
    place: io.StringIO, hidden: bool, seen: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr", place)
    monkeypatch.setenv("TERM", "xterm")
    with output.working("Auditing shop", hidden=hidden) as say:
        say("entry 3")
        sys.stderr.write("what a log warns of\n")
    assert ("Auditing shop" in place.getvalue()) == seen
    assert "what a log warns of" in place.getvalue()


def test_file_that_cannot_be_written_is_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"away/page\.html: cannot be written: .*; name another"):
        output.write_file(tmp_path / "away" / "page.html", b"<!doctype html>")

"""Ctrl-C ends a command in one word, whenever it comes."""

from __future__ import annotations

import builtins
import sys
from typing import Any

import pytest
import typer
from mlratchet.flows.cli import app, entry


def test_an_interrupt_while_commands_are_imported_is_one_word(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    importing = builtins.__import__

    def interrupted(name: str, *rest: Any) -> Any:
        if name == "mlratchet.flows.cli.app":
            raise KeyboardInterrupt
        return importing(name, *rest)

    monkeypatch.setattr(builtins, "__import__", interrupted)
    monkeypatch.setattr(entry.signal, "signal", lambda *_: None)
    with pytest.raises(SystemExit) as ended:
        entry.main()
    assert (ended.value.code, capsys.readouterr().err) == (130, "interrupted\n")


@pytest.mark.parametrize("raised", [KeyboardInterrupt(), typer.Abort(), typer.Exit(130)])
def test_an_interrupt_within_a_command_is_one_word(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], raised: BaseException
) -> None:
    def command(*_: Any, **__: Any) -> None:
        raise raised

    monkeypatch.setattr(app, "app", command)
    monkeypatch.setattr(sys, "argv", ["ratchet", "ls"])
    with pytest.raises(SystemExit) as ended:
        app.main()
    assert (ended.value.code, capsys.readouterr().err) == (130, "interrupted\n")

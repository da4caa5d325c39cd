"""Every `ratchet` command that README and guides show is a command of today, with the options of today."""

from __future__ import annotations

import re
import shlex
from functools import cache
from importlib import import_module
from inspect import isfunction
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import pytest
import typer
from mlratchet.flows import cli
from mlratchet.flows.cli.app import app

REPOSITORY = Path(__file__).parents[3]
PAGES = sorted([REPOSITORY / "README.md", *(REPOSITORY / "docs").glob("*.md")])
INLINE = re.compile(r"`(ratchet [^`\n]+)`")


def commands(page: Path) -> list[str]:
    """Whole command lines of fenced blocks, and those within a sentence."""
    found, fenced = [], False
    for line in page.read_text().replace("\\\n", " ").splitlines():
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif not fenced:
            found += INLINE.findall(line)
        elif line.strip().startswith("ratchet "):
            found.append(re.split(r"\s+#|\s*[|;>]\s|&&", line.strip())[0])
    return found


@cache
def program() -> Any:
    """All commands and options, which take a fifth of a second to put together."""
    return typer.main.get_command(app)


def problem(line: str) -> str:
    """Why the line would not be understood; empty when it would."""
    words = shlex.split(re.sub(r"\[[^\]]*\]|\.\.\.|…", " ", line))[1:]
    command = program()
    while getattr(command, "commands", None) and words and not words[0].startswith("-"):
        name = words.pop(0).split("|")[0]
        if name not in command.commands:
            return f"no command {name!r}"
        command = command.commands[name]
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    strange = [word for word in words if re.match(r"--?[a-z]", word) and word.split("=")[0] not in {*known, "--help"}]
    return f"no option {strange[0]!r}" if strange else ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_of_a_page_are_those_of_the_program(page: Path) -> None:
    assert [(line, why) for line in commands(page) if (why := problem(line))] == []


def test_readme_shows_commands_and_a_wrong_one_would_be_seen() -> None:
    assert len(commands(REPOSITORY / "README.md")) > 15
    assert problem("ratchet rnu digits") == "no command 'rnu'"
    assert problem("ratchet run digits --epoch 3") == "no option '--epoch'"


def test_every_function_of_a_group_is_a_command() -> None:
    """`register` of its module names it; one that is left out is a command that nobody has."""

    def callbacks(of: typer.Typer) -> set[Any]:
        groups = [one.typer_instance for one in of.registered_groups if one.typer_instance is not None]
        own = {one.callback for one in (*of.registered_commands, of.registered_callback) if one is not None}
        return own.union(*map(callbacks, groups))

    known = callbacks(app)
    modules = [import_module(f"{cli.__name__}.{one.name}") for one in iter_modules(cli.__path__)]
    left_out = [
        f"{module.__name__}: add {name} to `register`"
        for module in modules
        if hasattr(module, "register")
        for name, found in vars(module).items()
        if isfunction(found)
        and found.__module__ == module.__name__
        and name != "register"
        and not name.startswith("_")
        and any(word in str(found.__annotations__) for word in ("typer.", "Option", "Argument"))
        and found not in known
    ]
    assert left_out == []


def test_a_message_names_commands_that_there_are() -> None:
    """Only the name: what follows it is put together when it is said."""
    named = re.compile(r"`ratchet ([a-z][a-z-]*)")
    there = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    told = {
        (str(file.relative_to(REPOSITORY)), name)
        for part in ("flows", "tasks", "infra", "models")
        for file in (REPOSITORY / part).rglob("*.py")
        for name in named.findall(file.read_text())
    }
    assert len(told) > 100
    assert sorted((file, name) for file, name in told if name not in there) == []

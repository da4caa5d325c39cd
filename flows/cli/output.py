"""How commands print: JSON for scripts, lines for people, a progress bar for long work."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.printable import plain
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

PIPED_WIDTH = 140  # characters of a line of a table that nobody looks at in a terminal


def emit(value: Any, lines: Sequence[str], *, as_json: bool) -> None:
    """Print `value` as JSON, or `lines`."""
    if as_json:
        typer.echo(json.dumps(value, indent=2, default=str))
    else:
        for line in lines:
            typer.echo(plain(line))


def write_file(file: Path, data: bytes) -> None:
    """What somebody asked to have written. Raises ``ConfigurationError`` where that cannot be."""
    try:
        file.write_bytes(data)
    except OSError as error:
        raise ConfigurationError(f"{file}: cannot be written: {error}; name another") from error


def tell_left_out(what: str) -> None:
    """On stderr, so that what a script reads stays JSON."""
    typer.echo(f"{what} left out; --all shows everything", err=True)


def table_console(*, soft_wrap: bool = False) -> Console:
    """On stdout, for tables: as wide as the terminal; piped, as wide as they are in most terminals of today, so that
    no cell is broken into two lines."""
    return Console(highlight=False, soft_wrap=soft_wrap, width=None if sys.stdout.isatty() else PIPED_WIDTH)


@contextmanager
def progress_bar(description: str, *, hidden: bool = False) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr; the yielded function takes (done, total)."""
    console = Console(file=sys.stderr)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=hidden or not console.is_terminal) as bar:
        task = bar.add_task(description, total=None)

        def advance(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield advance


@contextmanager
def working(what: str, *, hidden: bool = False) -> Iterator[Callable[[str], None]]:
    """A spinner on stderr, on a terminal alone; the yielded function says what is being done. Nothing is printed
    meanwhile: what stdout gets would go where the spinner is."""
    if hidden:  # not even a quiet console, which would take what others say on stderr
        yield lambda _words: None
        return
    console = Console(file=sys.stderr, highlight=False)
    with console.status(what) as status:
        yield lambda words: status.update(f"{what}: {words}")

"""`ratchet`: the command line. Heavy imports happen inside the commands, so that `--help` is quick."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import NoReturn

import typer
from mlratchet.flows.cli import (
    approvals,
    audit,
    browse,
    canary,
    compare,
    data,
    demo,
    exporting,
    forgetting,
    models,
    monitor,
    new,
    pipelines,
    power,
    rejects,
    resolving,
    runs,
    schema,
    scoring,
    simulating,
    stack,
    tokens,
    tuning,
)
from mlratchet.flows.cli.entry import INTERRUPTED
from mlratchet.infra.machine.interpreter import collect_seldom
from mlratchet.models.errors import RatchetError, SecurityError
from mlratchet.models.printable import one_line, plain

app = typer.Typer(
    name="ratchet",
    help=(
        "Retrain PyTorch models on a schedule and promote them only with evidence.\n\n"
        "Start with `ratchet up`, then `ratchet seed digits --delivery 1` and `ratchet run digits`.\n\n"
        "Exit codes: 2 configuration, 3 data, 4 a gate said no, 5 infrastructure, 6 security."
    ),
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(help=app.info.help)
def point_libraries_at_the_stack() -> None:
    """Before any command: Prefect, MLflow and boto3 of this process talk to the configured stack, and a workload
    of the user is found where the command is run, as it is on the worker. Its code runs in children."""
    from mlratchet.infra.child.keep_out import keep_users_code_out
    from mlratchet.infra.settings import apply_environment, find_home, load_settings
    from mlratchet.models.errors import ConfigurationError

    keep_users_code_out(find_home())
    with contextlib.suppress(ConfigurationError):  # nothing is configured before the first `ratchet up`
        settings = load_settings()
        apply_environment(settings)
        keep_users_code_out(settings.home, settings)


stack.register(app)
browse.register(app)
new.register(app)
runs.register(app)
pipelines.register(app)
schema.register(app)
tuning.register(app)
models.register(app)
canary.register(app)
exporting.register(app)
scoring.register(app)
data.register(app)
rejects.register(app)
approvals.register(app)
monitor.register(app)
resolving.register(app)
forgetting.register(app)
simulating.register(app)
tokens.register(app)
power.register(app)
compare.register(app)
audit.register(app)
demo.register(app)


def main() -> None:
    """Entry point: errors of ours are one line and an exit code, never a traceback."""
    collect_seldom()
    try:
        code = app(standalone_mode=False, prog_name="ratchet")  # what `typer.Exit` carried comes back as the result
    except RatchetError as error:
        told = error.line()  # of what is wrong in a file there may be a line per mistake
        typer.echo(one_line(told) if isinstance(error, SecurityError) else plain(told), err=True)
        sys.exit(error.exit_code)
    except typer.Exit as stop:
        code = stop.exit_code
    except (KeyboardInterrupt, typer.Abort):
        _end_as_interrupted()
    except Exception as error:
        show = getattr(error, "show", None)  # click's usage errors know how to show themselves
        if show is None:
            _end_if_a_disk_is_full(error)
            _end_if_a_server_is_away(error)
            raise
        show()
        sys.exit(getattr(error, "exit_code", 2))
    if code == INTERRUPTED:  # typer makes this of an interrupt within a command
        _end_as_interrupted()
    sys.exit(code if isinstance(code, int) else 0)


def _end_as_interrupted() -> NoReturn:
    typer.echo("interrupted", err=True)
    sys.exit(INTERRUPTED)


def _end_if_a_disk_is_full(error: Exception) -> None:
    from mlratchet.infra.reasons import no_room

    known = no_room(error)
    if known is not None:
        with open(os.devnull, "wb") as nothing:  # noqa: PTH123 - what waits to be written would be tried again
            os.dup2(nothing.fileno(), sys.stdout.fileno())
        typer.echo(plain(known.line()), err=True)
        sys.exit(known.exit_code)


def _end_if_a_server_is_away(error: Exception) -> None:
    from mlratchet.infra.reasons import server_error

    known = server_error(error)
    if known is not None:
        typer.echo(plain(known.line()), err=True)
        sys.exit(known.exit_code)

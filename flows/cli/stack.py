"""Commands about the stack: up, down, status, doctor, logs, env."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


def bring_up(*, auth: bool | None = None) -> None:
    """Start the stack, say what is healthy, point this process at it, deploy nothing."""
    from mlratchet.infra.child.confine import not_held
    from mlratchet.infra.settings import apply_environment, find_home, load_settings
    from mlratchet.infra.stack.control import up as start

    for words in not_held():
        typer.echo(f"  children     not held here: {words}")
    start(find_home(), auth=auth, report=lambda name, words: typer.echo(f"  {name:12} {words}"))
    apply_environment(load_settings())


def up(
    auth: Annotated[
        bool | None,
        typer.Option(
            "--auth/--no-auth",
            help="Ask for passwords at Prefect and MLflow, which is what a new stack does, or let in every account and "
            "program of this machine. As before without it.",
        ),
    ] = None,
) -> None:
    """Start S3, MLflow, Prefect and a worker on loopback. Idempotent; heals what died.

    Data, ports and credentials are kept in `.ratchet/` (or $RATCHET_HOME).
    """
    bring_up(auth=auth)
    from mlratchet.infra.settings import find_home
    from mlratchet.infra.stack.install import has_auth

    if has_auth(find_home()):
        typer.echo("  in a browser `ratchet open prefect`, `ratchet open mlflow`, `ratchet open tensorboard`")
    else:
        typer.echo(
            "NO PASSWORDS: every account and every program on this machine can use this stack's Prefect and MLflow, "
            "start runs and change what MLflow shows; `ratchet down`, then `ratchet up --auth`, asks for them again",
            err=True,
        )


def down() -> None:
    """Stop every process of the stack. Data stays."""
    from mlratchet.infra.settings import find_home
    from mlratchet.infra.stack.control import down as stop

    stop(find_home())
    typer.echo("stopped; the data is kept")


def status(as_json: JsonOption = False) -> None:
    """What runs, where, and how healthy. Exits with 5 when something does not."""
    from dataclasses import asdict

    from mlratchet.flows.cli.output import emit
    from mlratchet.infra.serving.client import way_back
    from mlratchet.infra.serving.local import LocalServers
    from mlratchet.infra.settings import find_home
    from mlratchet.infra.stack.control import status as look

    home = find_home()
    states = look(home)
    width = max((len(s.name) for s in states), default=0)
    lines = [
        f"{s.name:{width}}  {s.words:12} pid {s.pid or '-':<8} {s.url or ''}{f'  {s.unready}' if s.unready else ''}"
        for s in states
    ]
    stopped = [f"serve-{name}  {how}; {way_back(name)}" for name, how in LocalServers(home).out_of_service().items()]
    lines += served_at(home) + stopped if states else []
    lines += held_lines() if states and all(s.works for s in states) else []
    emit([asdict(s) for s in states], lines or ["not running; `ratchet up` starts it"], as_json=as_json)
    if not states or not all(s.works for s in states):
        raise typer.Exit(5)


def held_lines() -> list[str]:
    """What holds pipelines, one line each; empty where the store cannot be asked: this is not what `status` is for."""
    from mlratchet.models.errors import RatchetError
    from mlratchet.models.promotion.holds import held_names
    from mlratchet.tasks.support.holds import hold_book
    from mlratchet.tasks.wiring import open_adapters

    try:
        adapters = open_adapters()
        book = hold_book(adapters)
        return [
            f"{name}  {hold.in_words()}" for name in sorted(held_names(adapters.store)) for hold in book.standing(name)
        ]
    except RatchetError as error:
        return [error.line()]


def served_at(home: Path) -> list[str]:
    """Where the pipelines answer that share a process."""
    from mlratchet.infra.serving.local import LocalServers
    from mlratchet.infra.serving.requests import SHARED, ServingRequests

    servers = LocalServers(home)
    names = [one.pipeline for one in ServingRequests(home) if one.process == SHARED]
    return [f"  {name}  {servers.url(name) or 'starting'}" for name in names]


def doctor(as_json: JsonOption = False) -> None:
    """Check versions, ports, disk, conditional writes and GPU, and say what to do about each."""
    from mlratchet.flows.cli.output import emit
    from mlratchet.infra.settings import find_home
    from mlratchet.infra.stack.doctor import examine

    findings = examine(find_home())
    lines = [
        f"{'ok ' if f['ok'] else 'BAD'} {f['what']}: {f['found']}{'' if f['ok'] else ' -> ' + f['do']}"
        for f in findings
    ]
    emit(findings, lines, as_json=as_json)
    if not all(f["ok"] for f in findings):
        raise typer.Exit(5)


def logs(
    service: Annotated[
        str,
        typer.Argument(help="seaweedfs, mlflow, prefect, worker, warm, supervisor, serve."),
    ],
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="How many of the newest lines.")] = 50,
) -> None:
    """The newest lines of a service's log."""
    from mlratchet.infra.settings import find_home
    from mlratchet.models.errors import ConfigurationError

    folder = find_home() / "logs"
    known = sorted(path.stem for path in folder.glob("*.log"))
    if service not in known and service.startswith("serve-"):
        service = "serve"  # which serves all pipelines that have no process of their own
    if service not in known:
        raise ConfigurationError(f"no log of {service!r}; there are: {', '.join(known) or 'none'}")
    text = (folder / f"{service}.log").read_text(errors="replace").splitlines()
    typer.echo("\n".join(text[-lines:]))


def env() -> None:
    """Print `export` lines: `eval "$(ratchet env)"` makes mlflow, prefect and any S3 client talk to this stack.

    They hold the stack's credentials.
    """
    import shlex

    from mlratchet.infra.settings import child_environment, load_settings

    for name, value in sorted(child_environment(load_settings()).items()):
        typer.echo(f"export {name}={shlex.quote(value)}")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (up, down, status, doctor, logs, env):
        app.command()(command)

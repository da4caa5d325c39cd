"""`ratchet open`: Prefect, MLflow or TensorBoard in a browser, without a password."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Page(StrEnum):
    """What can be opened."""

    PREFECT = "prefect"
    MLFLOW = "mlflow"
    TENSORBOARD = "tensorboard"


PrintOption = Annotated[bool, typer.Option("--print", help="Print the link instead of starting a browser.")]


def open_page(
    page: Annotated[Page, typer.Argument(help="prefect, mlflow or tensorboard.")],
    name: Annotated[str | None, typer.Argument(help="Of a pipeline, for tensorboard; any without it.")] = None,
    print_link: PrintOption = False,
) -> None:
    """Open a page of the stack in a browser, by a link that works once and for two minutes.

    `tensorboard` shows the files of the newest run that has any, until it is interrupted.
    """
    from mlratchet.infra.settings import find_home, load_settings
    from mlratchet.infra.stack.control import status
    from mlratchet.models.errors import InfrastructureError

    home = find_home()
    settings = load_settings(home)
    running = {service.name: service.url for service in status(home) if service.pid is not None}
    needed = "mlflow" if page is Page.TENSORBOARD else page.value
    url = running.get(needed)
    if url is None:
        raise InfrastructureError(f"{needed} of the stack in {home} does not run; `ratchet up` starts it")
    if page is Page.TENSORBOARD:
        show_board(home, name, print_link=print_link)
    else:
        lead_in(home, page, url, locked=not settings.no_auth, print_link=print_link)


def lead_in(home: Path, page: Page, url: str, *, locked: bool, print_link: bool) -> None:
    """The link, to the browser or to the terminal."""
    from mlratchet.infra.stack.access import one_time_link
    from mlratchet.infra.stack.browser import show

    link = one_time_link(home, page.value, url) if locked else url
    if print_link or not show(home, page.value, link):
        typer.echo(link)
    else:
        typer.echo(f"opened {url} in a browser")


def show_board(home: Path, name: str | None, *, print_link: bool) -> None:
    """TensorBoard with the newest run's files, in the foreground."""
    import subprocess
    import sys

    from mlratchet.infra.machine.free_ports import find_port, remembered_ports
    from mlratchet.infra.machine.lifetime import die_with_parent
    from mlratchet.infra.machine.temporary import temporary_folder
    from mlratchet.infra.settings import load_settings, process_environment, without_private_keys, without_users_path
    from mlratchet.infra.storage.opening import open_bucket
    from mlratchet.infra.tracking.board import fetch_newest, wait_until_it_answers

    settings = load_settings(home)
    with temporary_folder("board") as scratch:
        artifacts = open_bucket(settings, settings.mlflow_bucket)
        run = fetch_newest(settings.mlflow_tracking_uri, artifacts, name, Path(scratch))
        port = find_port(set(remembered_ports(home).values()))
        with subprocess.Popen(
            [
                sys.executable,
                "-P",
                "-W",
                "ignore:starlette",
                "-m",
                "mlratchet.infra.tracking.board",
                str(home),
                scratch,
                str(port),
            ],
            env=without_users_path(without_private_keys(process_environment())),
            preexec_fn=die_with_parent,
        ) as board:
            wait_until_it_answers(board, port)
            typer.echo(f"TensorBoard of run {run}; Ctrl-C ends it", err=True)
            url = f"http://127.0.0.1:{port}"
            lead_in(home, Page.TENSORBOARD, url, locked=not settings.no_auth, print_link=print_link)
            board.wait()


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("open")(open_page)

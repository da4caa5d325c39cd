"""`ratchet open`: a page of Prefect, MLflow, TensorBoard or a training's data in a browser, without a password."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mlratchet.models.destination import Destination


class Page(StrEnum):
    """What can be opened."""

    PREFECT = "prefect"
    MLFLOW = "mlflow"
    TENSORBOARD = "tensorboard"
    DATA = "data"


PrintOption = Annotated[bool, typer.Option("--print", help="Print the link instead of starting a browser.")]


def open_page(
    page: Annotated[
        str, typer.Argument(help="prefect, mlflow, tensorboard or data; or an address that a command printed.")
    ],
    what: Annotated[
        str | None, typer.Argument(metavar="[NAME[/VERSION]]", help="A pipeline, or a version of its model.")
    ] = None,
    run: Annotated[str | None, typer.Option("--run", help="A run: its id, or `last`, of NAME.")] = None,
    print_link: PrintOption = False,
) -> None:
    """Open a page of the stack in a browser, by a link that works once and for two minutes.

    `prefect` shows a run, the deployment of a pipeline, or its first page; `mlflow` a training, a version, all
    trainings of a pipeline, or its first page. `data` shows what the data of a version, of a run or of the last run of
    a pipeline holds. `tensorboard` shows the files of a run, of the newest that has any
    without one, until it is interrupted.
    """
    from mlratchet.infra.settings import find_home, load_settings
    from mlratchet.infra.stack.control import status
    from mlratchet.models.destination import destination_of
    from mlratchet.models.errors import ConfigurationError, InfrastructureError

    home = find_home()
    settings = load_settings(home)
    running = {service.name: service.url for service in status(home) if service.pid is not None}
    if "://" in page:
        chosen, place = service_of(page, running)
        subject = None
    elif page in [*Page]:
        chosen, place, subject = Page(page), "", destination_of(what, run)
    else:
        raise ConfigurationError(f"no page {page!r}; there are: {', '.join(Page)}, and addresses that commands print")
    needed = "mlflow" if chosen in (Page.TENSORBOARD, Page.DATA) else chosen.value
    url = running.get(needed)
    if url is None:
        raise InfrastructureError(f"{needed} of the stack in {home} does not run; `ratchet up` starts it")
    if chosen is Page.TENSORBOARD:
        assert subject is not None  # its address changes with every start, so that no command prints one
        show_board(home, subject, print_link=print_link)
    else:
        place = place or find_place(chosen, subject)
        lead_in(home, Page(needed), url, place, locked=not settings.no_auth, print_link=print_link)


def service_of(address: str, running: dict[str, str | None]) -> tuple[Page, str]:
    """Which service of the stack an address is one of, and its path there. Raises ``ConfigurationError``."""
    from urllib.parse import urlsplit

    from mlratchet.models.destination import place_of
    from mlratchet.models.errors import ConfigurationError

    asked = urlsplit(address)
    for page in (Page.PREFECT, Page.MLFLOW):
        url = running.get(page.value)
        if url is not None and (asked.scheme, asked.netloc) == urlsplit(url)[:2]:
            return page, place_of(address)
    there = ", ".join(f"{page} {running[page]}" for page in (Page.PREFECT, Page.MLFLOW) if running.get(page))
    raise ConfigurationError(f"{asked.scheme}://{asked.netloc} is no page of this stack; there are: {there or 'none'}")


def find_place(page: Page, subject: Destination | None) -> str:
    """The path of what was asked for; the first page and a run by its id need no look at the stack."""
    from mlratchet.models.destination import LAST, Destination, flow_run_place
    from mlratchet.models.errors import ConfigurationError

    if page is Page.DATA and (subject is None or subject == Destination()):
        raise ConfigurationError("expected a pipeline: `ratchet open data NAME`")
    if subject is None or subject == Destination():
        return "/"
    if page is Page.PREFECT and subject.run not in (None, LAST):
        return flow_run_place(str(subject.run))
    from mlratchet.tasks.actions.pages import data_place, mlflow_place, prefect_place
    from mlratchet.tasks.wiring import open_adapters

    found = {Page.PREFECT: prefect_place, Page.DATA: data_place}.get(page, mlflow_place)
    return found(open_adapters(), subject)


def lead_in(home: Path, page: Page, url: str, place: str, *, locked: bool, print_link: bool) -> None:
    """The link, to the browser or to the terminal."""
    from mlratchet.infra.stack.access import is_place, one_time_link
    from mlratchet.infra.stack.browser import show
    from mlratchet.models.errors import ConfigurationError

    if not is_place(place):
        raise ConfigurationError(f"expected a path of {page}, got {place!r}")
    link = one_time_link(home, page.value, url, place) if locked else f"{url}{place}"
    if print_link or not show(home, page.value, link):
        typer.echo(link)
    else:
        typer.echo(f"opened {url}{place} in a browser")


def show_board(home: Path, subject: Destination, *, print_link: bool) -> None:
    """TensorBoard with a run's files, in the foreground."""
    import subprocess
    import sys

    from mlratchet.infra.machine.free_ports import find_port, remembered_ports
    from mlratchet.infra.machine.lifetime import die_with_parent
    from mlratchet.infra.machine.temporary import temporary_folder
    from mlratchet.infra.project_path import without_users_path
    from mlratchet.infra.settings import load_settings, process_environment, without_private_keys
    from mlratchet.infra.storage.opening import open_bucket
    from mlratchet.infra.tracking.board import fetch_newest, wait_until_it_answers
    from mlratchet.tasks.actions.pages import tracking_run
    from mlratchet.tasks.wiring import open_adapters

    settings = load_settings(home)
    one = tracking_run(open_adapters(), subject) if subject.run or subject.version else None
    with temporary_folder("board") as scratch:
        artifacts = open_bucket(settings, settings.mlflow_bucket)
        run = fetch_newest(settings.mlflow_tracking_uri, artifacts, subject.pipeline, Path(scratch), run=one)
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
            lead_in(home, Page.TENSORBOARD, url, "/", locked=not settings.no_auth, print_link=print_link)
            board.wait()


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("open")(open_page)

"""`ratchet demo`: the main job, from raw images to a served champion."""

from __future__ import annotations

import sys
import time
from typing import Annotated

import typer

STORY = (
    ("1", "promoted", "about 1,000 images; the bootstrap rule"),
    ("2", "promoted", "all images; compared with the champion"),
    ("damaged", "stopped_by_gate", "a third of the labels permuted"),
    ("2", "unchanged", "again: recognised, nothing trained"),
)


def demo(
    pipeline: Annotated[
        str | None, typer.Option(help="With --loop: loans, or shop, a table as an ordinary export writes it.")
    ] = None,
    fields: Annotated[
        bool,
        typer.Option("--fields", help="Instead: six pipelines on real data, each served beside a linear model."),
    ] = False,
    loop: Annotated[
        bool,
        typer.Option("--loop", help="Instead: a drift, its alarm and retrain, a version taken back, bad data."),
    ] = False,
    drift: Annotated[str, typer.Option(help="With --loop: covariate, or none, which sounds no alarm.")] = "covariate",
    seed: Annotated[int, typer.Option(help="With --loop: of all that is made up.")] = 0,
) -> None:
    """Start the stack and run the main job: two promotions, a damaged delivery, an unchanged re-run."""
    if loop:
        require_files(pipeline or "loans")
        loop_on_the_stack(pipeline or "loans", drift=drift, seed=seed)
        return
    if fields:
        from mlratchet.flows.cli.demo_fields import FIELDS, demo_fields

        require_files(*(one.pipeline for one in FIELDS))
        demo_fields()
        return
    require_files(pipeline or "digits")
    main_job(pipeline or "digits")


def require_files(*pipelines: str) -> None:
    """Before anything is started. Raises ``ConfigurationError`` where the files that a demo is about are not here."""
    from mlratchet.infra.settings import pipelines_folder
    from mlratchet.models.errors import ConfigurationError
    from mlratchet.models.pipeline.loading import find_pipeline

    for name in pipelines:
        try:
            find_pipeline(pipelines_folder(), name)
        except ConfigurationError as error:
            raise ConfigurationError(
                f"{error}: demos run in a checkout of Ratchet, whose deployments/pipelines they are about; go there "
                "or name that folder with RATCHET_PIPELINES_DIR. With data of your own: `ratchet init DATA`; with "
                "made-up data: `ratchet new NAME --like tabular`"
            ) from error


def loop_on_the_stack(pipeline: str, *, drift: str, seed: int) -> None:
    """Ctrl-C stops the stack again that this started: nothing goes on that nobody looks at."""
    from mlratchet.flows.cli.stack import bring_up, down
    from mlratchet.infra.settings import find_home
    from mlratchet.infra.stack.control import supervisor_pid

    ran_before = supervisor_pid(find_home()) is not None
    try:
        bring_up()  # first: Prefect's client remembers where its server was when it was imported
        from mlratchet.flows.cli.demo_loop import demo_loop

        demo_loop(pipeline=pipeline, drift=drift, seed=seed)
    except KeyboardInterrupt:
        if not ran_before:
            down()
        raise


def main_job(pipeline: str) -> None:
    """The deliveries of `STORY`, one after the other. Exits with 1 when one did not end as it should."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, soft_wrap=True)
    began = time.monotonic()
    console.rule("[bold]1/5 The stack")
    from mlratchet.flows.cli.stack import bring_up

    bring_up()
    from mlratchet.flows.cli.output import progress_bar
    from mlratchet.flows.runs.start import run_on_worker
    from mlratchet.infra.seed import seed_digits
    from mlratchet.infra.serving.local import LocalServers
    from mlratchet.infra.settings import load_settings
    from mlratchet.tasks.wiring import open_adapters

    adapters = open_adapters()
    table = Table(title="What happened")
    for column in ("run", "delivery", "outcome", "version", "accuracy", "seconds"):
        table.add_column(column)
    surprises = []
    already = adapters.ledger.head(pipeline) is not None
    for number, (delivery, expected, words) in enumerate(STORY, start=1):
        console.rule(f"[bold]{number + 1}/5 Delivery {delivery}: {words}")
        with progress_bar("  uploading images") as advance:
            count = seed_digits(adapters.raw, delivery, on_progress=advance)
        console.print(f"  {count} objects changed in s3://{adapters.raw.bucket}/digits/")
        report = run_on_worker(pipeline, (), quiet=False)
        console.print(f"  [bold]{report['outcome']}[/]: {report['line']}")
        accuracy = report.get("metrics", {}).get("accuracy")
        table.add_row(
            str(number),
            delivery,
            report["outcome"],
            str(report.get("version", "-")),
            f"{accuracy:.4f}" if accuracy is not None else "-",
            f"{report['seconds']:.1f}",
        )
        if report["outcome"] != expected and not already:
            surprises.append(f"run {number}: expected {expected}, got {report['outcome']}: {report['line']}")
    console.print(table)
    settings = load_settings()
    console.print(
        f"Prefect   {settings.prefect_api_url.removesuffix('/api')}  (`ratchet open prefect` leads a browser in)"
    )
    console.print(f"MLflow    {settings.mlflow_tracking_uri}  (`ratchet open mlflow`)")
    console.print(f"{pipeline:9} {LocalServers(settings.home).url(pipeline)}/docs")
    console.print(
        f"[dim]{time.monotonic() - began:.0f} s. Next: `ratchet decision {pipeline} 2`, `ratchet rollback "
        f"{pipeline}`, `ratchet down`.[/]"
    )
    for surprise in surprises:
        print(surprise, file=sys.stderr)  # noqa: T201 - the command's own error output
    if surprises:
        raise typer.Exit(1)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(demo)

"""The command that says before a deployment what monitoring will find: power."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from mlratchet.flows.cli.simulating import duration_s, rate_per_s

if TYPE_CHECKING:
    from mlratchet.models.monitoring.power import Delay
    from mlratchet.tasks.actions.power import Power

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
UNITS = ((86_400.0, "d"), (3600.0, "h"), (60.0, "min"))


def power(
    pipeline: Annotated[str, typer.Argument(help="A pipeline that has a version.")],
    rate: Annotated[str, typer.Option(help="Rows that would come in, e.g. 50/s.")] = "1/s",
    labels_after: Annotated[str, typer.Option(help="A label would come so long after its request.")] = "10m",
    share: Annotated[float, typer.Option(min=0.0, max=1.0, help="Of the rows that would get a label.")] = 0.1,
    seed: Annotated[int, typer.Option(help="Of the simulation.", min=0)] = 0,
    as_json: JsonOption = False,
) -> None:
    """Which loss of quality and which drift would be found, in how many rows and how much time, at the declared rate
    of false alarms.

    Simulated from the test rows that are stored with the champion (the newest version where there is none): nothing
    has to be deployed. Nothing is moved.
    """
    from mlratchet.flows.cli.output import emit, working

    rows_per_s, after_s = rate_per_s(rate), duration_s(labels_after, "--labels-after")
    with working(f"Simulating what the monitoring of {pipeline} would find", hidden=as_json):
        from mlratchet.tasks.actions.power import PowerPlan
        from mlratchet.tasks.actions.power import power as simulated
        from mlratchet.tasks.wiring import open_adapters

        plan = PowerPlan(rate=rows_per_s, share=share, labels_after_s=after_s, seed=seed)
        found = simulated(open_adapters(), pipeline, plan)
    if as_json:
        emit(found.document(), [], as_json=True)
        return
    show(found)


def show(found: Power) -> None:
    """A table in the terminal."""
    from mlratchet.flows.cli.output import table_console
    from rich.markup import escape
    from rich.table import Table

    console = table_console(soft_wrap=True)
    console.print(
        f"[bold]{escape(found.pipeline)}[/] version {found.version}, from {found.rows:,} test rows: at most "
        f"{found.false_alarms_per_year:g} false alarm(s) a year over {found.streams} streams"
    )
    if found.metric is not None and found.value is not None and found.promised is not None:
        console.print(f"{found.metric} {found.value:.4f} on the test rows, held to {found.promised:.4f}")
    for title, delays in (("loss of quality", found.quality), ("drift", found.drift)):
        if not delays:
            continue
        table = Table(title=title)
        for column in ("subject", "size", "found", "rows, half", "rows, 9 in 10", "time, half", "time, 9 in 10"):
            table.add_column(column)
        for one in delays:
            table.add_row(*(escape(cell) for cell in cells(one)))
        console.print(table)
        for one in delays:
            if one.words:
                console.print(f"  {escape(one.subject)} {one.effect:g}: {escape(one.words)}")
    for note in found.notes:
        console.print(escape(note))


def cells(one: Delay) -> list[str]:
    """A change as a row of the table."""
    rows = [f"{count:,}" if count is not None else "-" for count in (one.rows_median, one.rows_often)]
    times = [in_words(seconds) for seconds in (one.seconds_median, one.seconds_often)]
    return [one.subject, f"{one.effect:g}", f"{one.found:.0%}", *rows, *times]


def in_words(seconds: float | None) -> str:
    """``3.5 h``."""
    if seconds is None:
        return "-"
    return next((f"{seconds / size:.1f} {unit}" for size, unit in UNITS if seconds >= size), f"{seconds:.0f} s")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(power)

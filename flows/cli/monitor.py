"""The commands that watch what is deployed: monitor, finding."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mlratchet.models.monitoring.config import WindowRule
    from mlratchet.models.monitoring.finding import Finding
    from mlratchet.models.monitoring.stretch import MergedWindows
    from mlratchet.models.monitoring.window import Figure
    from mlratchet.tasks.actions.monitor import Story

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 7 * 86_400.0}
WINDOWS, FINDINGS, DRIFTS = 20, 30, 6  # lines of a table
LARGE = 1000  # figures from here on are whole numbers
MARKS = {"alarm": "bold red", "warning": "yellow", "note": "dim"}


def seconds_of(text: str) -> float:
    """`90m`, `7d`. Raises ``ConfigurationError``."""
    from mlratchet.models.errors import ConfigurationError

    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", text)
    if found is None:
        raise ConfigurationError(f"--since: got {text!r}, expected a number and s, m, h, d or w, e.g. 7d")
    return float(found[1]) * UNITS_S[found[2]]


def monitor(
    pipeline: Annotated[str, typer.Argument(help="Name of a pipeline.")],
    since: Annotated[str, typer.Option(help="How far back: 30m, 12h, 7d.")] = "7d",
    watch: Annotated[bool, typer.Option("--watch", help="Look again, as often as `monitoring.every` says.")] = False,
    rows: Annotated[
        int | None, typer.Option(min=50, help="Merge neighbouring windows until they have so many rows.")
    ] = None,
    ask_labels: Annotated[
        int | None,
        typer.Option(min=10, help="Draw about so many answers to be labelled, and tell where the sheet is."),
    ] = None,
    sheet: Annotated[Path | None, typer.Option(help="Write the sheet of --ask-labels to this file, too.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write the page with plots to this file.")] = None,
    as_json: JsonOption = False,
) -> None:
    """How the deployed version does: windows of its log, what drifted, how good its answers are, what was found.

    Looks first, as the scheduled flow does; looking more often changes nothing.
    """
    if ask_labels is not None or sheet is not None:
        _ask(pipeline, ask_labels, sheet, as_json=as_json)
        return
    back_s = seconds_of(since)
    while True:
        story = _look(pipeline, back_s, html, rows=rows, as_json=as_json)
        if not watch:
            return
        _wait(story.config.every)


def _ask(pipeline: str, rows: int | None, sheet: Path | None, *, as_json: bool) -> None:
    from mlratchet.flows.cli.output import emit, working, write_file
    from mlratchet.models.errors import ConfigurationError

    if rows is None:
        raise ConfigurationError("--sheet: is written by --ask-labels N alone")
    with working(f"Drawing answers of {pipeline}", hidden=as_json):
        from mlratchet.tasks.actions.monitor import ask_for_labels
        from mlratchet.tasks.wiring import open_adapters

        asked = ask_for_labels(open_adapters(), pipeline, rows)
    told = asked.request.model_dump(mode="json", exclude={"rows"})
    told |= {"rows": len(asked.request.rows), "of": asked.answers, "sheet": asked.sheet_key}
    how = f"each was drawn with probability {asked.request.probability:.4g}; fill in the last column"
    where = "bring it as an object of serving.labels.prefix, or answer through /feedback"
    lines = [f"{pipeline}: {asked.words}", f"  {how}, and {where}"]
    if sheet is not None:
        write_file(sheet, asked.sheet)
        lines.append(f"{sheet}: written")
    emit(told, lines, as_json=as_json)


def _wait(seconds: float) -> None:
    import time

    time.sleep(seconds)


def _look(pipeline: str, back_s: float, html: Path | None, *, rows: int | None, as_json: bool) -> Story:
    import time

    from mlratchet.flows.cli.output import emit, working, write_file

    with working(f"Looking at the log of {pipeline}", hidden=as_json):
        from mlratchet.tasks.actions.monitor import story_of, stretches_by_rows, take_up
        from mlratchet.tasks.wiring import open_adapters

        adapters = open_adapters()
        take_up(adapters, pipeline)
        story = story_of(adapters, pipeline, since_s=time.time() - back_s)
        if html is not None:
            write_file(html, story.page().encode())
        merged = stretches_by_rows(adapters, story, rows) if rows is not None else []
    if as_json:
        told = {"by_rows": [one.document() for one in merged]} if rows is not None else {}
        emit(story.document() | told, [], as_json=True)
        return story
    show_story(story)
    show_stretches(merged if rows is not None else [story.stretch] if story.stretch is not None else [])
    if html is not None:
        typer.echo(f"{html}: written")
    return story


def show_story(story: Story) -> None:
    """In the terminal."""
    from mlratchet.flows.cli.output import table_console
    from mlratchet.models.moments import utc
    from mlratchet.models.printable import one_line
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    console = table_console()
    if not story.windows and not story.findings:
        console.print(escape(no_window(story.pipeline, story.config.windows)), style="dim", soft_wrap=True)
        return
    metric = story.reference.promises[0].metric if story.reference and story.reference.promises else ""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("window", "version", "rows", metric or "labelled", "errors", "p99 ms", "open"):
        table.add_column(title, justify="left" if title in ("window", "open") else "right", overflow="fold")
    for one in story.windows[-WINDOWS:]:
        quality = _told(one.figures.get(metric)) if metric else str(one.counts.get("labelled", 0))
        state = ", ".join(one.open) or ("" if one.window.whole else "not whole")
        table.add_row(
            utc(one.window.from_s), str(one.version), f"{one.counts.get('rows', 0):,}", quality,
            _told(one.figures.get("errors")), _told(one.figures.get("latency_ms_p99")), escape(one_line(state)),
        )  # fmt: skip
    console.print(table)
    for finding in story.findings[-FINDINGS:]:
        mark = MARKS[finding.severity]
        where = f"{utc(finding.window.from_s)}  {finding.id[:12]}"
        console.print(f"[{mark}]{finding.severity:8}[/] {where}  {escape(one_line(finding.words))}")
    for gap in story.gaps:
        console.print(f"[red]{escape(one_line(gap))}[/]")


def lasting(seconds: float) -> str:
    """A length of time in the largest unit of which it is 1.5 or more and few digits say it: `60 minutes`."""
    for unit, length_s in (("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 1.5 * length_s and (seconds / length_s * 10).is_integer():
            return f"{seconds / length_s:g} {unit}"
    return f"{seconds:g} seconds"


def no_window(pipeline: str, rule: WindowRule) -> str:
    """Why there is nothing to show yet, and what makes something."""
    size = f"{rule.rows:,} requests" if rule.rows is not None else f"{lasting(rule.seconds or 0.0)} of requests"
    return (
        f"{pipeline}: no window has ended yet: one is {size} (`monitoring.windows`). `ratchet ls` shows who serves, "
        f"and `ratchet simulate {pipeline}` sends requests to try it"
    )


def show_stretches(stretches: Sequence[MergedWindows]) -> None:
    """Windows together, with what drifted most over all of their rows."""
    from mlratchet.flows.cli.output import table_console
    from mlratchet.models.moments import utc
    from mlratchet.models.printable import plain
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    if not stretches:
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("together", "windows", "rows", "labelled", "errors", "drift over all of their rows"):
        table.add_column(title, justify="left" if title.startswith(("together", "drift")) else "right", overflow="fold")
    for one in stretches[-WINDOWS:]:
        drifts = [
            f"{each.field} {each.found.effect:.3g} ({each.found.interval[0]:.3g}-{each.found.interval[1]:.3g})"
            for each in one.drifts[:DRIFTS]
        ]
        table.add_row(
            f"{utc(one.from_s)} to {utc(one.to_s)}", str(one.windows), f"{one.counts['rows']:,}",
            f"{one.counts['labelled']:,}", f"{one.counts['errors']:,}", escape(plain("; ".join(drifts) or "-")),
        )  # fmt: skip
    table_console().print(table)


def _told(figure: Figure | None) -> str:
    if figure is None:
        return "-"
    ends = f" ({figure.low:.3g}-{figure.high:.3g})" if figure.low is not None and figure.high is not None else ""
    value = f"{figure.value:,.0f}" if abs(figure.value) >= LARGE else f"{figure.value:.3g}"  # never 1.8e+03
    return f"{value}{ends}"


def finding(
    identity: Annotated[str, typer.Argument(metavar="ID", help="Of a finding: its first digits are enough.")],
    verify: Annotated[bool, typer.Option("--verify", help="Compute it again from the log.")] = False,
    as_json: JsonOption = False,
) -> None:
    """What was found, on which rows, against what, and what followed from it; with --verify whether the log says so.

    The outcome is one of: confirmed (to the last digit), differs, erased (rows were forgotten on demand), cannot (the
    log or a record that it rests on is gone). Exit code 6 where it differs.
    """
    from mlratchet.flows.cli.output import emit, working
    from mlratchet.models.printable import one_line

    with working(f"Reading finding {identity}", hidden=as_json) as say:
        from mlratchet.models.monitoring.answers import said_about
        from mlratchet.tasks.actions.monitor import find_finding
        from mlratchet.tasks.actions.monitor import verify as compute_again
        from mlratchet.tasks.wiring import open_adapters

        adapters = open_adapters()
        found = find_finding(adapters, identity)
        answers = said_about(adapters.store, found.pipeline, found.id)
        if verify:
            say("computing it again from the log")
        again = compute_again(adapters, found) if verify else None
    told = found.model_dump(mode="json") | {"id": found.id}
    lines = [
        f"{found.severity} {found.id}",
        f"{found.pipeline} version {found.version}: {found.words}",
        f"  {found.kind}: {found.subject}, {found.measure}, n={found.n}, expected {found.threshold}",
        f"  method: {found.method}",
        f"  window: {_span(found.window.from_s, found.window.to_s)}, {_rows(found)}",
    ]
    if found.reference:
        lines.append(f"  compared with: {found.reference}")
    told["answers"] = answers
    lines += [f"  what followed: {line}" for line in told["answers"] or ["nothing yet; the scheduled look decides it"]]
    if again is not None:
        told |= {"verified": again.outcome, "why": again.words}
        lines.append(f"{again.outcome}: {again.words}")
    emit(told, [one_line(line) for line in lines], as_json=as_json)
    if again is not None and again.outcome == "differs":
        raise typer.Exit(6)


def _rows(found: Finding) -> str:
    return f"{found.window.rows:,} rows of {len(found.window.files)} log files"


def _span(from_s: float, to_s: float) -> str:
    from mlratchet.models.moments import utc

    return f"{utc(from_s)} to {utc(to_s)}"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(monitor)
    app.command()(finding)

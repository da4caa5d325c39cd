"""Commands that look back: compare two versions, try a policy on the past."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from mlratchet.models.moments import utc

if TYPE_CHECKING:
    from mlratchet.models.backtest.simulate import Backtest, Span
    from mlratchet.models.comparison.compare import Difference
    from mlratchet.tasks.actions.compare import Compared
    from rich.console import Console

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
PipelineArgument = Annotated[str, typer.Argument(help="Name of a pipeline.")]
SHOWN = 10  # disagreements in the terminal; the page has more
WORDS = {"a": "[red]A is better[/]", "b": "[green]B is better[/]", "neither": "[dim]no difference shown[/]"}


def compare(
    pipeline: PipelineArgument,
    a: Annotated[int, typer.Argument(metavar="A", help="A version, as `ratchet versions` lists it.", min=1)],
    b: Annotated[int, typer.Argument(metavar="B", help="Another; differences are B minus A.", min=1)],
    html: Annotated[Path | None, typer.Option("--html", help="Also write the page to this file.")] = None,
    seed: Annotated[int, typer.Option(help="Of the bootstrap.", min=0)] = 0,
    as_json: JsonOption = False,
) -> None:
    """Two versions on the same test rows: metrics with intervals, paired differences, slices, disagreements,
    calibration, latency.

    Both are fetched, verified and scored now, on the test rows of the later one that neither was trained on. The same
    as a self-contained HTML page is logged to MLflow, beside version B. Nothing is moved.
    """
    from mlratchet.flows.cli.output import emit, working, write_file
    from mlratchet.models.errors import InfrastructureError

    page, lost = None, ""
    with working(f"Comparing versions {a} and {b} of {pipeline}", hidden=as_json) as say:
        from mlratchet.tasks.actions.compare import compare_versions, log_page
        from mlratchet.tasks.wiring import open_adapters

        adapters = open_adapters()
        compared = compare_versions(adapters, pipeline, a, b, seed=seed, on_stage=say)
        if html is not None:
            write_file(html, compared.page.encode())
        say("the page")
        try:
            page = log_page(adapters, compared)
        except InfrastructureError as error:  # the comparison stands; its page can be written with --html
            lost = error.line()
    if lost:
        typer.echo(f"the page is not in MLflow: {lost}", err=True)
    if as_json:
        emit({**compared.document(), "page": page}, [], as_json=True)
        return
    show(compared, page)


def show(compared: Compared, page: str | None) -> None:
    """Tables in the terminal."""
    from mlratchet.flows.cli.output import table_console
    from mlratchet.models.comparison.page import overall
    from rich.markup import escape
    from rich.table import Table

    console = table_console(soft_wrap=True)
    found = compared.comparison
    a, b = compared.a["version"], compared.b["version"]
    console.print(f"[bold]{compared.name}[/]: version {a} (A) and version {b} (B)")
    console.print(f"{found.n} test rows: {compared.rows_from}; {found.confidence:.0%} intervals, B minus A\n")
    print_differences(console, "metric", [(m.metric, m) for m in overall(found)])
    hidden = len(found.metrics) - len(overall(found))
    if hidden:
        console.print(f"[dim]{hidden} metrics of single classes are on the page and in --json[/]")
    if found.slices:
        named = [(f"{s.column} = {s.told} (n={s.difference.n})", s.difference) for s in found.slices]
        print_differences(console, "slice", named, title=f"Slices: {found.slices[0].difference.metric}")
    console.print(f"{found.disagreeing_rows} of {found.n} rows have different answers")
    if found.disagreements:
        rows = Table()
        for column in ("row", "target", "A said", "B said", "closer"):
            rows.add_column(column)
        for d in found.disagreements[:SHOWN]:
            closer = "B" if d.b_badness < d.a_badness else "A"
            rows.add_row(*(escape(text) for text in (d.id, d.target, d.a, d.b)), closer)
        console.print(rows)
    times = compared.latency
    console.print(
        f"latency of one row, p50 / p95: A {times.a_ms['p50']:.2f} / {times.a_ms['p95']:.2f} ms, "
        f"B {times.b_ms['p50']:.2f} / {times.b_ms['p95']:.2f} ms"
    )
    if page is not None:
        console.print(f"page: {page}  (`ratchet open '{page}'` leads a browser in)")


def print_differences(
    console: Console, subject: str, found: Sequence[tuple[str, Difference]], *, title: str | None = None
) -> None:
    """A line each; numbers are never cut, words give way on a narrow terminal. Below: why one has no interval."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=title, box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column(subject, overflow="fold")
    for number in ("A", "B", "B - A", "interval"):
        table.add_column(number, justify="right", no_wrap=True)
    table.add_column("")
    for name, one in found:
        ends = one.difference_interval
        missing = "[dim]not computed[/]" if one.difference is None else "[dim]no interval[/]"
        table.add_row(
            escape(name),
            "-" if one.a is None else f"{one.a:.4f}",
            "-" if one.b is None else f"{one.b:.4f}",
            "-" if one.difference is None else f"{one.difference:+.4f}",
            "-" if ends is None else f"{ends[0]:+.4f} to {ends[1]:+.4f}",
            missing if one.reason else WORDS[one.better],
        )
    console.print(table)
    for name, one in found:
        if one.reason:
            console.print(f"  {escape(name)}: {escape(one.reason)}")


def backtest(
    pipeline: PipelineArgument,
    policy: Annotated[
        Path, typer.Option("--policy", help="A policy file, or a pipeline file with other thresholds under `gates`.")
    ],
    plot: Annotated[
        Path | None, typer.Option("--plot", help="Where the picture goes; backtest-NAME.png without it.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Which past versions these thresholds would have promoted, and what would have served when.

    Every registered version is judged again in the order it came, against the champion that this policy would have
    had then. Latency, size and measures of deliveries are those recorded; models are scored again where they were
    never compared. A gate that a policy file leaves out is the pipeline's own. Nothing is moved.
    """
    import time
    from dataclasses import asdict

    from mlratchet.flows.cli.output import emit, progress_bar, write_file

    with progress_bar("Judging versions again", hidden=as_json) as advance:
        from mlratchet.flows.check_file import policy_of
        from mlratchet.models.backtest.plot import timeline
        from mlratchet.tasks.actions.backtest import backtest as judge_again
        from mlratchet.tasks.wiring import open_adapters

        adapters = open_adapters()
        rules = policy_of(policy, adapters.settings.pipelines_dir, pipeline)
        found = judge_again(adapters, pipeline, rules, on_progress=advance)
        picture = plot or Path(f"backtest-{pipeline}.png")
        write_file(picture, timeline(found, name=pipeline, until_s=time.time()))
    if as_json:
        emit({"pipeline": pipeline, "policy": rules.digest(), **asdict(found), "plot": str(picture)}, [], as_json=True)
        return
    show_backtest(found, pipeline)
    typer.echo(f"picture: {picture}")


def show_backtest(found: Backtest, pipeline: str) -> None:
    """A table in the terminal."""
    from mlratchet.flows.cli.output import table_console
    from rich.markup import escape
    from rich.table import Table

    console = table_console(soft_wrap=True)
    table = Table(title=f"{pipeline}: under this policy")
    for column in ("version", "registered", "against", "verdict", "in fact"):
        table.add_column(column, no_wrap=True)
    for step in found.steps:
        gate, verdict = list(step.verdicts.items())[-1]
        words = "[green]promoted[/]" if step.promoted else f"[red]{gate} gate: {verdict}[/]"
        fact = "promoted" if step.was_promoted else "not promoted"
        table.add_row(
            str(step.version),
            utc(step.at_s),
            "-" if step.against is None else f"version {step.against}",
            words,
            fact if step.promoted == step.was_promoted else f"[bold]{fact}[/]",
        )
    console.print(table)
    for step in found.steps:
        for reason in step.reasons:
            console.print(f"  version {step.version}: {escape(reason)}")
    console.print("would have served: " + spans(found.served))
    console.print("did serve:         " + spans(found.did_serve))
    count = len(found.differs)
    console.print(f"{count} of {len(found.steps)} versions would have fared otherwise" if count else "no difference")


def spans(served: tuple[Span, ...]) -> str:
    """Versions and since when."""
    return ", ".join(f"version {span.version} from {utc(span.from_s)}" for span in served) or "nothing"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (compare, backtest):
        app.command()(command)

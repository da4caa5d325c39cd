"""`ratchet tune`: a study in this terminal."""

from __future__ import annotations

import getpass
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from mlratchet.models.tuning.study import TrialFacts
    from mlratchet.tasks.steps.search import Listener


def tune(
    pipeline: Annotated[
        str, typer.Argument(help="Name of a file in deployments/pipelines that has a `tune:` section.")
    ],
    trials: Annotated[
        int | None, typer.Option(min=1, help="Of the whole study, finished ones included; the file's without it.")
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Stop after so long; the study is kept.")
    ] = None,
    parallel: Annotated[str | None, typer.Option(metavar="N|auto", help="Trials side by side.")] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a setting first; another setting is another study."),
    ] = None,
    apply: Annotated[
        bool,
        typer.Option("--apply", help="Then retrain with the best values, through the same gates as any candidate."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")] = False,
) -> None:
    """Search for better settings, architectures included, on rows that no gate judges on.

    The pipeline file says what may vary:

        tune:
          metric: accuracy
          trials: 20
          space:
            train.optimizer.learning_rate: {kind: float, low: 0.0005, high: 0.02, log: true}
            workload.parameters.base_width: {kind: int, low: 8, high: 32, step: 8}
            train.optimizer.name: {kind: categorical, choices: [adamw, sgd]}

    Trial 0 is the file's own values. Trials that fall behind are ended early, equal ones are trained once.
    **The same command goes on with the study**, after Ctrl-C, a kill or with more --trials; it is kept in the bucket,
    so another machine can go on as well. Nothing is promoted: the last line of the output is the command that sends
    the best through the gates, and --apply runs it.

    Examples: `ratchet tune digits --trials 6`, `ratchet tune digits --timeout 600 --apply`.
    """
    from mlratchet.flows.cli.output import emit
    from mlratchet.flows.cli.runs import reading_lines, report_lines
    from mlratchet.flows.runs.start import run_on_worker
    from mlratchet.flows.runs.start_study import tune_here
    from mlratchet.models.tuning.study import by_study

    with watching(hidden=as_json) as listener:
        report = tune_here(
            pipeline,
            {
                "trials": trials,
                "timeout_seconds": timeout,
                "parallel": _number(parallel),
                "set": list(assignments or ()),
            },
            requested_by=getpass.getuser(),
            listener=listener,
        )
    if apply and report.get("set"):
        if not as_json:
            emit(report, [*reading_lines(report), report["line"], "applying it:"], as_json=False)
        report["applied"] = run_on_worker(
            pipeline,
            (*(assignments or ()), *report["set"]),
            quiet=as_json,
            requested_by=by_study(getpass.getuser(), report["study"]),
        )
        report["exit_code"] = report["applied"]["exit_code"]
        emit(report, report_lines(report["applied"]), as_json=as_json)
    else:
        emit(report, [*reading_lines(report), report["line"]], as_json=as_json)
    if report["outcome"] == "interrupted":
        raise typer.Exit(130)
    if report["exit_code"]:
        raise typer.Exit(report["exit_code"])


def _number(text: str | None) -> int | str | None:
    return int(text) if text is not None and text.isdigit() else text


@contextmanager
def watching(*, hidden: bool) -> Iterator[Listener]:
    """A bar with the best so far on a terminal, a line per trial elsewhere, nothing with `hidden`; all on stderr."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    logging.getLogger("prefect").setLevel(logging.ERROR if hidden else logging.WARNING)
    console = Console(file=sys.stderr, quiet=hidden, highlight=False, soft_wrap=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=hidden or not console.is_terminal) as bar:
        task = bar.add_task("preparing the rows", total=None)

        def tell(trials: list[TrialFacts], ended: TrialFacts | None, total: int) -> None:
            from mlratchet.models.tuning.study import COUNTED

            bar.update(task, description="trials", completed=sum(t.state in COUNTED for t in trials), total=total)
            if ended is not None:
                console.print(_line(ended))

        yield tell


def _line(trial: TrialFacts) -> str:
    mark = {"complete": "[green]✓[/]", "pruned": "[yellow]✂[/]"}.get(trial.state, "[red]✗[/]")
    values = "  ".join(f"{key.rpartition('.')[2]}={_short(value)}" for key, value in sorted(trial.values.items()))
    what = f"{trial.value:.4f}" if trial.value is not None else trial.state
    why = f"  [dim]{trial.reason}[/]" if trial.state in ("infeasible", "failed") else ""
    return f"  {mark} trial {trial.number:<3} {what:>10}  [dim]{trial.seconds:5.1f} s[/]  {values}{why}"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(tune)

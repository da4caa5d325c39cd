"""The command `ratchet score`: a batch of rows from S3 to S3."""

from __future__ import annotations

import getpass
import logging
from typing import Annotated

import typer


def score(
    pipeline: Annotated[str, typer.Argument(help="Name of a pipeline.")],
    source: Annotated[str, typer.Argument(help="Where the rows are: s3://bucket/prefix.")],
    target: Annotated[str, typer.Argument(help="Where the scores go: s3://bucket/prefix, empty or of this batch.")],
    version: Annotated[int | None, typer.Option(min=1, help="A version's number; the champion without it.")] = None,
    form: Annotated[
        str | None, typer.Option("--format", help="Format of the objects (docs/formats.md); the pipeline's without it.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")] = False,
) -> None:
    """Score every row below a place of S3 by one verified version, and write Parquet below another.

    Rows are read as the pipeline reads its deliveries; no label is needed, and one that is there gives the metrics.
    What does not fit the schema is set aside with file, row, rule and reason: "N read, M scored, K set aside".

        TARGET/scores/part-*.parquet     id, prediction, probabilities by class, version, file and row
        TARGET/set-aside/part-*.parquet  what was not scored, and why
        TARGET/manifest.json             signed, last: inputs, artifact and outputs by digest

    **The same command goes on with it** after Ctrl-C or a kill: what is finished is not scored again.

    Example: `ratchet score digits s3://mine/day-7 s3://mine-scores/day-7`.
    """
    from mlratchet.flows.cli.output import emit, progress_bar
    from mlratchet.flows.parameters import ScoreParameters
    from mlratchet.flows.runs.start_score import score_here
    from mlratchet.models.scoring.places import place_of_uri

    logging.getLogger("prefect").setLevel(logging.CRITICAL)  # what is wrong is said once, at the end
    for place, what in ((source, "input"), (target, "output")):
        place_of_uri(place, what)  # in words, before the form refuses it
    source, target = source.strip(), target.strip()
    asked = ScoreParameters(source=source, target=target, version=version, format=form, requested_by=getpass.getuser())
    with progress_bar("bytes of the input", hidden=as_json) as advance:
        report = score_here(pipeline, asked, lambda done, total, _scored, _aside: advance(done, total))
    if report["exit_code"]:
        emit(report, [], as_json=as_json) if as_json else typer.echo(report["line"], err=True)
        raise typer.Exit(report["exit_code"])
    lines = [report["line"]]
    if report["found"]:
        lines.append(f"{report['found']} of {report['pieces']} pieces were finished by an earlier run")
    if report["metrics"]:
        told = ", ".join(f"{name} {value:.4g}" for name, value in report["metrics"].items())
        lines.append(f"on {report['labelled']:,} labelled rows: {told}")
    lines.append(f"{report['target']}: version {report['version']} of {pipeline}; manifest.json names every file")
    emit(report, lines, as_json=as_json)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(score)

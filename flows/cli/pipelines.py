"""Commands about pipelines as a whole: ls, stop, remove, raw."""

from __future__ import annotations

from typing import Annotated, Literal

import typer
from mlratchet.models.moments import utc

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
PipelineArgument = Annotated[str, typer.Argument(help="Name of a pipeline.")]
HOUR_S, DAY_S = 3600.0, 86_400.0


def list_pipelines(as_json: JsonOption = False) -> None:
    """Every pipeline: champion, its metric on the test rows, since when it serves, schedule, and how its server is."""
    from mlratchet.flows.cli.output import emit
    from mlratchet.tasks.actions.overview import overview
    from mlratchet.tasks.wiring import open_adapters

    found = overview(open_adapters())
    width = max([len("pipeline"), *(len(one["pipeline"]) for one in found)])
    lines = (
        [f"{'pipeline':{width}}  {'champion':10}  {'metric':24}  {'age':>6}  {'schedule':16}  health"] if found else []
    )
    for one in found:
        metric = f"{one['metric']} {one['value']:.4g}" if one["value"] is not None else "-"
        champion = f"version {one['champion']}" if one["champion"] is not None else "-"
        told = [one["health"], one["waits"], *one["held"], *one["asked"]]
        lines.append(
            f"{one['pipeline']:{width}}  {champion:10}  {metric:24}  {age(one['age_s']):>6}  "
            f"{one['schedule'] or '-':16}  {'; '.join(filter(None, told))}"
        )
    emit(found, lines or ["no pipeline yet; put a file into deployments/pipelines"], as_json=as_json)


def age(seconds: float | None) -> str:
    """As `3d`, `5h` or `12m`."""
    if seconds is None:
        return "-"
    if seconds >= DAY_S:
        return f"{seconds / DAY_S:.0f}d"
    return f"{seconds / HOUR_S:.0f}h" if seconds >= HOUR_S else f"{max(0.0, seconds) / 60:.0f}m"


def withdrawn(pipeline: str, how: Literal["stopped", "removed"], *, as_json: bool) -> None:
    """Do it and say what is different now."""
    from mlratchet.flows.cli.output import emit
    from mlratchet.flows.withdraw import withdraw
    from mlratchet.tasks.wiring import open_adapters

    done = withdraw(open_adapters(), pipeline, how=how)
    changed = [*(["its server ends"] if done["server_ended"] else []), *done["changed"]]
    back = f"`ratchet deploy {pipeline}` or `ratchet run {pipeline}` starts it again"
    words = "; ".join(changed) or "nothing was left to do"
    emit(done, [f"{pipeline}: {how}: {words}. Ledger, evidence and data stay; {back}"], as_json=as_json)


def stop(pipeline: PipelineArgument, as_json: JsonOption = False) -> None:
    """Stop serving a pipeline and pause its schedule. Ledger, evidence and deployment stay; safe to repeat."""
    withdrawn(pipeline, "stopped", as_json=as_json)


def remove(pipeline: PipelineArgument, as_json: JsonOption = False) -> None:
    """Stop a pipeline and take its deployment away from Prefect. Ledger and evidence stay; safe to repeat."""
    withdrawn(pipeline, "removed", as_json=as_json)


raw = typer.Typer(help="What lies in the raw bucket below the source of a pipeline.", no_args_is_help=True)


@raw.command("ls")
def raw_ls(pipeline: PipelineArgument, as_json: JsonOption = False) -> None:
    """List the objects that the next run reads."""
    from mlratchet.flows.cli.output import emit
    from mlratchet.tasks.actions.raw_objects import list_raw, source_of
    from mlratchet.tasks.wiring import open_adapters

    bucket, prefix = source_of(open_adapters(), pipeline)
    found = list_raw(bucket, prefix)
    lines = [f"{utc(one['modified_s'])}  {one['size_bytes']:>12,}  {one['key']}" for one in found]
    total = sum(one["size_bytes"] for one in found)
    emit(
        found, [*lines, f"{len(found)} objects, {total / 1e6:.1f} MB in s3://{bucket.bucket}/{prefix}"], as_json=as_json
    )


@raw.command("rm")
def raw_rm(
    pipeline: PipelineArgument,
    keys: Annotated[
        list[str] | None,
        typer.Argument(help="Names as `ratchet raw ls` shows them; NAME/ is all below it."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Everything below the source.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go. Nothing is changed.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Take objects out of the raw bucket, such as a file that was uploaded by mistake; the next run reads without them.

    Runs before keep what they read: copies of their own, or the versions that they pin. Nobody keeps what no run has
    read yet. A person is taken out of all of it by `ratchet forget`.
    """
    from mlratchet.flows.cli.output import emit
    from mlratchet.tasks.actions.raw_objects import list_raw, remove_raw, source_of
    from mlratchet.tasks.wiring import open_adapters

    bucket, prefix = source_of(open_adapters(), pipeline)
    gone = remove_raw(bucket, prefix, keys or [], everything=everything, dry_run=dry_run)
    left = len(list_raw(bucket, prefix)) - (len(gone) if dry_run else 0)
    verb = "would delete" if dry_run else "deleted"
    lines = [f"{verb} s3://{bucket.bucket}/{prefix}{key}" for key in gone]
    lines.append(f"{len(gone):,} {'object' if len(gone) == 1 else 'objects'}; {what_is_left(pipeline, left)}")
    emit(gone, lines, as_json=as_json)


def what_is_left(pipeline: str, objects: int) -> str:
    """What the next run reads, and what runs before it keep."""
    if not objects:
        return f"nothing is left to read: `ratchet upload {pipeline} FILES` comes before the next run"
    return f"the next run of {pipeline} reads what is left ({objects:,}); runs before keep what they read"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("ls")(list_pipelines)
    for command in (stop, remove):
        app.command()(command)
    app.add_typer(raw, name="raw")

"""The command that shows what a delivery held and was not used."""

from __future__ import annotations

from typing import Annotated

import typer

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


def rejects(
    pipeline: Annotated[str, typer.Argument(help="Name of a pipeline.")],
    as_json: JsonOption = False,
) -> None:
    """Every record of the newest delivery that was set aside: file, row, rule, reason."""
    from mlratchet.flows.cli.output import emit
    from mlratchet.models.data.reading import newest_quarantine, printable
    from mlratchet.tasks.support.pipelines import require_pipeline
    from mlratchet.tasks.wiring import open_adapters

    adapters = open_adapters()
    found = newest_quarantine(adapters.store, pipeline)
    if found is None:
        require_pipeline(adapters, pipeline)
        nothing = f"nothing was read of {pipeline} yet, or `ratchet gc` removed it; `ratchet run {pipeline}` reads"
        emit({"pipeline": pipeline, "rejects": []}, [nothing], as_json=as_json)
        return
    lines = [f"{pipeline}, run {found['run']}: {found['line']}"]
    for one in found["rejects"]:
        lost = f" ({one['records']:,} records)" if one["records"] > 1 else ""
        lines.append(f"  {one['rule']}: {one['reason']}{lost}")
    emit({"pipeline": pipeline, **found}, [printable(line) for line in lines], as_json=as_json)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(rejects)

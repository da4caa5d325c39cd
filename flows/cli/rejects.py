"""The command that shows what a delivery held and was not used, and what of it would be used now."""

from __future__ import annotations

from itertools import islice
from typing import Annotated, Any

import typer

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
PAGE = 1000  # records of a page, where none is asked for


def rejects(
    pipeline: Annotated[str, typer.Argument(help="Name of a pipeline.")],
    rule: Annotated[str | None, typer.Option("--rule", help="Only what this rule set aside.")] = None,
    page: Annotated[int, typer.Option("--page", min=1, help=f"Which {PAGE} of them.")] = 1,
    retry: Annotated[
        bool, typer.Option("--retry", help="Read again what was set aside, as the deployed file says now.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Every record of the newest delivery that was set aside: file, row, field, rule, value, reason."""
    from mlratchet.flows.cli.output import emit, working
    from mlratchet.models.data.reading import printable

    with working(f"Reading what was set aside of {pipeline}", hidden=as_json):
        from mlratchet.models.data.quarantine import newest_quarantine
        from mlratchet.tasks.actions.retry_rejects import retry_rejects
        from mlratchet.tasks.support.pipelines import require_pipeline
        from mlratchet.tasks.wiring import open_adapters

        adapters = open_adapters()
        found = newest_quarantine(adapters.store, pipeline)
        if found is None:
            require_pipeline(adapters, pipeline)
        again = retry_rejects(adapters, pipeline, found, rule) if found is not None and retry else None
    if found is None:
        nothing = f"nothing was read of {pipeline} yet, or `ratchet gc` removed it; `ratchet run {pipeline}` reads"
        emit({"pipeline": pipeline, "rejects": []}, [nothing], as_json=as_json)
        return
    if again is not None:
        emit(again.document(), [printable(line) for line in again.lines()], as_json=as_json)
        return
    counts = found.rules()
    if rule is not None and rule not in counts:
        refuse_rule(rule, list(counts))
    shown = list(islice(found.rejects(rule, skip=(page - 1) * PAGE), PAGE + 1))
    more = len(shown) > PAGE
    lines = [f"{pipeline}, run {found.about['run']}: {found.about['line']}", *map(line_of, shown[:PAGE])]
    if more:
        lines.append(f"  more: --page {page + 1}")
    document = {"pipeline": pipeline, **found.about, "counts": counts, "rejects": shown[:PAGE], "more": more}
    emit(document, [printable(line) for line in lines], as_json=as_json)


def line_of(one: dict[str, Any]) -> str:
    """A reject in a line."""
    lost = f" ({one['records']:,} records)" if one["records"] > 1 else ""
    return f"  {one['rule']}: {one['reason']}{lost}"


def refuse_rule(rule: str, there: list[str]) -> None:
    """Raises ``ConfigurationError``: no record was set aside by it."""
    from mlratchet.models.errors import ConfigurationError
    from mlratchet.models.nearest import nearest_hint

    raise ConfigurationError(f"nothing was set aside by rule {rule!r}; {nearest_hint(rule, there)}")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(rejects)

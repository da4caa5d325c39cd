"""The command that ends a hold: resolve."""

from __future__ import annotations

from typing import Annotated

import typer

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


def resolve(
    finding: Annotated[str, typer.Argument(help="Of what holds a pipeline: first digits, or the pipeline's name.")],
    reason: Annotated[str, typer.Option(help="Why it may end. Signed, and kept in the chain of holds.")],
    as_json: JsonOption = False,
) -> None:
    """Lift a hold: retraining and promotion go on.

    `ratchet ls` shows what is held and by which finding. A pipeline's name lifts whatever holds it.
    """
    from mlratchet.flows.cli.output import emit
    from mlratchet.tasks.actions.resolve import resolve as lift
    from mlratchet.tasks.wiring import open_adapters

    entry = lift(open_adapters(), finding, reason=reason)
    what = f"finding {entry['finding'][:12]}" if entry["finding"] else "everything that held it"
    emit(entry, [f"{entry['name']}: {what} is resolved by {entry['actor']}: {entry['words']}"], as_json=as_json)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(resolve)

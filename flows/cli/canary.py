"""`ratchet canary`: how a version does beside the champion, and the way back."""

from __future__ import annotations

from typing import Annotated

import typer
from mlratchet.flows.cli.models import JsonOption, PipelineArgument


def canary(
    pipeline: PipelineArgument,
    stop: Annotated[
        bool, typer.Option("--stop", help="End it now: the champion alone answers, and the version is refused.")
    ] = False,
    reason: Annotated[str, typer.Option(help="With --stop: why. Signed, and kept in the decision.")] = "",
    as_json: JsonOption = False,
) -> None:
    """The version in its shadow or canary: share, requests, each live check, and what follows.

    `--stop --reason ...` takes it away from every client at once, by a signed decision in your name.
    """
    from mlratchet.flows.cli.output import emit
    from mlratchet.models.errors import ConfigurationError
    from mlratchet.tasks.actions.canary import lines_of, show_canary, stop_canary
    from mlratchet.tasks.wiring import open_adapters

    if reason and not stop:
        raise ConfigurationError("--reason belongs to --stop; add it, or leave it out")
    if stop:
        ended = stop_canary(open_adapters(), pipeline, reason=reason)
        line = (
            f"the canary of version {ended['version']} is over (decision {ended['decision'][:12]}): {ended['reason']}"
        )
        emit(ended, [line], as_json=as_json)
        return
    told = show_canary(open_adapters(), pipeline)
    emit(told, lines_of(told), as_json=as_json)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(canary)

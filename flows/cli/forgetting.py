"""The command that erases what a client sent: forget."""

from __future__ import annotations

from typing import Annotated

import typer

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


def forget(
    name: Annotated[str, typer.Argument(help="Of the pipeline.")],
    key: Annotated[str, typer.Argument(help="Whose rows: what the client sent as x-client-key.")],
    as_json: JsonOption = False,
) -> None:
    """Erase a client's rows from the inference log, with their labels, pictures and sounds.

    The chain of the log holds as before, and tells that rows were erased. What is on its way to the log at this moment
    comes after: run it again once the client's last request is a minute old. Raw deliveries have no client's key: take
    a person's records out of those where they are made.
    """
    from dataclasses import asdict

    from mlratchet.flows.cli.output import emit
    from mlratchet.tasks.actions.forget import forget as erase
    from mlratchet.tasks.wiring import open_adapters

    adapters = open_adapters()
    found = erase(adapters.store, adapters.keys, name, key)
    answers = f"{found.answers.rows} rows in {found.answers.files} files"
    beside = f"{found.feedback.rows} labels and {found.answers.media} pictures or sounds"
    lines = [f"{name}: {answers}, {beside} are erased"]
    lines += [f"{one}: names an erased request by its id, and nothing that it sent" for one in found.named_in]
    emit(asdict(found), lines, as_json=as_json)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(forget)

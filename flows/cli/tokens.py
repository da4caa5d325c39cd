"""`ratchet tokens`: who may ask the model servers for what."""

from __future__ import annotations

import json
from typing import Annotated

import typer

tokens = typer.Typer(no_args_is_help=True, help="Tokens of the model servers: make, list, revoke.")


@tokens.command()
def make(
    name: Annotated[str, typer.Argument(help="Whose it is, e.g. the name of a service.")],
    scope: Annotated[list[str], typer.Option(help="predict, feedback or admin; several times for several.")],
) -> None:
    """Make a token and print it. It is shown once: only its digest is kept."""
    from mlratchet.infra.serving.token_file import TokenFile
    from mlratchet.infra.settings import find_home
    from mlratchet.models.errors import ConfigurationError
    from mlratchet.models.nearest import nearest_hint
    from mlratchet.models.serving.tokens import SCOPES

    for one in scope:
        if one not in SCOPES:
            raise ConfigurationError(f"--scope: got {one!r}, expected {', '.join(SCOPES)}; {nearest_hint(one, SCOPES)}")
    typer.echo(TokenFile(find_home()).make(name, tuple(one for one in SCOPES if one in scope)))


@tokens.command("list")
def list_tokens(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List them, without what they are."""
    from mlratchet.infra.serving.token_file import TokenFile
    from mlratchet.infra.settings import find_home
    from mlratchet.models.moments import utc

    held = sorted(TokenFile(find_home()).tokens().values(), key=lambda one: one.created_s)
    told = [{"name": one.name, "id": one.id, "scopes": list(one.scopes), "created": utc(one.created_s)} for one in held]
    if as_json:
        typer.echo(json.dumps(told))
        return
    for row in told:
        typer.echo(f"{row['name']}  {row['id']}  {','.join(row['scopes'])}  {row['created']}")
    if not told:
        typer.echo("no tokens; `ratchet tokens make NAME --scope predict`")


@tokens.command()
def revoke(name: Annotated[str, typer.Argument(help="Its name or id.")]) -> None:
    """Take it no more: the servers see it at their next request."""
    from mlratchet.infra.serving.token_file import TokenFile
    from mlratchet.infra.settings import find_home

    TokenFile(find_home()).revoke(name)
    typer.echo(f"{name} is revoked")


def register(app: typer.Typer) -> None:
    """Below `ratchet tokens`."""
    app.add_typer(tokens, name="tokens")

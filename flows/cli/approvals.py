"""Commands of people who approve."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
UNITS_S = {"m": 60.0, "h": 3600.0, "d": 86400.0}


def seconds_of(text: str) -> float:
    """``90m``, ``24h`` or ``3d`` in seconds. Raises ``ConfigurationError``."""
    from mlratchet.models.errors import ConfigurationError

    match = re.fullmatch(r"(\d+(?:\.\d+)?)([mhd])", text.strip())
    if match is None or float(match[1]) <= 0:
        raise ConfigurationError(f"--expires-in {text!r}: expected a number with m, h or d, e.g. 24h")
    return float(match[1]) * UNITS_S[match[2]]


def approve(
    pipeline: Annotated[str, typer.Argument(help="Name of a pipeline.")],
    version: Annotated[
        int | None, typer.Argument(help="A version that waits; the newest one without it.", min=1)
    ] = None,
    reason: Annotated[str, typer.Option(help="Why; kept in the bucket and in the decision.")] = "",
    as_owner: Annotated[
        str | None, typer.Option("--as", metavar="NAME", help="Whose key; your user name without it.")
    ] = None,
    key: Annotated[Path | None, typer.Option(help="File of your private key; else from RATCHET_APPROVER_KEY.")] = None,
    expires_in: Annotated[
        str | None, typer.Option(metavar="24h", help="How long the approval counts, at most what the policy says.")
    ] = None,
    reject: Annotated[bool, typer.Option("--reject", help="Say no.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Answer for a version that waits for approval, signed with your own key.

    Counts for this very version, policy, data and champion alone. A run that waits goes on by itself; without one,
    `ratchet promote` goes on from here, and nothing trains again.
    """
    from mlratchet.flows.cli.output import emit
    from mlratchet.models.errors import ConfigurationError
    from mlratchet.tasks.actions.approving import Answer, answer, choose, verify_request
    from mlratchet.tasks.wiring import open_adapters

    if not reason.strip():
        raise ConfigurationError('a reason is required: --reason "..."')
    said = Answer(
        decision="reject" if reject else "approve",
        reason=reason.strip(),
        owner=as_owner,
        key_file=key,
        counts_for_s=seconds_of(expires_in) if expires_in else None,
    )
    adapters = open_adapters()
    request = choose(adapters, pipeline, version)
    words = verify_request(adapters, request)
    made = answer(adapters, request, said)
    lines = [words, "", f"{made['question']} {made['approver']}: {made['decision']} ({made['reason']})"]
    lines += [f"  {one}" for one in made["standing"]]
    if made["settled"] and not reject:
        lines.append(f"a run that waits goes on; without one: `ratchet promote {pipeline} {made['version']}`")
    emit(made, lines, as_json=as_json)


def approvals(
    pipeline: Annotated[str | None, typer.Argument(help="One pipeline; all without it.")] = None,
    as_json: JsonOption = False,
) -> None:
    """What waits for approval, who was asked, and what was said."""
    from mlratchet.flows.cli.output import emit
    from mlratchet.tasks.actions.approving import list_approvals
    from mlratchet.tasks.wiring import open_adapters

    rows = list_approvals(open_adapters(), pipeline)
    lines = []
    for row in rows:
        against = f" over version {row['champion']}" if row["champion"] else ""
        lines.append(
            f"{row['pipeline']} version {row['version']}{against}, {row['gate']} gate: {row['state']}; asked by "
            f"{row['asked_by']} {row['asked_at']}"
        )
        lines += [f"  {said}" for said in row["standing"]]
    emit(rows, lines or ["nothing waits for approval"], as_json=as_json)


def adopt(
    pipeline: Annotated[str, typer.Argument(help="Name of a pipeline.")],
    as_owner: Annotated[
        str | None, typer.Option("--as", metavar="NAME", help="Whose key; your user name without it.")
    ] = None,
    key: Annotated[Path | None, typer.Option(help="File of your private key; else from RATCHET_APPROVER_KEY.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Take over, once, what a release wrote that did not sign its records yet.

    Checks each against the signed decisions, lists what these do not say, and signs the list with your own key (an
    approver's: `ratchet keys new --owner NAME`). What contradicts a decision is refused, with exit code 6.
    """
    from mlratchet.flows.cli.output import emit
    from mlratchet.tasks.actions.adopt import adopt as take_over
    from mlratchet.tasks.actions.approving import Answer, approver
    from mlratchet.tasks.wiring import open_adapters

    adapters = open_adapters()
    signer, owner = approver(
        adapters, Answer(decision="adopt", reason="", owner=as_owner, key_file=key, counts_for_s=None)
    )
    made = take_over(adapters, pipeline, signer=signer, owner=owner)
    lines = [f"cannot be checked, believed on {owner}'s word: {line}" for line in made["unchecked"]]
    lines.append(f"{len(made['records'])} records of {pipeline} are believed from now on ({made['object']})")
    emit(made, lines, as_json=as_json)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (approve, approvals, adopt):
        app.command()(command)

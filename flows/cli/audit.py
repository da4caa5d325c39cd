"""Commands of whoever has to believe it: keys, champion, audit."""

from __future__ import annotations

import datetime as dt
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from mlratchet.models.moments import utc

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
PipelineArgument = Annotated[str, typer.Argument(help="Name of a pipeline.")]
RoleOption = Annotated[str, typer.Option(help="pipeline, approver or log (of the log writer).")]


def moment(at_s: float | None) -> str:
    """UTC, to the second."""
    return "-" if at_s is None else utc(at_s)


def read_moment(text: str) -> float:
    """Seconds since the epoch of an ISO 8601 time; without a zone it is UTC. Raises ``ConfigurationError``."""
    from mlratchet.models.errors import ConfigurationError

    try:
        read = dt.datetime.fromisoformat(text)
    except ValueError as exc:
        raise ConfigurationError(f"{text!r} is not a time; expected for example 2026-11-01T00:00Z") from exc
    return (read if read.tzinfo is not None else read.replace(tzinfo=dt.UTC)).timestamp()


def champion(
    pipeline: PipelineArgument,
    at: Annotated[str | None, typer.Option(help="Then, e.g. 2026-11-01T00:00Z; now without it.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Which version is champion, or was at a time, by the signed ledger. Exits with 4 when none was."""
    import time
    from dataclasses import asdict

    from mlratchet.flows.cli.output import emit
    from mlratchet.models.errors import GateRefusedError
    from mlratchet.tasks.support.pipelines import require_pipeline
    from mlratchet.tasks.wiring import open_adapters

    when_s = read_moment(at) if at is not None else time.time()
    adapters = open_adapters()
    entry = adapters.ledger.head(pipeline) if at is None else adapters.ledger.at(pipeline, when_s)
    if entry is None:
        require_pipeline(adapters, pipeline)
        raise GateRefusedError(f"{pipeline} had no champion at {moment(when_s)}; see `ratchet history {pipeline}`")
    line = (
        f"version {entry.version} (generation {entry.generation}, {entry.action} {moment(entry.at_s)}, {entry.actor}, "
        f"decision {entry.decision[:12]})"
    )
    emit(asdict(entry), [line], as_json=as_json)


def audit(
    pipeline: PipelineArgument,
    bucket: Annotated[str | None, typer.Option(help="Store bucket; the installation's without it.")] = None,
    endpoint: Annotated[str | None, typer.Option(help="S3 endpoint URL; the installation's without it.")] = None,
    trusted: Annotated[
        Path | None, typer.Option("--trusted-keys", help="Public list of keys, from `ratchet keys export`.")
    ] = None,
    expect_head: Annotated[
        str | None, typer.Option(help="Digest of a ledger entry that was seen earlier: it must still be there.")
    ] = None,
    files: Annotated[bool, typer.Option("--bytes/--no-bytes", help="Hash every file of every champion.")] = True,
    since: Annotated[
        bool,
        typer.Option("--since", help="Look only at what is newer than the head that the last clean audit here signed."),
    ] = False,
    replay: Annotated[bool, typer.Option("--replay", help="Judge every promoted version again from its rows.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Verify how every champion came to serve: from a read-only bucket and the public keys alone.

    Walks the ledger, verifies every signature, digest, gate and byte, and ends with one line. Exits with 6 when
    anything differs. Credentials: RATCHET_S3_ACCESS_KEY and RATCHET_S3_SECRET_KEY, or what boto3 finds.
    """
    from dataclasses import asdict

    from mlratchet.flows.cli.output import emit, working
    from mlratchet.models.errors import SecurityError
    from mlratchet.models.printable import one_line

    said = {"store_bucket": bucket, "s3_endpoint_url": endpoint, "trusted_keys": trusted}
    with working(f"Auditing {pipeline}", hidden=as_json):
        from mlratchet.infra.settings import load_audit_settings
        from mlratchet.models.audit.generation import Depth
        from mlratchet.tasks.actions.audit import audit as run_audit

        settings = load_audit_settings().model_copy(update={k: v for k, v in said.items() if v is not None})
        depth = Depth(files=files, replay=replay)
        report = run_audit(settings, pipeline, expect_head=expect_head, depth=depth, since=since)
    lines = [f"problem: {one_line(line)}" for line in report.problems]
    lines += [f"note: {one_line(line)}" for line in report.notes]
    emit({**asdict(report), "passed": report.passed, "line": report.line()}, [*lines, report.line()], as_json=as_json)
    if not report.passed:
        raise typer.Exit(SecurityError.exit_code)


keys = typer.Typer(help="Who signs and whom verifiers believe.", invoke_without_command=True, no_args_is_help=False)


@keys.callback()
def list_keys(context: typer.Context, as_json: JsonOption = False) -> None:
    """Without a further word: the public list, with the state of each key."""
    if context.invoked_subcommand is not None:
        return
    from mlratchet.flows.cli.output import emit
    from mlratchet.infra.keys.files import load_trusted, trusted_keys_file
    from mlratchet.infra.settings import load_settings

    found = list(load_trusted(trusted_keys_file(load_settings())))
    rows: list[dict[str, Any]] = [{**key.model_dump(mode="json"), "state": key.state()} for key in found]
    lines = [f"{'key':16}  {'role':8}  {'state':8}  {'valid from':20}  {'until':20}  owner"]
    for key in found:
        until = moment(key.revoked_s if key.revoked_s is not None else key.rotated_s)
        owner = f"{key.owner}: {key.reason}" if key.reason else key.owner
        lines.append(f"{key.id:16}  {key.role:8}  {key.state():8}  {moment(key.valid_from_s):20}  {until:20}  {owner}")
    emit(rows, lines, as_json=as_json)


def _role(text: str) -> Any:
    from mlratchet.models.errors import ConfigurationError

    if text not in ("pipeline", "approver", "log"):
        raise ConfigurationError(f"--role {text!r}: expected pipeline, approver or log")
    return text


@keys.command("new")
def new_key(
    owner: Annotated[str, typer.Option(help="Whose key it is, as a policy names approvers.")],
    role: RoleOption = "approver",
    as_json: JsonOption = False,
) -> None:
    """Make a key: the private half in a file that its owner alone reads, the public half in the list."""
    import time

    from mlratchet.flows.cli.output import emit
    from mlratchet.infra.keys.files import new_key, private_key_file
    from mlratchet.infra.settings import load_settings

    settings = load_settings()
    key = new_key(settings, _role(role), owner, now_s=time.time())
    file = private_key_file(settings, key.role, owner)
    lines = [f"key {key.id} of {owner} ({key.role}); its private half is in {file}: give that to {owner} alone"]
    emit({**key.model_dump(mode="json"), "file": str(file)}, lines, as_json=as_json)


@keys.command("trust")
def trust_key(
    public_key: Annotated[str, typer.Argument(help="Base64 of the 32 public bytes, as `ratchet keys export` shows.")],
    owner: Annotated[str, typer.Option(help="Whose key it is.")],
    role: RoleOption = "approver",
    as_json: JsonOption = False,
) -> None:
    """Add a public key whose private half is kept elsewhere."""
    import time

    from mlratchet.flows.cli.output import emit
    from mlratchet.infra.keys.files import trust_key
    from mlratchet.infra.settings import load_settings

    key = trust_key(load_settings(), public_key, _role(role), owner, now_s=time.time())
    emit(key.model_dump(mode="json"), [f"key {key.id} of {owner} is trusted as {key.role}"], as_json=as_json)


@keys.command("rotate")
def rotate_key(
    role: RoleOption = "pipeline",
    owner: Annotated[str | None, typer.Option(help="Of an approver's key.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Replace a private key. What the old one signed until now still verifies."""
    import time

    from mlratchet.flows.cli.output import emit
    from mlratchet.infra.keys.files import rotate_key
    from mlratchet.infra.settings import load_settings
    from mlratchet.models.errors import ConfigurationError

    if role == "approver" and owner is None:
        raise ConfigurationError("--role approver needs --owner NAME")
    old, new = rotate_key(load_settings(), _role(role), owner, now_s=time.time())
    lines = [f"key {new.id} signs from now on; {old.id} is {old.state()} and verifies what it signed before"]
    emit({"old": old.model_dump(mode="json"), "new": new.model_dump(mode="json")}, lines, as_json=as_json)


@keys.command("revoke")
def revoke_key(
    key_id: Annotated[str, typer.Argument(help="As `ratchet keys` lists it.")],
    reason: Annotated[str, typer.Option(help="Kept in the public list.")],
    since: Annotated[str | None, typer.Option(help="Stolen when, e.g. 2026-11-01T00:00Z; now without it.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Stop believing a key. What the ledgers hold from before is noted, and only that stays believed."""
    import time

    from mlratchet.flows.cli.output import emit
    from mlratchet.tasks.actions.keys import revoke
    from mlratchet.tasks.wiring import open_adapters

    since_s = read_moment(since) if since is not None else time.time()
    key, notes = revoke(open_adapters(), key_id, reason=reason, since_s=since_s)
    known = ", ".join(f"{name} up to generation {anchor.generation}" for name, anchor in sorted(key.anchors.items()))
    lines = [
        f"key {key.id} of {key.owner} is revoked from {moment(key.revoked_s)}; still believed: {known or 'nothing'}",
        *(f"note: {note}" for note in notes),
        *(["`ratchet keys rotate` makes the next one"] if key.role == "pipeline" else []),
    ]
    emit({**key.model_dump(mode="json"), "notes": notes}, lines, as_json=as_json)


@keys.command("export")
def export_keys() -> None:
    """Print the public list, for auditors and servers. It holds nothing secret."""
    from mlratchet.infra.keys.files import load_trusted, trusted_keys_file
    from mlratchet.infra.settings import load_settings

    sys.stdout.write(load_trusted(trusted_keys_file(load_settings())).to_json())


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (champion, audit):
        app.command()(command)
    app.add_typer(keys, name="keys")

"""The command that erases a person: forget."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mlratchet.tasks.actions.forget import Forgotten

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


def forget(
    name: Annotated[str, typer.Argument(help="Of the pipeline.")],
    key: Annotated[
        str, typer.Argument(help="Who: the id, group or entity of their records, or what they sent as x-client-key.")
    ],
    field: Annotated[str | None, typer.Option(help="The field that holds the key, where several could.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go. Nothing is changed.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Erase a person from deliveries and all that is made of them, the inference log, findings, pages and caches.

    A signed record names by digest what went, so that an audit says erased, not changed. Versions that were trained on
    it are named; while the champion is one of them, what it needs stays until another serves: exit code 1 then, and
    whenever something is left, such as versions of a bucket, files of a batch, or what another pipeline needs. Runs
    that begin meanwhile wait. Run it again once the client's last request is a minute old: what a server has in
    memory comes after.
    """
    from dataclasses import asdict

    from mlratchet.flows.cli.output import emit, working

    with working(f"Looking for one person in everything of {name}", hidden=as_json):
        from mlratchet.models.erasure.parts import ErasureBuckets
        from mlratchet.models.pipeline.store import load_pipeline
        from mlratchet.tasks.actions.forget import ForgetIn, forget_person
        from mlratchet.tasks.wiring import deployed_revision, open_adapters

        adapters = open_adapters()
        spec = load_pipeline(adapters.store, deployed_revision(adapters, name))
        raw = adapters.bucket(spec.source.bucket) if spec.source.bucket else adapters.raw
        where = ForgetIn(
            buckets=ErasureBuckets(
                store=adapters.store, raw=raw, uploads=adapters.bucket(adapters.settings.mlflow_bucket),
                open_bucket=adapters.bucket,
            ),
            keys=adapters.keys, home=adapters.settings.home, champion=adapters.ledger.head(name),
        )  # fmt: skip
        found = forget_person(where, spec, key, field=field, dry_run=dry_run)
    emit(asdict(found), lines_of(name, found), as_json=as_json)
    if found.waits_for is not None or found.left:
        raise typer.Exit(1)


def lines_of(name: str, found: Forgotten) -> list[str]:
    """For people."""
    if found.nothing and not found.left:
        return [f"{name}: nothing of this person was found"]
    done = "would be erased" if found.dry_run else "are erased"
    lines = [
        f"{name}: {found.records} records of deliveries, {found.log_rows} rows of the log, {found.labels} labels {done}"
    ]
    lines += [f"  {count:6} objects  {place}" for place, count in sorted(found.objects.items())]
    lines += [f"  {found.cached:6} files    caches of this home"] if found.cached else []
    if found.versions:
        told = ", ".join(map(str, found.versions))
        lines.append(f"trained on it: version {told}; they cannot be made again, nor judged again from their rows")
    if found.waits_for is not None:
        lines.append(
            f"version {found.waits_for} serves and was trained on it: what it needs stays. `ratchet run {name}` trains "
            "without it; once that version serves, the same command erases the rest"
        )
    elif found.versions:
        lines.append("`ratchet rollback` does not go back to a version whose artifact went")
    lines += [f"left: {one}" for one in found.left]
    if found.erasure is not None:
        lines.append(f"signed record: erasures/{name}/{found.erasure:08d}.json")
    return lines


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(forget)

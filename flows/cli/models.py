"""Commands about versions: who serves, why, and how to go back."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Annotated, Any

import typer
from mlratchet.models.moments import utc
from mlratchet.models.printable import one_line

if TYPE_CHECKING:
    from mlratchet.models.promotion.canary.entry import CanaryEntry
    from mlratchet.models.promotion.holds import HoldEntry

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
PipelineArgument = Annotated[str, typer.Argument(help="Name of a pipeline.")]
NEWEST = 20  # lines of a history, unless everything is asked for
VersionArgument = Annotated[int, typer.Argument(help="A version's number, as `ratchet versions` lists it.", min=1)]


AllOption = Annotated[bool, typer.Option("--all", help=f"Everything, not only the newest {NEWEST}.")]


def versions(pipeline: PipelineArgument, everything: AllOption = False, as_json: JsonOption = False) -> None:
    """The newest versions of a pipeline's model, with aliases and origin."""
    from mlratchet.flows.cli.output import emit, tell_left_out
    from mlratchet.tasks.support.pipelines import require_pipeline
    from mlratchet.tasks.wiring import open_adapters

    adapters = open_adapters()
    registry = adapters.registry
    found = registry.list_versions(pipeline) if everything else registry.newest_versions(pipeline, NEWEST + 1)
    shown = found if everything else found[-NEWEST:]
    rows: list[dict[str, Any]] = [
        {
            "version": v.version,
            "aliases": list(v.aliases),
            "created": utc(v.created_s),
            "test_accuracy": v.tags.get("ratchet.test_accuracy"),
            "parent": v.tags.get("ratchet.parent"),
            "work_key": v.tags.get("ratchet.work_key"),
        }
        for v in shown
    ]
    if not rows:
        require_pipeline(adapters, pipeline)
    lines = [f"{'version':>7}  {'created':25}  {'test accuracy':>13}  {'parent':>6}  aliases"]
    lines += [
        f"{r['version']:>7}  {r['created']:25}  {r['test_accuracy'] or '-':>13}  {r['parent'] or '-':>6}  "
        f"{', '.join(r['aliases'])}"
        for r in rows
    ]
    emit(
        rows,
        lines if rows else [f"no versions of {pipeline}; `ratchet run {pipeline}` makes one"],
        as_json=as_json,
    )
    if len(found) > len(shown):
        tell_left_out("earlier versions are")


def decision(
    pipeline: PipelineArgument,
    version: Annotated[
        int | None, typer.Argument(help="A version's number, as `ratchet versions` lists it.", min=1)
    ] = None,
    run: Annotated[
        str | None,
        typer.Option("--run", help="Instead of a version, of a run: its id, or `last`. A refused candidate has none."),
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Check signatures and digests, and compute every statistic again.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Every gate of a version, or of a run: checks, values, intervals, thresholds, verdict.

    With --verify each is judged again from the stored rows and measurements: equal to the last bit in the recorded
    environment, within 1e-9 and with the same verdict elsewhere. Exits with 6 when anything differs.
    """
    from mlratchet.flows.cli.output import emit, working
    from mlratchet.models.errors import ConfigurationError, SecurityError

    if (version is None) == (run is None):
        raise ConfigurationError("expected a version's number or --run; e.g. `ratchet decision NAME --run last`")
    subject = f"version {version}" if run is None else f"run {run}"
    with working(f"{'Judging again' if verify else 'Reading'} {subject} of {pipeline}", hidden=as_json):
        from mlratchet.models.decisions.decision import explain
        from mlratchet.tasks.actions.rejudge import judge_again
        from mlratchet.tasks.support.versions import decisions_of, decisions_of_run, registration_of
        from mlratchet.tasks.wiring import open_adapters

        adapters = open_adapters()
        if run is not None:
            found = decisions_of_run(adapters, pipeline, run)
        else:
            assert version is not None, "one of the two was given"
            found = decisions_of(adapters, pipeline, version)
        again = [judge_again(adapters.store, one["decision"]) for one in found] if verify else []
    note = registration_of(adapters, pipeline, version).began_fresh if version is not None else ""
    lines = [f"version {version} {note}", ""] if note else []
    for number, one in enumerate(found):
        signed = f"signed by key {one['signed_by']}" if one["signed_by"] else f"NOT BELIEVED: {one['problem']}"
        lines += [explain(one["decision"]), f"  decision {one['digest']}, {signed}"]
        lines += [f"  {again[number]['line']}"] if verify else []
        lines.append("")
    told = [{**one, "verified": said} for one, said in zip(found, again, strict=True)] if verify else found
    nothing = f"no gate has judged anything in {subject} of {pipeline}"
    if run is not None:
        nothing += f": it goes on, or ended before the first; `ratchet open prefect {pipeline} --run {run}` says why"
    emit(told, lines or [nothing], as_json=as_json)
    wrong = [one["problem"] for one in found if verify and one["problem"]]
    wrong += [said["line"] for said in again if not said["holds"]]
    if wrong:
        raise SecurityError(f"{subject} of {pipeline}: {wrong[0]}")


def entry_line(entry: dict[str, Any]) -> str:
    """One entry of the ledger."""
    mark = "✓" if entry["verified"] else "✗"
    return one_line(
        f"{entry['generation']:>4}  {utc(entry['at_s'])}  {entry['action']:8}  version {entry['version']}  "
        f"{mark} {entry['decision'][:12]}  {entry['actor']}: {entry['problem'] or entry['reason']}"
    )


def history(pipeline: PipelineArgument, everything: AllOption = False, as_json: JsonOption = False) -> None:
    """The newest of the ledger: which version became champion when, by whom and why. ✓: its decision verifies.

    Between the entries stand holds, what was found and who or what lifted it, and canaries; with --json under the entry
    that they came after (`holds`, `canaries`).

    Exits with 6 when one of those shown does not (✗).
    """
    from mlratchet.flows.cli.output import emit, tell_left_out
    from mlratchet.tasks.support.canaries import canaries_since
    from mlratchet.tasks.support.holds import hold_book
    from mlratchet.tasks.support.versions import history_of
    from mlratchet.tasks.wiring import open_adapters

    adapters = open_adapters()
    entries = history_of(adapters, pipeline, newest=None if everything else NEWEST)
    since_s = 0.0 if everything or not entries else entries[0]["at_s"]
    told = [(e["at_s"], entry_line(e)) for e in entries]
    holds = [one for one in hold_book(adapters).entries(pipeline) if one.at_s >= since_s]
    canaries = canaries_since(adapters, pipeline, since_s)
    told += [(one.at_s, one.in_a_line()) for one in holds] + [(one.at_s, canary_line(one)) for one in canaries]
    lines = [line for _, line in sorted(told)]
    none = f"no version of {pipeline} was promoted yet; `ratchet run {pipeline}` trains one and promotes it"
    emit(with_what_came_after(entries, holds, canaries), lines or [none], as_json=as_json)
    left_out = entries[0]["generation"] - 1 if entries else 0
    if left_out:
        tell_left_out(f"{left_out} earlier {'entry is' if left_out == 1 else 'entries are'}")
    if not all(entry["verified"] for entry in entries):
        raise typer.Exit(6)


def with_what_came_after(
    entries: list[dict[str, Any]], holds: Sequence[HoldEntry], canaries: Sequence[CanaryEntry]
) -> list[dict[str, Any]]:
    """Entries of the ledger, oldest first, each with `holds` and `canaries` until the next; with the first also those
    before it."""
    later = accumulate((entry["at_s"] for entry in entries[1:]), max)  # a clock that went back divides nothing
    begins_s = [-math.inf, *later, math.inf]
    return [
        entry
        | {
            name: [one.model_dump(mode="json") for one in some if since_s <= one.at_s < until_s]
            for name, some in (("holds", holds), ("canaries", canaries))
        }
        for entry, (since_s, until_s) in zip(entries, pairwise(begins_s), strict=False)
    ]


def canary_line(entry: CanaryEntry) -> str:
    """Beside the ledger: how it stands, or how it ended."""
    how = entry.outcome or entry.phase
    return one_line(
        f"{'':4}  {utc(entry.at_s)}  canary    version {entry.version}  {how}  {entry.actor}: {entry.reason}"
    )


def promote(
    pipeline: PipelineArgument,
    version: VersionArgument,
    override: Annotated[
        bool, typer.Option("--override", help="Promote though a gate held it; needs --reason and --expires.")
    ] = False,
    reason: Annotated[str, typer.Option(help="With --override: why. Signed, and kept in the ledger.")] = "",
    expires: Annotated[
        str, typer.Option(help="With --override: until when it may be used, e.g. 12h, 3d, 2026-12-01T00:00Z.")
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Promote a version whose gates have all passed against today's champion.

    Refused (exit 4) when a gate did not pass or was judged against an earlier champion. `--override` is a decision of
    its own, in your name; changed bytes, signatures and ledgers are refused (exit 6) all the same.
    """
    from mlratchet.flows.cli.output import emit, working
    from mlratchet.models.errors import ConfigurationError

    if not override and (reason or expires):
        raise ConfigurationError("--reason and --expires belong to --override; add it, or leave them out")
    with working(f"Verifying and promoting version {version} of {pipeline}", hidden=as_json):
        from mlratchet.tasks.actions.override import promote_by_override
        from mlratchet.tasks.actions.promote import promote_by_hand
        from mlratchet.tasks.wiring import open_adapters

        if override:
            entry = promote_by_override(open_adapters(), pipeline, version, reason=reason, expires=expires)
        else:
            entry = promote_by_hand(open_adapters(), pipeline, version)
    emit(entry, [f"version {entry['version']} is champion (generation {entry['generation']})"], as_json=as_json)


def rollback(
    pipeline: PipelineArgument,
    to: Annotated[
        int | None, typer.Option("--to", help="A version that was champion before; the promotion before without it.")
    ] = None,
    reason: Annotated[str, typer.Option(help="Kept in the ledger.")] = "rolled back by hand",
    as_json: JsonOption = False,
) -> None:
    """Go back to the promotion before the champion's, in one command; a second time goes further back.

    The bytes are verified first.
    """
    from mlratchet.flows.cli.output import emit, working

    with working(f"Verifying where {pipeline} goes back to", hidden=as_json):
        from mlratchet.tasks.actions.roll_back import roll_back
        from mlratchet.tasks.wiring import open_adapters

        entry = roll_back(open_adapters(), pipeline, to=to, reason=reason)
    emit(
        entry,
        [f"version {entry['version']} is champion again (generation {entry['generation']}); {entry['follows']}"],
        as_json=as_json,
    )


def reconcile(
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="First restore versions, runs and deployments of empty databases.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Make aliases and tags follow the ledger, and clear what killed runs left. Safe to repeat.

    Exits with 6 for a ledger that was cut or changed: nothing follows that.
    """
    from mlratchet.flows.cli.output import emit, working

    restored: list[str] = []
    with working("Rebuilding from the bucket" if rebuild else "Reconciling", hidden=as_json):
        from mlratchet.tasks.actions.reconcile import reconcile_all
        from mlratchet.tasks.wiring import open_adapters

        adapters = open_adapters()
        if rebuild:
            from mlratchet.flows.rebuild import rebuild as restore

            restored = restore(adapters)
        done = reconcile_all(adapters)
    done.repaired = restored + done.repaired
    if done.repaired or not done.problems:
        emit(done.repaired, done.repaired or ["everything follows the ledger"], as_json=as_json)
    done.raise_worst()


def gc(
    delete: Annotated[bool, typer.Option("--delete", help="Really delete; without it only a list.")] = False,
    keep_champions: Annotated[
        int, typer.Option(min=1, help="Newest champions and newest versions of a pipeline that never retire.")
    ] = 5,
    retire_days: Annotated[
        float | None,
        typer.Option(min=1, help="Weights and data of other versions go after so many days; their evidence stays."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List (or delete) objects that nothing refers to; with --delete the inference logs are tidied, too.

    Never touches what a ledger, a registration, a deployment, an unfinished claim or a living run refers to. Runs that
    begin meanwhile wait; while one is under way, only what it cannot take up again goes.
    """
    from mlratchet.flows.cli.output import emit, working
    from mlratchet.models.identity.lease import HeldError

    tidied: Mapping[str, tuple[int, int]] = {}
    held = ""
    with working("Looking at every object of the store", hidden=as_json) as say:
        from mlratchet.models.garbage.reachable import Retention
        from mlratchet.tasks.actions.collect import collect
        from mlratchet.tasks.actions.forget import tidy_logs
        from mlratchet.tasks.wiring import open_adapters

        adapters = open_adapters()
        kept = Retention(champions=keep_champions, retire_days=retire_days)
        found = collect(adapters.store, adapters.bucket(adapters.settings.mlflow_bucket), delete=delete, retention=kept)
        if delete:
            say("tidying the inference logs")
            try:
                tidied = tidy_logs(adapters.store, adapters.keys)
            except HeldError as error:
                held = f"the inference logs are as they were: {error}"
    verb = "deleted" if delete else "would delete"
    groups: dict[str, list[int]] = {}
    for item in found:
        folder = re.split(r"/checkpoints/|/artifacts/|/(?=[0-9a-f]{64}\b)", item["key"])[0]
        groups.setdefault(f"{item['bucket']}/{folder}", []).append(item["size_bytes"])
    lines = [f"{verb} {len(sizes)} objects of {group} ({sum(sizes):,} bytes)" for group, sizes in groups.items()]
    total = sum(item["size_bytes"] for item in found)
    lines.append(f"{verb} {len(found)} objects, {total / 1e6:.1f} MB")
    lines += [held] if held else []
    lines += [
        f"inference log of {name}: {rows} rows are over their time, {files} files less"
        for name, (rows, files) in tidied.items()
        if rows or files
    ]
    emit(found, lines, as_json=as_json)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (versions, decision, history, promote, rollback, reconcile, gc):
        app.command()(command)

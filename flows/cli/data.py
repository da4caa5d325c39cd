"""The command that shows what a dataset holds, and what changed between two."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from mlratchet.models.profile.difference import DataDifference
    from mlratchet.models.profile.measure import FieldProfile, SideOfField
    from mlratchet.models.profile.profile import DataProfile
    from mlratchet.tasks.actions.data import NamedDataset
    from mlratchet.tasks.wiring import Adapters

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
FIELDS, NAMED = 40, 5  # lines of a table; names in a cell
Shown = tuple[dict[str, Any], Callable[[], None]]  # as JSON values, and in the terminal


def data(
    pipeline: Annotated[str, typer.Argument(help="Name of a pipeline.")],
    dataset: Annotated[
        str | None,
        typer.Option(help="newest, champion, a version's number, or the beginning of a dataset's or snapshot's id."),
    ] = None,
    run: Annotated[str | None, typer.Option(help="The dataset of a run: its id, or `last`.")] = None,
    diff: Annotated[
        tuple[str, str] | None, typer.Option(metavar="A B", help="What changed from A to B, named as for --dataset.")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write the page with plots and examples to this file.")] = None,
    as_json: JsonOption = False,
) -> None:
    """What the data of a pipeline holds: rows by side and class, ranges and gaps of every field, examples.

    `--diff A B` tells which rows and files were added, removed, changed, relabelled or moved to another side, and which
    fields are distributed otherwise. Every training has the page in MLflow: `ratchet open data NAME`.
    """
    from mlratchet.flows.cli.output import emit, working
    from mlratchet.models.errors import ConfigurationError

    if sum(one is not None for one in (dataset, run, diff)) > 1:
        raise ConfigurationError("expected one of --dataset, --run and --diff")
    with working(f"Reading every row of {pipeline}", hidden=as_json):
        from mlratchet.tasks.actions.data import NEWEST, dataset_of_run, find_dataset
        from mlratchet.tasks.wiring import open_adapters

        adapters = open_adapters()
        if diff is not None:
            a, b = (find_dataset(adapters, pipeline, one) for one in diff)
            document, show = _difference(adapters, pipeline, a, b, html)
        else:
            named = dataset_of_run(adapters, pipeline, run) if run else None
            named = named or find_dataset(adapters, pipeline, dataset or NEWEST)
            document, show = _profile(adapters, pipeline, named, html)
    if as_json:
        emit({"pipeline": pipeline, **document}, [], as_json=True)
        return
    show()
    if html is not None:
        typer.echo(f"{html}: written")


def _profile(adapters: Adapters, pipeline: str, found: NamedDataset, html: Path | None) -> Shown:
    from mlratchet.flows.cli.output import write_file
    from mlratchet.models.profile.page import data_page
    from mlratchet.tasks.actions.data import look

    profile = look(adapters, found)
    if html is not None:
        write_file(html, data_page(profile, name=pipeline).encode())
    return profile.document(), partial(show_profile, pipeline, profile)


def _difference(adapters: Adapters, pipeline: str, a: NamedDataset, b: NamedDataset, html: Path | None) -> Shown:
    from mlratchet.flows.cli.output import write_file
    from mlratchet.models.profile.difference_page import difference_page
    from mlratchet.tasks.actions.data import differ

    found = differ(adapters, a, b)
    if html is not None:
        write_file(html, difference_page(found, name=pipeline, a=a.told, b=b.told).encode())
    return found.document(), partial(show_difference, pipeline, found)


def show_profile(pipeline: str, profile: DataProfile) -> None:
    """In the terminal."""
    from mlratchet.flows.cli.output import table_console
    from mlratchet.models.printable import plain
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    console = table_console()
    rows = sum(profile.rows.values())
    console.print(f"[bold]{escape(pipeline)}[/]: dataset {profile.dataset_id[:12]}, {rows:,} rows")
    if profile.reading:
        console.print(escape(plain(profile.reading)), style="dim")
    sides = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    sides.add_column(escape(plain(profile.label.name)))
    for side in profile.rows:
        sides.add_column(side, justify="right")
    sides.add_row("rows", *(f"{count:,}" for count in profile.rows.values()), style="bold")
    order = sorted(profile.classes, key=lambda name: -sum(s.counts.get(name, 0) for s in profile.label.sides.values()))
    for name in order[:FIELDS]:
        counts = (profile.label.sides[side] for side in profile.rows)
        sides.add_row(escape(plain(name)), *(f"{one.counts.get(name, 0):,}" for one in counts))
    if not profile.classes:
        sides.add_row("range", *(_range(profile.label, profile.label.sides[side]) for side in profile.rows))
    console.print(sides)
    fields = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("field", "kind", "not given", "training rows"):
        fields.add_column(title, justify="right" if title == "not given" else "left", overflow="fold")
    for one in profile.fields[:FIELDS]:
        seen = one.given + one.missing
        kind = one.kind if one.input else f"{one.kind} (no input)"
        gaps = f"{one.missing / seen:.1%}" if seen and one.missing else "-"
        fields.add_row(escape(plain(one.name)), kind, gaps, escape(plain(_range(one, one.sides["train"]))))
    console.print(fields)
    more = len(profile.fields) - FIELDS
    if more > 0:
        console.print(f"{more:,} more fields; --json has all", style="dim")


def _range(one: FieldProfile, side: SideOfField) -> str:
    """What a side holds in one line."""
    from mlratchet.models.profile.charts import figure, shown

    if not side.given:
        return "no value"
    if side.counts:
        top = ", ".join(f"{word[:30]} {count / side.given:.0%}" for word, count in list(side.counts.items())[:NAMED])
        different = f"{side.different:,}" if side.different is not None else "very many"
        return f"{top}; {different} different"
    kind = one.kind if one.measured == "value" else "number"
    what = "" if one.measured == "value" else f" {one.measured}"
    unit = f" {one.unit}" if one.unit and one.measured == "value" else ""
    told = f"{shown(side.least or 0.0, kind)} to {shown(side.most or 0.0, kind)}{unit}{what}"
    return told if kind == "time" else f"{told}, mean {figure(side.mean or 0.0)}"


def show_difference(pipeline: str, found: DataDifference) -> None:
    """In the terminal."""
    from mlratchet.flows.cli.output import table_console
    from mlratchet.models.printable import plain
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    console = table_console()
    before, after = sum(found.rows_before.values()), sum(found.rows_after.values())
    console.print(f"[bold]{escape(pipeline)}[/]: {found.a[:12]} ({before:,} rows) -> {found.b[:12]} ({after:,} rows)")
    console.print(
        f"rows: {found.added:,} added, {found.removed:,} removed, {found.changed:,} changed, {found.relabelled:,} "
        f"relabelled, {sum(found.moved.values()):,} moved, {found.same:,} the same"
    )
    for way, count in found.moved.items():
        console.print(f"  moved {way}: {count:,}")
    for kind, rows in found.examples.items():
        named = ", ".join(f"{one.id[:40]} ({one.before or '-'} -> {one.after or '-'})" for one in rows[:NAMED])
        console.print(escape(plain(f"  {kind}: {named}")), style="dim")
    if found.objects is not None:
        for kind, keys in (
            ("added", found.objects.added), ("removed", found.objects.removed), ("changed", found.objects.changed),
        ):  # fmt: skip
            more = ", ..." if len(keys) > NAMED else ""
            if keys:
                console.print(escape(plain(f"objects {kind}: {len(keys):,} ({', '.join(keys[:NAMED])}{more})")))
    if found.classes:
        classes = Table("class", "before", "after", box=box.SIMPLE_HEAD, pad_edge=False)
        for name, (then, now) in list(found.classes.items())[:FIELDS]:
            classes.add_row(escape(plain(name)), f"{then:,}", f"{now:,}")
        console.print(classes)
    fields = Table("field", "distance", "not given", "words", box=box.SIMPLE_HEAD, pad_edge=False)
    for one in found.fields[:FIELDS]:
        gaps = [f"{gap:.1%}" if gap is not None else "-" for gap in (one.missing_before, one.missing_after)]
        words = [f"{'+' if new else '-'}{word[:30]}" for new, names in ((True, one.new_words), (False, one.gone_words))
                 for word in names[:NAMED]]  # fmt: skip
        distance = f"{one.distance:.3f}" if one.distance is not None else "one has it"
        fields.add_row(escape(plain(one.name)), distance, " -> ".join(gaps), escape(plain(", ".join(words))))
    console.print(fields)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(data)

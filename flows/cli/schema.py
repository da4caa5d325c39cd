"""Commands about what data holds: init, schema show, schema diff."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from mlratchet.models.drafting.text_tables import Written

Encoding = Literal["utf-8", "utf-16", "utf-16-le", "utf-16-be", "latin-1", "cp1252"]  # as `source.encoding` has them
Delimiter = Literal[",", ";", "|", "tab"]
Quotes = Literal["cells", "none"]

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
DataArgument = Annotated[list[Path], typer.Argument(help="Files or folders on this machine.")]
HeaderOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME,NAME,...",
        help="The columns of a delimited file whose first line is a row already; `first`: that line has their names.",
    ),
]
EncodingOption = Annotated[
    Encoding | None, typer.Option(help="How a delimited file is written, where it is neither UTF-8 nor marked.")
]
DelimiterOption = Annotated[Delimiter | None, typer.Option(help="What stands between two cells; else found out.")]
QuotesOption = Annotated[
    Quotes | None,
    typer.Option(help="`cells`: a quote opens a cell, line breaks and all; `none`: it is a character like any other."),
]
schema = typer.Typer(help="What an example holds: fields, kinds, bounds, label.", no_args_is_help=True)


def init(
    data: DataArgument,
    label: Annotated[
        list[str] | None,
        typer.Option(help="The column that is learnt; else by name, else the last. Several: each says yes or no."),
    ] = None,
    rank: Annotated[
        str | None,
        typer.Option(metavar="QUERY", help="The label is a relevance: rows of one QUERY are put in order by it."),
    ] = None,
    header: HeaderOption = None,
    encoding: EncodingOption = None,
    delimiter: DelimiterOption = None,
    quotes: QuotesOption = None,
    name: Annotated[str | None, typer.Option(help="Of the pipeline; else that of the first file.")] = None,
    out: Annotated[Path | None, typer.Option(help="The file to write; else in the folder of pipelines.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Look at data and write a pipeline file that works: schema, training and gates, a reason behind every line.

    A table (CSV, TSV, Parquet, JSONL), ratings, FASTA, or a folder of pictures or sounds with a folder per class.
    Nothing is asked, nothing overwritten. `--label A --label B` learns several columns at once that say yes or no;
    `--rank user_id` learns in which order a user would have the items of a ratings file.
    """
    from mlratchet.flows.cli.output import emit, working
    from mlratchet.models.errors import ConfigurationError

    with working(f"Looking at {_named(data)}", hidden=as_json) as say:
        from mlratchet.infra.settings import pipelines_folder
        from mlratchet.models.drafting.draft import draft, name_from

        name = name or name_from(data[0])
        file = out or pipelines_folder() / f"{name}.yaml"
        there = f"{file}: is there already; remove it, or choose another with --name or --out"
        if file.exists():  # before the data are looked at, which takes seconds
            raise ConfigurationError(there)
        written = _written(header, encoding, delimiter, quotes)
        drafted = draft(data, labels=label or (), name=name, rank=rank, written=written, on_stage=say)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8") as sink:
            sink.write(drafted.text)
    except FileExistsError as error:
        raise ConfigurationError(there) from error
    except OSError as error:
        raise ConfigurationError(f"{file}: cannot be written: {error}") from error
    sources = shlex.join(str(path) for path in data)
    steps = [
        f"ratchet validate {shlex.quote(str(file))}",
        f"ratchet upload {drafted.name} {sources}",
        f"ratchet run {drafted.name}",
    ]
    lines = [f"{file}: written", *(f"note: {note}" for note in drafted.notes), "next:", *(f"  {one}" for one in steps)]
    report = {"pipeline": drafted.name, "file": str(file), "notes": list(drafted.notes), "next": steps}
    emit(report, lines, as_json=as_json)


@schema.command("show")
def show(
    what: Annotated[str, typer.Argument(help="A pipeline, or a file or folder of data to look at.")],
    label: Annotated[str | None, typer.Option(help="Of data: the column that is learnt.")] = None,
    header: HeaderOption = None,
    encoding: EncodingOption = None,
    delimiter: DelimiterOption = None,
    quotes: QuotesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the schema of a pipeline, or the one that is proposed for data, a reason behind every field."""
    from mlratchet.flows.cli.output import emit, working
    from mlratchet.models.drafting.schema_text import schema_text

    if not Path(what).exists():
        found = _schema_of(what)
        emit(found.model_dump(mode="json", exclude_defaults=True), [schema_text(found).rstrip()], as_json=as_json)
        return
    with working(f"Looking at {what}", hidden=as_json):
        from mlratchet.models.drafting.delivery import look_at
        from mlratchet.models.schema.infer import infer

        delivery = look_at([Path(what)], written=_written(header, encoding, delimiter, quotes))
        proposal = infer(delivery.table, label=label)
    document = {
        "schema": proposal.schema.model_dump(mode="json", exclude_defaults=True),
        "reasons": dict(proposal.reasons),
        "left_out": dict(proposal.left_out),
    }
    emit(document, [schema_text(proposal.schema, dict(proposal.reasons)).rstrip()], as_json=as_json)


@schema.command("diff")
def diff(
    pipeline: Annotated[str, typer.Argument(help="Name of a pipeline that has a schema.")],
    data: DataArgument,
    as_json: JsonOption = False,
) -> None:
    """What a delivery changes against the pipeline's schema, and the schema that would take it.

    Exits with 0 where every change is compatible, with 3 where one is breaking or a question.
    """
    from mlratchet.flows.cli.output import emit, working
    from mlratchet.models.drafting.schema_text import schema_text
    from mlratchet.models.errors import DataError

    expected = _schema_of(pipeline)
    with working(f"Looking at {_named(data)}", hidden=as_json):
        from mlratchet.models.drafting.delivery import look_at
        from mlratchet.models.schema.change import difference

        delivery = look_at(data, written=_declared(pipeline))
        found = difference(expected, delivery.table)
    width = max((len(one.effect) for one in found.changes), default=0)
    lines = [f"{one.effect:{width}}  {one.field!r}: {one.words}" for one in found.changes]
    if found.proposed != expected:
        lines += ["", "the schema that takes this delivery:", "", schema_text(found.proposed).rstrip()]
    document: dict[str, Any] = {
        "pipeline": pipeline,
        "compatible": found.compatible,
        "changes": [{"field": one.field, "effect": one.effect, "words": one.words} for one in found.changes],
        "proposed": found.proposed.model_dump(mode="json", exclude_defaults=True),
    }
    emit(document, lines or [f"{pipeline}: nothing changes"], as_json=as_json)
    if not found.compatible:
        raise typer.Exit(DataError.exit_code)


def _written(
    header: str | None, encoding: Encoding | None, delimiter: Delimiter | None, quotes: Quotes | None
) -> Written:
    """Of the options; a header of no names: the first line has them."""
    from mlratchet.models.drafting.text_tables import Written
    from mlratchet.models.sources.delimited import Dialect

    names = None if header is None else [] if header == "first" else [name.strip() for name in header.split(",")]
    dialect = Dialect(delimiter="\t" if delimiter == "tab" else delimiter, quotes=quotes)
    return Written(header=names, encoding=encoding, dialect=dialect)


def _declared(pipeline: str) -> Written:
    from mlratchet.infra.settings import pipelines_folder
    from mlratchet.models.drafting.text_tables import Written
    from mlratchet.models.pipeline.loading import find_pipeline, read_pipeline

    return Written.of_source(read_pipeline(find_pipeline(pipelines_folder(), pipeline)).source)


def _named(data: Sequence[Path]) -> str:
    """Files and folders in a word or two."""
    return str(data[0]) if len(data) == 1 else f"{data[0]} and {len(data) - 1} more"


def _schema_of(pipeline: str) -> Any:
    """Raises ``ConfigurationError`` for a pipeline that is not there or says nothing of its examples."""
    from mlratchet.infra.settings import pipelines_folder
    from mlratchet.models.errors import ConfigurationError
    from mlratchet.models.pipeline.loading import find_pipeline, read_pipeline

    file = find_pipeline(pipelines_folder(), pipeline)
    found = read_pipeline(file).example_schema
    if found is None:
        raise ConfigurationError(
            f"{file}: has no schema; `ratchet schema show DATA` proposes one to put under `schema`"
        )
    return found


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(init)
    app.add_typer(schema, name="schema")

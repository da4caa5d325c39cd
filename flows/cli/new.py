"""The command `ratchet new`: a pipeline that runs at once, to be changed into one's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
LIKE = (
    "text, vision, tabular, audio, recommender, sequence: no code; custom, detector, ctc: your own code, with a test."
)


def new(
    name: Annotated[str, typer.Argument(help="Of the pipeline: small letters, digits and -.")],
    like: Annotated[str, typer.Option(help=LIKE)],
    data: Annotated[Path | None, typer.Option(help="Where made-up data goes; else `data/NAME`.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a pipeline that runs at once: its file, made-up data in its format, and code where it has its own.

    Then put your data in the place of the made-up one, and change the file, which has a reason behind every line. Code
    and its test are written into this folder, from where `ratchet up` finds them. Nothing is overwritten.
    `ratchet init DATA` writes the file for data that you have already; docs/bring-your-own.md goes further.
    """
    from mlratchet.flows.cli.output import emit
    from mlratchet.infra.settings import pipelines_folder
    from mlratchet.models.drafting.begin import begin

    file = pipelines_folder() / f"{name}.yaml"
    folder = data or Path("data") / name
    begun = begin(name, like, pipeline_file=file)
    texts = {file: begun.pipeline.encode(), **{Path(one): text.encode() for one, text in begun.code.items()}}
    write_new({folder / one: content for one, content in begun.data.items()} | texts)
    code = [one for one in begun.code if not one.startswith("test_")]
    tests = [f"python -m pytest {one}" for one in begun.code if one.startswith("test_")]
    steps = [*tests, f"ratchet validate {file}", f"ratchet upload {name} {folder}", f"ratchet run {name}"]
    lines = [f"{one}: written" for one in texts]
    lines += [f"{folder}: {len(begun.data)} files of made-up data", "next:", *(f"  {one}" for one in steps)]
    emit(
        {"pipeline": name, "file": str(file), "data": str(folder), "code": code, "next": steps}, lines, as_json=as_json
    )


def write_new(files: Mapping[Path, bytes]) -> None:
    """All or none. Raises ``ConfigurationError`` where one is there already, or cannot be written."""
    from mlratchet.models.errors import ConfigurationError

    there = next((path for path in files if path.exists()), None)
    if there is not None:
        raise ConfigurationError(f"{there}: is there already; remove it, or choose another name")
    written: list[Path] = []
    try:
        for path, content in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as sink:
                written.append(path)
                sink.write(content)
    except OSError as error:
        for path in written:
            path.unlink(missing_ok=True)
        raise ConfigurationError(f"{path}: cannot be written: {error}; nothing was; choose another place") from error


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(new)

"""The command `ratchet export`: a version's bytes for those who load it elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
TO = (
    "pt2: the exported program, which runs without its class; safetensors: the weights; state_dict: the weights as "
    "`torch.load(weights_only=True)` reads them; onnx, torchscript: the program for other runtimes, made of it and "
    "held against it (onnx: `pip install 'mlratchet[onnx]'`)."
)


def export(
    pipeline: Annotated[str, typer.Argument(help="Name of a pipeline.")],
    version: Annotated[int, typer.Argument(help="A version's number, as `ratchet versions` lists it.", min=1)],
    to: Annotated[str, typer.Option(help=TO)],
    out: Annotated[Path | None, typer.Option(help="The file to write; else `PIPELINE-VERSION` in this folder.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a version's verified bytes to a file, and say how they are loaded without Ratchet.

    Signatures and every digest are checked first. Beside the file comes a JSON that says what goes in and out, and how
    examples are prepared where the version prepares them; its arrays lie in `.preparation.safetensors`.
    """
    from mlratchet.flows.cli.output import emit, working

    with working(f"Verifying and writing version {version} of {pipeline}", hidden=as_json):
        from mlratchet.tasks.actions.export import export_version
        from mlratchet.tasks.wiring import open_adapters

        done = export_version(open_adapters(), pipeline, version, to=to, out=out)
    file, about, *fitted = done["files"]
    lines = [f"{file}: version {version} of {pipeline}, manifest {done['manifest'][:12]}, verified", "load it:"]
    lines += [f"  {line}" for line in done["load"]]
    if done["tried"]:
        lines.insert(1, f"it answers as the program does: {done['tried']}")
    lines += ["it takes:", *(f"  {line}" for line in done["takes"])]
    if fitted:
        lines.append(f"examples are prepared first, as {about} says; fitted arrays: {fitted[0]} (docs/preparation.md)")
    else:
        lines.append(f"classes, columns and what the output means: {about}")
    emit(done, lines, as_json=as_json)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(export)

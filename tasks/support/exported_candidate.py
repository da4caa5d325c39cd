"""The candidate as it would serve: its exported program, which gates judge and which is registered byte for byte."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mlratchet.infra.artifact.exported import exported_away, load_exported
from mlratchet.infra.artifact.package import export
from mlratchet.models.artifact.files import PROGRAM
from mlratchet.models.evaluation.away import ModelAway
from mlratchet.models.identity.canonical import digest_bytes
from mlratchet.models.ports.children import in_process
from mlratchet.models.registration.record import Registration
from mlratchet.models.tensors.batch import Model
from mlratchet.models.tensors.named import Inputs
from mlratchet.tasks.support.open_version import open_version
from mlratchet.tasks.wiring import Run


@dataclass(frozen=True, kw_only=True, eq=False)
class Exported:
    """A program and the SHA-256 hex of its file."""

    program: Model | ModelAway
    sha256: str
    directory: Path | None  # of an export that is not registered yet


def export_candidate(run: Run, module: Model | ModelAway, example: Inputs) -> Exported:
    """Export the trained module, before anything is measured: what is measured is the program that is left.

    `example`: two rows. Raises ``ForeignCodeError`` for what is no export.
    """
    directory = run.scratch / "export" / "model"
    export(module, example, directory)
    return Exported(
        program=load_exported(directory) if in_process() else exported_away(directory),
        sha256=digest_bytes((directory / PROGRAM).read_bytes()),
        directory=directory,
    )


def registered_candidate(run: Run, record: Registration) -> Exported:
    """Of work that has a version: its own program, every byte verified. Raises as `open_version`."""
    entries = run.adapters.ledger.entries(run.spec.name)
    version = open_version(run.adapters, record, entries, run.scratch / f"version-{record.version}")
    return Exported(program=version.program, sha256=record.manifest["files"].get(PROGRAM, ""), directory=None)

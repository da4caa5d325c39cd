"""Export: a version's verified bytes, for those who load it elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlratchet.infra.artifact.converted import converted, tried_words
from mlratchet.infra.artifact.fetch import fetch_artifact
from mlratchet.infra.machine.atomic import write_atomically
from mlratchet.infra.machine.temporary import temporary_folder
from mlratchet.models.artifact.elsewhere import (
    ABOUT,
    ENDINGS,
    FITTED,
    FORMS,
    To,
    handed_over,
    how_to_load,
    takes,
)
from mlratchet.models.artifact.signature import Signature
from mlratchet.models.errors import ConfigurationError, SecurityError
from mlratchet.models.nearest import nearest_hint
from mlratchet.models.promotion.verify import verify_entry
from mlratchet.models.registration.record import Registration
from mlratchet.tasks.support.open_version import SIGNATURE, refuse_other_record
from mlratchet.tasks.support.versions import context_of, decisions_of, registration_of
from mlratchet.tasks.wiring import Adapters


def export_version(adapters: Adapters, pipeline: str, version: int, *, to: str, out: Path | None) -> dict[str, Any]:
    """Write the bytes, and beside them what says what they take. Nothing of the version is executed here: a form that
    is made of its program is made, and held against it, in a child.

    Raises ``SecurityError`` for signatures or bytes that do not hold, ``ConfigurationError`` for a form that there is
    not, or that answers otherwise than the program, and for a file that is there already.
    """
    if to not in FORMS:
        raise ConfigurationError(f"--to {to!r}: there is no such form; {nearest_hint(to, FORMS)}")
    form: To = to
    file = out or Path(f"{pipeline}-{version}{ENDINGS[form]}")
    about, fitted = file.with_suffix(ABOUT), file.with_suffix(FITTED)
    if file.exists() or about == file:
        raise ConfigurationError(f"{file}: is there already; remove it, or choose another with --out")
    record = registration_of(adapters, pipeline, version)
    refuse_unsigned(adapters, record)
    with temporary_folder("export") as folder:
        directory = Path(folder)
        manifest = fetch_artifact(adapters.bucket, record, directory)
        other = converted(directory, form) if form == "onnx" or form == "torchscript" else None
        made = handed_over(directory, form, name=pipeline, version=version, made=other)
        signature = Signature.from_json((directory / SIGNATURE).read_text())
    written = {file: made.data, about: made.about}
    if made.fitted is not None:
        written[fitted] = made.fitted
    there = next((path for path, data in written.items() if path.exists() and path.read_bytes() != data), None)
    if there is not None:  # what lies beside is the same for every form of a version
        raise ConfigurationError(f"{there}: is there already, and is another's; choose another with --out")
    for path, data in written.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, data)
        except OSError as error:
            raise ConfigurationError(f"{path}: cannot be written: {error}; choose another with --out") from error
    return {
        "pipeline": pipeline,
        "version": version,
        "manifest": manifest.digest(),
        "files": [str(path) for path in written],
        "load": how_to_load(file, form, signature),
        "takes": takes(signature),
        "prepared": made.fitted is not None,
        "tried": tried_words() if other is not None else None,
    }


def refuse_unsigned(adapters: Adapters, record: Registration) -> None:
    """Raises ``SecurityError`` unless what the ledger says of a version is signed by keys that are believed, or,
    where it was never champion, every decision about it."""
    entries = adapters.ledger.entries(record.name)
    refuse_other_record(adapters.store, record, entries)
    context = context_of(adapters, record.name, record.version)
    promoted = [entry.generation for entry in entries if entry.version == record.version]
    if promoted:
        verify_entry(adapters.store, entries, promoted[-1], context)
        return
    for one in decisions_of(adapters, record.name, record.version):
        if one["problem"]:
            raise SecurityError(f"version {record.version} of {record.name}: {one['problem']}")

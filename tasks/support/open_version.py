"""A registered version, fetched, verified and loaded: the one way for gates, comparisons, backtests and warm starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mlratchet.infra.artifact.exported import exported_away, load_exported
from mlratchet.infra.artifact.fetch import fetch_artifact, fetch_one
from mlratchet.models.artifact.files import PREPARED_EXAMPLE
from mlratchet.models.artifact.prepared_example import refuse_other_tensors
from mlratchet.models.artifact.signature import Signature
from mlratchet.models.errors import ConfigurationError, RatchetError, SecurityError
from mlratchet.models.evaluation.away import ModelAway
from mlratchet.models.ledger.entry import LedgerEntry
from mlratchet.models.ports.children import in_process
from mlratchet.models.ports.storage import ObjectStore
from mlratchet.models.promotion.registered import refuse_changed_registration
from mlratchet.models.registration.record import Registration, registration_key
from mlratchet.models.tensors.batch import Model
from mlratchet.models.workloads.prepared import prepare_away

SIGNATURE = "signature.json"


class Stores(Protocol):
    """What opening a version needs of the adapters."""

    @property
    def store(self) -> ObjectStore:
        """Where registrations are."""

    def bucket(self, name: str) -> ObjectStore:
        """Where artifacts are."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Version:
    """A version that can be asked: what it takes and gives by name, and its program."""

    record: Registration
    signature: Signature
    program: Model | ModelAway


def open_version(adapters: Stores, record: Registration, entries: Sequence[LedgerEntry], directory: Path) -> Version:
    """Fetch into `directory`, verify every byte, load.

    `entries` are the pipeline's ledger: what was champion is its word. Raises ``SecurityError`` for another record or
    other bytes than were judged, ``ConfigurationError`` for a program that cannot be loaded here.
    """
    refuse_other_record(adapters.store, record, entries)
    fetch_artifact(adapters.bucket, record, directory)
    signature = Signature.from_json((directory / SIGNATURE).read_text())
    refuse_other_preparation(directory, signature, f"{record.name} version {record.version}")
    try:
        program: Model | ModelAway = load_exported(directory) if in_process() else exported_away(directory)
    except RatchetError:
        raise
    except Exception as error:  # a program of another torch or platform may fail in any way: it is not comparable
        words = f"version {record.version} cannot be loaded here: {type(error).__name__}: {error}"
        raise ConfigurationError(words[:300]) from error
    return Version(record=record, signature=signature, program=program)


def signature_of_version(adapters: Stores, record: Registration, entries: Sequence[LedgerEntry]) -> Signature:
    """What a version takes and gives, by name, without fetching the rest of it. Raises as `open_version`."""
    refuse_other_record(adapters.store, record, entries)
    return Signature.from_json(fetch_one(adapters.bucket, record, SIGNATURE).decode())


def refuse_other_record(store: ObjectStore, record: Registration, entries: Sequence[LedgerEntry]) -> None:
    """Whoever writes to the bucket could let a weaker model be compared with: what was champion is the ledger's word.

    Raises ``SecurityError`` when the record names another version or other bytes than were promoted, or is not the one
    that was judged.
    """
    for entry in entries:
        if entry.work_key == record.work_key and (entry.version, entry.manifest) != (
            record.version,
            record.manifest_digest,
        ):
            raise SecurityError(
                f"{registration_key(record.work_key)}: version {record.version} with manifest "
                f"{record.manifest_digest[:12]}, but version {entry.version} with {entry.manifest[:12]} was promoted; "
                "the registration was changed"
            )
    refuse_changed_registration(store, record, entries)


def refuse_other_preparation(directory: Path, signature: Signature, what: str) -> None:
    """Raises ``ConfigurationError`` where the version's input example is not prepared as it was; it is in a child."""
    about, file = signature.input.example, directory / PREPARED_EXAMPLE
    if about is not None and file.is_file():
        refuse_other_tensors(file.read_bytes(), signature, what, lambda rows: prepare_away(about, rows))

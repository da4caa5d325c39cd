"""The bytes of a promoted version, held against the manifest that its ledger entry names."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlparse

from mlratchet.models.artifact.files import refuse_strange_files
from mlratchet.models.artifact.manifest import ArtifactManifest, load_manifest
from mlratchet.models.errors import SecurityError
from mlratchet.models.identity.canonical import digest
from mlratchet.models.identity.signed_records import without_stamp
from mlratchet.models.ledger.entry import LedgerEntry
from mlratchet.models.ports.storage import ObjectNotFound, ObjectStore
from mlratchet.models.ports.temporary import folder_for
from mlratchet.models.registration.record import Registration, registration_key
from pydantic import ValidationError

IN_MEMORY_BYTES = 4 << 20  # per file, and as many files at once as an audit has readers


def read_registration(store: ObjectStore, entry: LedgerEntry) -> Registration:
    """The record of a promoted version. Raises ``SecurityError`` unless it is the one that was promoted."""
    key = registration_key(entry.work_key)
    where = f"{store.bucket}/{key}"
    try:
        record = Registration(**without_stamp(json.loads(store.get(key))))
    except ObjectNotFound as exc:
        raise SecurityError(f"{where}: the registration of version {entry.version} is missing") from exc
    except (ValueError, TypeError, AttributeError, RecursionError, ValidationError) as exc:
        raise SecurityError(f"{where}: is not a registration; it was changed") from exc
    told = (record.name, record.version, record.work_key, record.manifest_digest)
    if told != (entry.name, entry.version, entry.work_key, entry.manifest):
        raise SecurityError(
            f"{where}: version {record.version} of {record.name} with manifest {record.manifest_digest[:12]}, but "
            f"version {entry.version} with {entry.manifest[:12]} was promoted; it was changed"
        )
    if digest(record.manifest) != entry.manifest:
        raise SecurityError(f"{where}: its list of files is not the promoted {entry.manifest[:12]}; it was changed")
    return record


def read_manifest(store: ObjectStore, entry: LedgerEntry) -> ArtifactManifest:
    """The manifest that was promoted, by its digest. Raises ``SecurityError``."""
    try:
        return load_manifest(store, entry.manifest)
    except ObjectNotFound as exc:
        raise SecurityError(f"{exc}: the manifest of version {entry.version} is missing") from exc
    except (ValueError, KeyError, TypeError, ValidationError) as exc:
        raise SecurityError(f"{store.bucket}/manifests/{entry.manifest}.json: is not a manifest") from exc


def verify_bytes(open_bucket: Callable[[str], ObjectStore], record: Registration, manifest: ArtifactManifest) -> int:
    """Hash every file of the artifact; returns how many: 0 when it is gone as a whole, as a version that retired is.

    Small files are hashed in memory, others one at a time on disk. Raises ``SecurityError`` naming the first that
    differs, is missing or is extra.
    """
    location = urlparse(record.source_uri)
    prefix = location.path.strip("/") + "/"
    if location.scheme != "s3" or not location.netloc or prefix == "/":
        raise SecurityError(f"version {record.version}: {record.source_uri!r} is not the place of an artifact")
    refuse_strange_files(manifest, f"version {record.version}: {record.source_uri}")
    bucket = open_bucket(location.netloc)
    found = {info.key.removeprefix(prefix): info.size_bytes for info in bucket.list(prefix)}
    if not found:
        return 0
    for words, names in (
        ("is missing", set(manifest.files) - set(found)),
        ("is extra", set(found) - set(manifest.files)),
    ):
        if names:
            raise SecurityError(f"version {record.version}: {record.source_uri}: file {min(names)} {words}")
    for name, sha256 in sorted(manifest.files.items()):
        if found[name] <= IN_MEMORY_BYTES:
            bucket.get(prefix + name, sha256=sha256)
        else:
            _hash_on_disk(bucket, prefix + name, sha256)
    return len(manifest.files)


def _hash_on_disk(bucket: ObjectStore, key: str, sha256: str) -> None:
    with folder_for("audit") as folder:
        bucket.download_file(key, Path(folder) / "part", sha256=sha256)

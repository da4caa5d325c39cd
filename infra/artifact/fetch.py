"""Fetch a registered artifact from S3 and verify every byte before anything looks at it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlparse

from mlratchet.infra.machine.temporary import temporary_folder
from mlratchet.models.artifact.files import refuse_strange_files
from mlratchet.models.artifact.manifest import ArtifactManifest, verify_directory
from mlratchet.models.errors import SecurityError
from mlratchet.models.ports.storage import ObjectStore
from mlratchet.models.registration.record import Registration


def fetch_artifact(open_bucket: Callable[[str], ObjectStore], record: Registration, into: Path) -> ArtifactManifest:
    """Download the files of `record` into the directory `into`.

    Raises ``SecurityError`` when the manifest is not the registered one, a file differs, is missing or extra.
    """
    manifest = manifest_of(record)
    fetch_files(open_bucket, manifest, record.source_uri, into)
    return manifest


def fetch_one(open_bucket: Callable[[str], ObjectStore], record: Registration, name: str) -> bytes:
    """One file of a registered artifact, its bytes verified. Raises ``SecurityError`` as `fetch_artifact` does, and
    ``ObjectNotFound`` when the file is gone."""
    files = manifest_of(record).files
    if name not in files:
        raise SecurityError(f"{record.source_uri}: no {name} among the registered files; the record was changed")
    location = urlparse(record.source_uri)
    return open_bucket(location.netloc).get(f"{location.path.strip('/')}/{name}", sha256=files[name])


def manifest_of(record: Registration) -> ArtifactManifest:
    """The registered manifest. Raises ``SecurityError`` when it is not the one whose digest was registered."""
    manifest = ArtifactManifest.model_validate_json_dict(record.manifest)
    if manifest.digest() != record.manifest_digest:
        raise SecurityError(
            f"manifest of {record.name} version {record.version}: got digest {manifest.digest()[:12]}, "
            f"expected {record.manifest_digest[:12]}; the registration record was changed"
        )
    return manifest


def verify_artifact(open_bucket: Callable[[str], ObjectStore], manifest: ArtifactManifest, source_uri: str) -> None:
    """Raises ``SecurityError`` when a file differs, is missing or extra."""
    with temporary_folder("verify") as folder:
        fetch_files(open_bucket, manifest, source_uri, Path(folder))


def fetch_files(
    open_bucket: Callable[[str], ObjectStore], manifest: ArtifactManifest, source_uri: str, into: Path
) -> None:
    """Download the files of a manifest from `s3://bucket/prefix`. Raises as `fetch_artifact` does."""
    refuse_strange_files(manifest, source_uri)
    location = urlparse(source_uri)
    prefix = location.path.lstrip("/").rstrip("/") + "/"
    bucket = open_bucket(location.netloc)
    sizes = {info.key.removeprefix(prefix): info.size_bytes for info in bucket.list(prefix)}
    found = set(sizes)
    extra = sorted(found - set(manifest.files))
    if extra:
        raise SecurityError(f"{source_uri}: file {extra[0]} is not in the manifest; remove it or register anew")
    missing = sorted(set(manifest.files) - found)
    if missing:
        raise SecurityError(f"{source_uri}: file {missing[0]} of the manifest is gone; restore it, or train again")

    for name, size in sizes.items():  # before anything of it is downloaded: it may be larger than the disk
        if size != manifest.sizes_bytes[name]:
            raise SecurityError(
                f"{source_uri}: file {name} has {size} bytes, expected {manifest.sizes_bytes[name]}; it was changed"
            )

    def fetch(name: str) -> None:
        target = into / name
        target.parent.mkdir(parents=True, exist_ok=True)
        bucket.download_file(prefix + name, target, sha256=manifest.files[name])

    into.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(fetch, manifest.files))
    verify_directory(into, manifest)

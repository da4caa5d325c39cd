"""The manifest of an artifact: every file with its SHA-256. What differs, is missing or is extra is refused."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from mlratchet.models.config import StrictModel
from mlratchet.models.errors import SecurityError
from mlratchet.models.identity.canonical import canonical_json, digest
from mlratchet.models.ports.storage import ObjectStore


class ArtifactManifest(StrictModel):
    """Path below the artifact -> digest and size."""

    files: dict[str, str]
    """Relative POSIX path -> SHA-256 hex."""
    sizes_bytes: dict[str, int]

    def digest(self) -> str:
        """SHA-256 hex of the canonical manifest: the identity of the artifact's bytes."""
        return digest(self.model_dump(mode="json"))

    @property
    def total_bytes(self) -> int:
        """Of all files."""
        return sum(self.sizes_bytes.values())

    @classmethod
    def model_validate_json_dict(cls, document: dict[str, Any]) -> ArtifactManifest:
        """From the JSON form."""
        return cls(files=dict(document["files"]), sizes_bytes=dict(document["sizes_bytes"]))


def publish_manifest(store: ObjectStore, manifest: ArtifactManifest) -> None:
    """Write `manifests/<digest>.json`."""
    store.create(f"manifests/{manifest.digest()}.json", canonical_json(manifest.model_dump(mode="json")))


def load_manifest(store: ObjectStore, identity: str) -> ArtifactManifest:
    """Read back, verified. Raises ``DigestMismatch`` for a changed one."""
    document = json.loads(store.get(f"manifests/{identity}.json", sha256=identity))
    return ArtifactManifest.model_validate_json_dict(document)


def _hash(path: Path) -> str:
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def describe_directory(directory: Path) -> ArtifactManifest:
    """The manifest of what is there. Raises ``SecurityError`` for links and other special files."""
    files: dict[str, str] = {}
    sizes: dict[str, int] = {}
    for path in sorted(directory.rglob("*")):
        if path.is_symlink() or not (path.is_dir() or path.is_file()):
            raise SecurityError(f"{path}: a link or special file is not allowed in an artifact; remove it")
        if path.is_file():
            name = path.relative_to(directory).as_posix()
            files[name], sizes[name] = _hash(path), path.stat().st_size
    return ArtifactManifest(files=files, sizes_bytes=sizes)


def verify_directory(directory: Path, manifest: ArtifactManifest) -> None:
    """Raises ``SecurityError`` naming the first file that differs, is missing or is extra."""
    found = describe_directory(directory)
    for name, expected in sorted(manifest.files.items()):
        got = found.files.get(name)
        if got is None:
            raise SecurityError(f"artifact file {name} is missing; register the model anew")
        if got != expected:
            raise SecurityError(
                f"artifact file {name}: got SHA-256 {got[:12]}, expected {expected[:12]}; its bytes were changed"
            )
    extra = sorted(set(found.files) - set(manifest.files))
    if extra:
        raise SecurityError(f"artifact holds {extra[0]}, which is not in its manifest; remove it")

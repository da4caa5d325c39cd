"""Which files an artifact has: a manifest that names another one is refused before a byte of it is fetched, whoever
signed it. MLflow, torch and Python look for files by name; none is there that nobody of ours would have written."""

from __future__ import annotations

from mlratchet.models.artifact.manifest import ArtifactManifest
from mlratchet.models.errors import SecurityError

PROGRAM, WEIGHTS = "data/model.pt2", "weights.safetensors"
EXPORTED = frozenset(
    {
        "MLmodel", "conda.yaml", "python_env.yaml", "requirements.txt", "input_example.json",
        "serving_input_example.json", PROGRAM,
    }
)  # fmt: skip
"""Of an export, of which the user's code has a hand."""
EXPORTED_BY_NAME = frozenset({PROGRAM})
"""Of one whose tensors have names."""
PREPARED_EXAMPLE = "prepared.json"
ALLOWED = EXPORTED | {WEIGHTS, "signature.json", "card.md", PREPARED_EXAMPLE}
LARGE = frozenset({PROGRAM, WEIGHTS})
MOST_TEXT = 4 << 20  # bytes of each of the others, as an export leaves it
MOST_SMALL = 64 << 20  # bytes of each of them, as it is fetched


def refuse_strange_files(manifest: ArtifactManifest, where: str) -> None:
    """Raises ``SecurityError`` for a manifest with another file than an artifact has, in whatever writing, with a text
    larger than 64 MB, or with a file whose size it does not say."""
    for name in sorted(set(manifest.files) | set(manifest.sizes_bytes)):
        if name not in ALLOWED:
            raise SecurityError(
                f"{where}: file {name[:200]!r} is none that an artifact has ({', '.join(sorted(ALLOWED))}); train anew"
            )
        size = manifest.sizes_bytes.get(name, -1)
        if name not in manifest.files or size < 0 or (name not in LARGE and size > MOST_SMALL):
            raise SecurityError(
                f"{where}: file {name} has {size} bytes by the manifest, which says the size of every file, and of a "
                f"text at most {MOST_SMALL}; it was changed"
            )

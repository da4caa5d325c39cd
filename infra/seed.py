"""Putting data into the raw bucket: a user's files, or the demo's.

The demo's are scikit-learn's handwritten digits as PNG files with labels.

1,797 real 8x8 images from the UCI repository (Alpaydin and Kaynak, 1998), shipped with scikit-learn.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from mlratchet.models.drafting.files_below import files_below, hidden_below
from mlratchet.models.errors import ConfigurationError, DataError
from mlratchet.models.ports.storage import ObjectStore
from PIL import Image
from sklearn.datasets import load_digits

PREFIX = "digits/"
FIRST_DELIVERY = 1000  # images of delivery 1
DAMAGED_SHARE = 3  # one label in so many is permuted
WRITERS = 16  # threads


def digits_files(delivery: str) -> dict[str, bytes]:
    """Key -> bytes of a delivery. Raises ``ConfigurationError`` for an unknown one."""
    if delivery not in ("1", "2", "damaged"):
        raise ConfigurationError(f"no delivery {delivery!r} of digits; there are: 1, 2, damaged")
    bunch: Any = load_digits()
    images = (bunch.images / 16.0 * 255.0).round().astype(np.uint8)
    labels = bunch.target.copy()
    count = FIRST_DELIVERY if delivery == "1" else len(images)
    if delivery == "damaged":
        rng = np.random.default_rng(20)
        chosen = rng.choice(count, count // DAMAGED_SHARE, replace=False)
        labels[chosen] = labels[rng.permutation(chosen)]
    files = {}
    rows = ["file,label"]
    for number in range(count):
        sink = io.BytesIO()
        Image.fromarray(images[number], mode="L").save(sink, "PNG")
        name = f"images/{number:04d}.png"
        files[PREFIX + name] = sink.getvalue()
        rows.append(f"{name},{labels[number]}")
    files[PREFIX + "labels.csv"] = ("\n".join(rows) + "\n").encode()
    return files


def seed_digits(raw: ObjectStore, delivery: str, *, on_progress: Callable[[int, int], None]) -> int:
    """Bring the prefix `digits/` to exactly the delivery; returns how many objects were written or removed."""
    return bring_to(raw, PREFIX, digits_files(delivery), on_progress=on_progress)


def bring_to(
    raw: ObjectStore, prefix: str, files: Mapping[str, bytes], *, on_progress: Callable[[int, int], None]
) -> int:
    """Make a prefix hold exactly these files, by key; returns how many objects were written or removed."""
    held = {info.key: info for info in raw.list(prefix)}
    stale = sorted(set(held) - set(files))
    changed = sorted(key for key, data in files.items() if key not in held or not _equal(held[key].etag, data))
    total = len(stale) + len(changed)
    for key in stale:
        raw.delete(key)
    with ThreadPoolExecutor(WRITERS) as pool:
        for done, _ in enumerate(pool.map(lambda key: raw.put(key, files[key]), changed), start=len(stale) + 1):
            on_progress(done, total)
    return total


def upload_files(
    raw: ObjectStore, prefix: str, paths: Sequence[Path], *, on_progress: Callable[[int, int], None]
) -> list[str]:
    """Upload files, and folders with their structure but without hidden files, below `prefix`; returns the keys.

    Raises ``DataError``, before anything is sent, when a path does not exist, cannot be read or holds no file, and for
    two files that would have one name.
    """
    jobs: dict[str, Path] = {}
    for path in paths:
        base = path if path.is_dir() else path.parent
        for file in files_below(path):
            key = f"{prefix.rstrip('/')}/{file.relative_to(base).as_posix()}"
            if not jobs.setdefault(key, file).samefile(file):
                raise DataError(f"{file} and {jobs[key]}: both would be {raw.bucket}/{key}; rename one of them")
    if not jobs:
        hidden = ", but hidden ones" if any(map(hidden_below, paths)) else ""
        raise DataError(f"{', '.join(map(str, paths))}: no file to upload{hidden}")
    with ThreadPoolExecutor(WRITERS) as pool:
        for done, _ in enumerate(pool.map(lambda key: raw.upload_file(key, jobs[key]), jobs), start=1):
            on_progress(done, len(jobs))
    return list(jobs)


def _equal(etag: str, data: bytes) -> bool:
    return etag == hashlib.md5(data, usedforsecurity=False).hexdigest()

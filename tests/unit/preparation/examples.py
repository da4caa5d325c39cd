"""Examples of every kind, made small: tables as a schema types them, with gaps where a field may have them."""

from __future__ import annotations

import datetime as dt
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import soundfile
from mlratchet.models.preparation.rows import table_of
from mlratchet.models.schema.fields import Field, Schema
from PIL import Image

FIELDS: Mapping[str, Field] = {
    "age": Field(kind="number", nullable=True),
    "pay": Field(kind="number", nullable=True),
    "seen": Field(kind="time", nullable=True),
    "job": Field(kind="category", nullable=True),
    "user": Field(kind="entity", nullable=True),
    "note": Field(kind="text", nullable=True),
    "photo": Field(kind="image", nullable=True),
    "voice": Field(kind="audio", nullable=True),
    "dna": Field(kind="letters", alphabet="dna", nullable=True),
    "point": Field(kind="tensor", shape=(2, 3), nullable=True),
}
WORDS = ["the", "a", "cat", "dog", "runs", "sleeps", "naïve", "über", "it's", "42", "—", ",", ".", "日本", "🙂"]


def schema_of(*names: str, **fields: Field) -> Schema:
    """Of these of the fields above, and of others."""
    return Schema(fields={**{name: FIELDS[name] for name in names}, **fields})


def picture(rng: np.random.Generator, size: tuple[int, int] = (9, 7)) -> bytes:
    """A PNG of random colours."""
    return png(rng.integers(0, 256, (*size, 3), dtype=np.uint8))


def png(pixels: np.ndarray[Any, Any]) -> bytes:
    """A file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()


def sound(samples: np.ndarray[Any, Any], rate_hz: int, form: str = "WAV") -> bytes:
    """A file; (S,) or (S, channels) in -1..1."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format=form)
    return file.getvalue()


def rows(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Random examples with every field above, some of them lacking it."""
    rng = np.random.default_rng(seed)
    made = [
        {
            "age": float(rng.integers(18, 90)),
            "pay": float(np.exp(rng.normal(8, 2))),
            "seen": dt.datetime(2025, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=int(rng.integers(0, 40_000_000))),
            "job": str(rng.choice(["nurse", "baker", "judge", f"one of {rng.integers(1000)}"])),
            "user": f"u{rng.integers(0, max(2, count // 2))}",
            "note": " ".join(rng.choice(WORDS, rng.integers(0, 12))),
            "photo": picture(rng),
            "voice": sound(rng.uniform(-0.5, 0.5, int(rng.integers(50, 900))), 8000),
            "dna": "".join(rng.choice(list("ACGTNacgtX"), rng.integers(0, 20))),
            "point": rng.normal(size=6).astype(np.float32).tolist(),
        }
        for _ in range(count)
    ]
    return [{name: None if rng.random() < 0.1 else value for name, value in row.items()} for row in made]


def table(count: int, seed: int = 0, fields: Mapping[str, Field] = FIELDS) -> pa.Table:
    """They as a table."""
    return table_of(rows(count, seed), fields)

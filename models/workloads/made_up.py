"""Examples that are made up from a schema: what a workload is tried with before there are any rows."""

from __future__ import annotations

import base64
import datetime as dt
import io
import wave
from typing import Any

import numpy as np
from mlratchet.models.schema.fields import Field, Schema, bound_us
from PIL import Image

SIDE = 32  # pixels of a picture
RATE = 16_000  # Hz of a sound of a second
MOMENT_US = 1_700_000_000_000_000  # since 1970
WORDS = 12  # letters


def made_up_examples(schema: Schema, count: int) -> list[dict[str, Any]]:
    """As clients would send them; nothing is left out."""
    return [{name: _value(field, at) for name, field in schema.inputs.items()} for at in range(count)]


def _value(field: Field, at: int) -> Any:
    if field.kind == "number":
        low, high = _bounds(field)
        return high if at % 2 else low
    if field.kind == "category":
        values = field.values or ("a", "b", "c")
        return values[at % len(values)]
    if field.kind == "letters":
        letters = field.letters or "ACGT"
        return "".join(letters[(at + step) % len(letters)] for step in range(WORDS))
    if field.kind == "time":
        least = bound_us(field.minimum) if field.minimum is not None else MOMENT_US
        return (dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=least, hours=at)).isoformat()
    if field.kind == "image":
        return _encoded(_png(at))
    if field.kind == "audio":
        return _encoded(_wav(at))
    if field.kind == "tensor":
        return np.full(field.shape or (), float(at % 2)).tolist()
    return f"name-{at % 4}" if field.kind == "entity" else f"made up words number {at}"


def _bounds(field: Field) -> tuple[float, float]:
    low = float(field.minimum) if field.minimum is not None else None
    high = float(field.maximum) if field.maximum is not None else None
    if low is None:
        low = high - 1.0 if high is not None else 0.0
    return low, high if high is not None else low + 1.0


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _png(at: int) -> bytes:
    sink = io.BytesIO()
    Image.fromarray(np.random.default_rng(at).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)).save(sink, "PNG")
    return sink.getvalue()


def _wav(at: int) -> bytes:
    sink = io.BytesIO()
    tone = np.sin(np.arange(RATE) * (0.05 + 0.01 * at)) * 10_000
    with wave.open(sink, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(tone.astype("<i2").tobytes())
    return sink.getvalue()

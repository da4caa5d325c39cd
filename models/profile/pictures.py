"""Pictures and sounds of a dataset as small PNGs: thumbnails and spectrograms.

Shape legend: C channels, H height, W width, T frames, M bands.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from mlratchet.models.errors import RatchetError
from mlratchet.models.preparation.log_mel import filters, log_mel
from mlratchet.models.preparation.waveform import decode_sound
from PIL import Image, ImageOps

SIDE_PX, MOST_PIXELS = 96, 64_000_000
RATE_HZ, MOST_SECONDS, WINDOW, HOP, BANDS = 16_000, 5.0, 400, 160, 64
SPECTROGRAM_PX = (220, 96)
MAGMA = np.asarray(  # a few of matplotlib's colours, between which is interpolated
    [(0, 0, 4), (40, 17, 89), (114, 31, 129), (183, 55, 121), (241, 96, 93), (254, 176, 120), (252, 253, 191)]
)

Array = np.ndarray[Any, Any]


def thumbnail(value: Any) -> bytes | None:
    """A PNG of a picture's file, or of its pixels (C, H, W); None for what cannot be decoded."""
    try:
        picture = _opened(value) if isinstance(value, bytes) else _of_pixels(np.asarray(value))
    except Exception:  # noqa: BLE001 - whatever a decoder raises at a file: the page shows that it has none
        return None
    if max(picture.size) > SIDE_PX:
        picture.thumbnail((SIDE_PX, SIDE_PX))
    return _png(picture)


def _opened(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data)) as found:
        if found.width * found.height > MOST_PIXELS:
            raise ValueError(f"{found.width} x {found.height} pixels")
        found.draft("RGB", (SIDE_PX * 2, SIDE_PX * 2))
        turned = ImageOps.exif_transpose(found)
        deep = turned.mode.startswith(("I", "F"))
        return _of_pixels(np.asarray(turned, dtype=np.float64)[None]) if deep else turned.convert("RGB")


def _of_pixels(values_CHW: Array) -> Image.Image:
    """From black to white between the smallest and the largest value."""
    low, high = float(values_CHW.min()), float(values_CHW.max())
    grey = np.rint((values_CHW - low) * (255 / (high - low) if high > low else 0)).astype(np.uint8)
    if len(grey) == 3:
        return Image.fromarray(np.moveaxis(grey, 0, -1), "RGB")
    return Image.fromarray(grey[0], "L")


def spectrogram(data: bytes) -> bytes | None:
    """A PNG of a sound's log-mel spectrogram, low tones at the bottom; None for what cannot be decoded."""
    try:
        sound_S = decode_sound(data, rate_hz=RATE_HZ, max_seconds=MOST_SECONDS, where="a sound")
    except RatchetError:
        return None
    weights_MK = filters(bands=BANDS, points=512, rate_hz=RATE_HZ, low_hz=20.0, high_hz=RATE_HZ / 2)
    found_TM = log_mel(sound_S, window=WINDOW, hop=HOP, weights_MK=weights_MK)
    low, high = (float(one) for one in np.quantile(found_TM, (0.05, 0.995)))
    level = np.clip((found_TM - low) / (high - low if high > low else 1.0), 0, 1)
    place = level * (len(MAGMA) - 1)
    colours = [np.interp(place, range(len(MAGMA)), MAGMA[:, channel]) for channel in range(3)]
    picture = np.rint(np.stack(colours, axis=-1)).astype(np.uint8)  # (T, M, 3)
    return _png(Image.fromarray(picture.transpose(1, 0, 2)[::-1].copy(), "RGB").resize(SPECTROGRAM_PX))


def _png(picture: Image.Image) -> bytes:
    sink = io.BytesIO()
    picture.save(sink, format="PNG", optimize=True)
    return sink.getvalue()

"""Perceptual hashes of pictures: 64 bits of their low frequencies (pHash), and a thumbnail to be sure.

Shape legend: C channels, H height, W width.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

SIDE = 32  # pixels that frequencies are taken of
BITS = 8  # frequencies in each direction
BORDER = 0.02  # mean difference of the thumbnails of near-duplicates, of the range of grey
Array = np.ndarray[Any, Any]
DRAWS = 24  # orders of the bits by which neighbours are looked for
_ORDERS = [np.random.default_rng(number).permutation(64) for number in range(DRAWS)]


def sketch_of_picture(picture: Image.Image) -> Array:
    """(72,) uint8: 8 of the hash, 64 of the thumbnail (8 x 8, grey, its range stretched)."""
    from PIL import Image
    from scipy.fft import dctn  # most runs need neither

    grey = picture.convert("L")
    pixels = np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BILINEAR), dtype=np.float32)
    low = dctn(pixels, norm="ortho")[: BITS + 1, : BITS + 1][1:, 1:]  # without the mean and its row and column
    bits = (low > np.median(low)).ravel()
    small = np.asarray(grey.resize((8, 8), Image.Resampling.BOX), dtype=np.float32)
    span = float(small.max() - small.min())
    stretched = (small - small.min()) * (255.0 / span) if span > 0 else np.zeros_like(small)
    return np.concatenate([np.packbits(bits), stretched.round().astype(np.uint8).ravel()])


def sketch_of_bytes(data: bytes) -> Array | None:
    """Of an encoded picture; None for what Pillow does not open."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as opened:
            return sketch_of_picture(opened)
    except Exception:  # noqa: BLE001 - Pillow's decoders raise anything; such a picture is compared by its bytes alone
        return None


def sketch_of_array(x: Array) -> Array:
    """Of an input (C, H, W) as a model gets it."""
    from PIL import Image

    grey = x.astype(np.float32).mean(axis=0)
    low, span = float(grey.min()), float(grey.max() - grey.min())
    scaled = (grey - low) * (255.0 / span) if span > 0 else np.zeros_like(grey)
    return sketch_of_picture(Image.fromarray(scaled.round().astype(np.uint8)))


def orders(sketches: Array) -> list[Array]:
    """Keys (N,) to sort by, one per order of the bits: near ones lie side by side in one of them."""
    bits = np.unpackbits(np.ascontiguousarray(sketches[:, :8]), axis=1)
    packed = (np.ascontiguousarray(np.packbits(bits[:, order], axis=1)) for order in _ORDERS)
    return [one.view(">u8").ravel().astype(np.uint64) for one in packed]


def are_near(ours: Array, theirs: Array, bits: int) -> Array:
    """Of pairs of sketches (P, 72): hashes at most `bits` of 64 apart, and thumbnails alike."""
    apart = np.bitwise_count(ours[:, :8] ^ theirs[:, :8]).sum(axis=1)
    unlike = np.abs(ours[:, 8:].astype(np.int16) - theirs[:, 8:]).mean(axis=1) / 255.0
    return np.asarray((apart <= bits) & (unlike <= BORDER))

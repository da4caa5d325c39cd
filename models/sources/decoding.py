"""Decode an image of unknown origin into a float array, or say why not."""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
from mlratchet.models.errors import DataError, SecurityError
from PIL import Image, ImageOps, UnidentifiedImageError

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM")
MAX_PIXELS = 64_000_000  # beyond it a small file can fill the memory


class UnreadableImageError(DataError):
    """The bytes are not an image that can be used; `reason_code` is a short stable word."""

    def __init__(self, reason_code: str, message: str) -> None:
        super().__init__(message)
        self.reason_code = reason_code


def decode_image(
    data: bytes, *, height: int, width: int, channels: int, where: str
) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Decode to (channels, height, width), float32 in 0..1.

    EXIF rotation is applied; palette, CMYK, alpha and 16-bit images are converted; another size is resized
    (bilinear). `where` names the image in errors. Raises ``UnreadableImageError`` for truncated or foreign
    bytes, ``SecurityError`` for a decompression bomb.
    """
    if channels not in (1, 3):
        raise ValueError(f"channels must be 1 or 3, got {channels}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image: Image.Image = Image.open(io.BytesIO(data), formats=FORMATS)
            if image.width * image.height > MAX_PIXELS:
                raise Image.DecompressionBombError(f"{image.width}x{image.height} pixels")
            check_suffix(image.format or "", data, where)
            image.load()
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as exc:
        raise SecurityError(
            f"{where}: decompression bomb: {exc}, expected at most {MAX_PIXELS} pixels; remove it"
        ) from exc
    except UnidentifiedImageError as exc:
        raise UnreadableImageError(
            "not_an_image",
            f"{where}: not an image: got {len(data)} bytes of another kind, expected one of {', '.join(FORMATS)}",
        ) from exc
    except (OSError, SyntaxError, ValueError) as exc:
        raise UnreadableImageError(
            "truncated_image", f"{where}: truncated or damaged image: {exc}; deliver it again"
        ) from exc
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16") or image.mode == "I":
        sixteen = np.asarray(image, dtype=np.float32) / 65535.0
        image = Image.fromarray((sixteen.clip(0, 1) * 255).round().astype(np.uint8), mode="L")
    image = image.convert("L" if channels == 1 else "RGB")
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    pixels = np.asarray(image, dtype=np.float32) / 255.0
    return pixels[None] if channels == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


SUFFIXES = {
    "png": "PNG", "jpg": "JPEG", "jpeg": "JPEG", "gif": "GIF", "bmp": "BMP", "webp": "WEBP",
    "tif": "TIFF", "tiff": "TIFF",
}  # fmt: skip


def check_suffix(found: str, data: bytes, where: str) -> None:
    """Raises ``UnreadableImageError`` when the name promises another format than the bytes hold."""
    suffix = where.rsplit(".", 1)[-1].lower() if "." in where else ""
    promised = SUFFIXES.get(suffix)
    if promised is not None and found != promised:
        raise UnreadableImageError(
            "content_unlike_extension",
            f"{where}: content unlike its extension: got {found} ({len(data)} bytes), expected {promised}; rename it",
        )

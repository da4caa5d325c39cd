"""Decode an image of unknown origin into a float array, or say why not.

Whatever a decoder raises is `UnreadableImageError`: about this picture, never about the run.
"""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from mlratchet.models.errors import DataError
from mlratchet.models.sources.record import Decoding, Example, Reject, Remark
from PIL import Image, ImageColor, ImageOps, UnidentifiedImageError

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM")
LARGE_PIXELS = 8_000_000  # such pictures are decoded one at a time, whatever the number of threads
NARROW = 4096  # 12 bits in a file of 16: nearly black
AS_DECLARED = Decoding()
Result = TypeVar("Result")
Array = np.ndarray[Any, np.dtype[np.float32]]

# the limit is held below, for every picture and thread; Pillow's warning names no file
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
_large = threading.Lock()


class UnreadableImageError(DataError):
    """The bytes are not an image that can be used; `reason_code` is a short stable word."""

    def __init__(self, reason_code: str, message: str) -> None:
        super().__init__(message)
        self.reason_code = reason_code


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """A picture, and what is worth a word about it."""

    pixels: Array  # (channels, height, width) in 0..1
    remarks: tuple[Remark, ...] = ()


def decode_image(
    data: bytes, *, height: int, width: int, channels: int, where: str, how: Decoding = AS_DECLARED
) -> Array:
    """As `decode_picture`, without its remarks."""
    return decode_picture(data, height=height, width=width, channels=channels, where=where, how=how).pixels


def decode_picture(
    data: bytes, *, height: int, width: int, channels: int, where: str, how: Decoding = AS_DECLARED
) -> Decoded:
    """Decode to (channels, height, width), float32 in 0..1.

    EXIF rotation is applied, and ignored where the EXIF is broken; palette, CMYK, alpha and 16-bit images are
    converted; another size is resized (bilinear). `where` names the image in errors. Raises ``UnreadableImageError``
    for whatever cannot be decoded, has more pixels than `how` allows, or values whose range nobody declared.
    """
    if channels not in (1, 3):
        raise ValueError(f"channels must be 1 or 3, got {channels}")
    image = _guarded(lambda: _open(data, where, how), len(data), where)
    large = image.width * image.height > LARGE_PIXELS
    with _large if large else nullcontext():
        return _guarded(lambda: _decode(image, (width, height), channels, where, how), len(data), where)


def check_picture(data: bytes, where: str, how: Decoding = AS_DECLARED) -> None:
    """Decode a picture and forget it. Raises ``UnreadableImageError`` for what cannot be decoded or has too many
    pixels."""
    image = _guarded(lambda: _open(data, where, how), len(data), where)
    large = image.width * image.height > LARGE_PIXELS
    with _large if large else nullcontext():
        _guarded(image.load, len(data), where)


def undecodable(one: Example, files: Mapping[str, bytes]) -> Reject | None:
    """Why the picture of an example is set aside; None for one that can be decoded."""
    if one.picture is None:
        return None
    try:
        check_picture(files["picture"], one.picture.key)
    except UnreadableImageError as error:
        return Reject(where=one.where, code=error.reason_code, reason=str(error))
    return None


def _in_colours(image: Image.Image, mode: str) -> Image.Image:
    return (image.convert("RGB") if image.mode == "LAB" else image).convert(mode)  # of LAB Pillow makes RGB alone


def _guarded(step: Callable[[], Result], size_bytes: int, where: str) -> Result:
    """Whatever a decoder raises, as an error about this picture."""
    try:
        return step()
    except UnreadableImageError:
        raise
    except Image.DecompressionBombError as exc:
        raise UnreadableImageError(
            "too_many_pixels", f"{where}: too many pixels to be a picture; scale it down"
        ) from exc
    except UnidentifiedImageError as exc:
        raise UnreadableImageError(
            "not_an_image",
            f"{where}: not an image: got {size_bytes} bytes of another kind, expected one of {', '.join(FORMATS)}",
        ) from exc
    except (OSError, SyntaxError, ValueError) as exc:
        raise UnreadableImageError(
            "truncated_image", f"{where}: truncated or damaged image: {exc}; deliver it again"
        ) from exc
    except Exception as exc:
        raise UnreadableImageError(
            "undecodable_image", f"{where}: cannot be decoded: {type(exc).__name__}: {exc}; deliver it again"
        ) from exc


def _open(data: bytes, where: str, how: Decoding) -> Image.Image:
    """Its header read, its pixels not yet."""
    image: Image.Image = Image.open(io.BytesIO(data), formats=FORMATS)
    if image.width * image.height > how.max_pixels:
        raise UnreadableImageError(
            "too_many_pixels",
            f"{where}: too many pixels: {image.width}x{image.height}, expected at most {how.max_pixels:,}; scale it "
            "down, or raise max_pixels under workload.parameters",
        )
    check_suffix(image.format or "", data, where)
    return image


def _decode(image: Image.Image, size: tuple[int, int], channels: int, where: str, how: Decoding) -> Decoded:
    remarks = (
        [Remark(code="first_frame", words=f"{where}: only the first of its pictures is used")] if _more(image) else []
    )
    image.load()
    standard = image.format in ("PNG", "PPM")
    image = _upright(image, where, remarks)
    grey = _grey_values(image, standard, where, how)
    if grey is not None and how.value_range is not None:
        return Decoded(pixels=_in_range(grey, size, channels, where, how.value_range), remarks=tuple(remarks))
    if grey is not None:
        remarks.append(Remark(code="converted", words=f"{where}: 16 bits a pixel are used as 8"))
        if grey.max() < NARROW:
            words = f"{where}: its values end at {grey.max():g} of 65535; declare value_range where that is white"
            remarks.append(Remark(code="narrow_range", words=words))
        image = Image.fromarray((grey / 65535.0 * 255).round().astype(np.uint8))
    elif image.mode == "CMYK":
        remarks.append(Remark(code="converted", words=f"{where}: CMYK is used as RGB"))
    if image.has_transparency_data:
        image = _on_background(image, how.background)
    image = _in_colours(image, "L" if channels == 1 else "RGB")
    if image.size != size:
        image = image.resize(size, Image.Resampling.BILINEAR)
    pixels = np.asarray(image, dtype=np.float32) / 255.0
    return Decoded(
        pixels=pixels[None] if channels == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1)),
        remarks=tuple(remarks),
    )


def _more(image: Image.Image) -> bool:
    """Whether it is an animation or has pages; the second picture of a phone's JPEG is none of ours."""
    return image.format != "MPO" and getattr(image, "n_frames", 1) > 1


def _upright(image: Image.Image, where: str, remarks: list[Remark]) -> Image.Image:
    """As its EXIF says it is to be shown."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception as exc:  # noqa: BLE001 - rubbish in a tag: the pixels are as good as without it
        words = f"{where}: its EXIF is broken ({type(exc).__name__}: {exc}) and was ignored"
        remarks.append(Remark(code="broken_exif", words=words))
        return image


def _grey_values(image: Image.Image, standard: bool, where: str, how: Decoding) -> Array | None:
    """The values of a picture that holds no bytes; None for one that does.

    16 bits run from 0 to 65535 by the standards of the formats, of which PNG and PPM (`standard`) hold no more; what a
    TIFF of floats or 32-bit integers means, only whoever wrote it knows.
    """
    sixteen = image.mode.startswith("I;16") or (image.mode == "I" and standard)
    if not sixteen and image.mode not in ("I", "F"):
        return None
    if not sixteen and how.value_range is None:
        kind = "32-bit integers" if image.mode == "I" else "floats"
        values = np.asarray(image)
        raise UnreadableImageError(
            "unknown_range",
            f"{where}: holds {kind} from {values.min():g} to {values.max():g}, of which nobody says what is black and "
            "what is white; declare value_range: [black, white] under workload.parameters",
        )
    return np.asarray(image, dtype=np.float32)


def _in_range(
    values_HW: Array, size: tuple[int, int], channels: int, where: str, value_range: tuple[float, float]
) -> Array:
    low, high = value_range
    if not np.isfinite(values_HW).all() or values_HW.min() < low or values_HW.max() > high:
        raise UnreadableImageError(
            "out_of_range",
            f"{where}: holds values from {values_HW.min():g} to {values_HW.max():g}, expected {low:g} to {high:g}, as "
            "value_range declares",
        )
    image = Image.fromarray((values_HW - low) / (high - low))
    if image.size != size:
        image = image.resize(size, Image.Resampling.BILINEAR)
    pixels_HW = np.asarray(image, dtype=np.float32).clip(0, 1)
    return np.repeat(pixels_HW[None], channels, axis=0)


def _on_background(image: Image.Image, background: str) -> Image.Image:
    """What is transparent shows the background, whatever colour lies underneath."""
    colour = (*ImageColor.getrgb(background)[:3], 255)
    whole = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", whole.size, colour), whole).convert("RGB")


SUFFIXES = {
    "png": "PNG", "jpg": "JPEG", "jpeg": "JPEG", "jpe": "JPEG", "jfif": "JPEG", "mpo": "JPEG", "gif": "GIF",
    "bmp": "BMP", "webp": "WEBP", "tif": "TIFF", "tiff": "TIFF",
}  # fmt: skip


def check_suffix(found: str, data: bytes, where: str) -> None:
    """Raises ``UnreadableImageError`` when the name promises another format than the bytes hold."""
    suffix = where.rsplit(".", 1)[-1].lower() if "." in where else ""
    promised = SUFFIXES.get(suffix)
    held = "JPEG" if found == "MPO" else found  # a JPEG with a second picture behind it, as phones write them
    if promised is not None and held != promised:
        raise UnreadableImageError(
            "content_unlike_extension",
            f"{where}: content unlike its extension: got {found} ({len(data)} bytes), expected {promised}; rename it",
        )

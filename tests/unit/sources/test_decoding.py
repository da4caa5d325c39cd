"""Pictures as people have them: decoded, or set aside with what is wrong; never the end of a run."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlratchet.models.artifact.signature import Signature, signature_of
from mlratchet.models.sources.decoding import FORMATS, UnreadableImageError, decode_picture
from mlratchet.models.sources.record import Decoding
from mlratchet.models.workloads.vision import ImageClassifier
from PIL import Image

RAMP = np.indices((8, 8)).sum(0) * 16  # 0 to 224
SEVERAL = [Image.new("RGB", (8, 8), shade) for shade in (10, 200)]


def encoded(image: Image.Image, form: str, **how: Any) -> bytes:
    sink = io.BytesIO()
    image.save(sink, form, **how)
    return sink.getvalue()


def decode(data: bytes, where: str = "a", *, channels: int = 1, how: Decoding | None = None) -> Any:
    return decode_picture(data, height=8, width=8, channels=channels, where=where, how=how or Decoding())


def refused(data: bytes, where: str = "a", **kwargs: Any) -> UnreadableImageError:
    with pytest.raises(UnreadableImageError) as caught:
        decode(data, where, **kwargs)
    assert where in str(caught.value)
    return caught.value


def test_the_second_picture_of_a_phones_jpeg_is_none_of_ours() -> None:
    data = encoded(Image.new("RGB", (8, 8), 90), "MPO", save_all=True, append_images=[Image.new("RGB", (4, 4))])
    for where in ("IMG_0001.jpg", "IMG_0001.JPEG", "IMG_0001.mpo", "instances[0].image_base64"):
        found = decode(data, where)
        assert found.pixels.mean() == pytest.approx(90 / 255 * 0.299, abs=0.02)
        assert found.remarks == ()
    assert refused(data, "IMG_0001.png").reason_code == "content_unlike_extension"


@pytest.mark.parametrize("form", ["PNG", "WEBP", "JPEG"])
@pytest.mark.parametrize("rubbish", [b"garbagegarbage", b"Exif\0\0garbagegarbage", b"Exif\0\0II*\0\xff\xff\xff\xff"])
def test_a_broken_exif_is_ignored_with_a_remark(form: str, rubbish: bytes) -> None:
    found = decode(encoded(Image.new("RGB", (8, 8), (90, 90, 90)), form, exif=rubbish), f"a.{form.lower()}")
    assert found.pixels.mean() == pytest.approx(90 / 255, abs=0.02)
    assert {one.code for one in found.remarks} <= {"broken_exif"}
    if form != "JPEG" and rubbish.startswith(b"garbage"):
        assert f"a.{form.lower()}: its EXIF is broken" in found.remarks[0].words


@pytest.mark.parametrize(("form", "remarked"), [("GIF", True), ("TIFF", True), ("PNG", True), ("WEBP", True)])
def test_an_animation_is_its_first_frame_and_said_so(form: str, remarked: bool) -> None:
    found = decode(encoded(SEVERAL[0], form, save_all=True, append_images=SEVERAL[1:]))
    assert ([one.code for one in found.remarks] == ["first_frame"]) is remarked


@pytest.mark.parametrize("underneath", [0, 255, 90])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_shows_the_background(mode: str, underneath: int) -> None:
    """A black square on nothing, whatever colour lies under the nothing."""
    stroke = np.full((8, 8, 4), underneath, np.uint8)
    stroke[..., 3] = 0
    stroke[2:6, 2:6] = (0, 0, 0, 255)
    image = Image.fromarray(stroke)
    data = encoded(image if mode == "RGBA" else image.convert(mode), "PNG")
    white = decode(data).pixels[0]
    assert white[2:6, 2:6].max() == 0
    assert white[:2].min() == 1
    grey = decode(data, channels=3, how=Decoding(background="#808080")).pixels
    assert grey[:, 0, 0] == pytest.approx(128 / 255)
    assert grey[:, 3, 3].max() == 0


def test_half_transparent_pixels_are_mixed_and_opaque_ones_are_as_they_are() -> None:
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[..., :3] = RAMP[..., None]
    pixels[..., 3] = 255
    assert decode(encoded(Image.fromarray(pixels), "PNG")).pixels[0] == pytest.approx(RAMP / 255)
    pixels[..., :3], pixels[..., 3] = 0, 128
    assert decode(encoded(Image.fromarray(pixels), "PNG")).pixels == pytest.approx(127 / 255, abs=0.005)


@pytest.mark.parametrize(
    ("values", "value_range"),
    [
        ((RAMP / 255).astype(np.float32), (0.0, 1.0)),
        (RAMP.astype(np.float32), (0.0, 255.0)),
        (RAMP.astype(np.int32), (0.0, 255.0)),
        ((RAMP.astype(np.int32) - 100) * 1000, (-100_000.0, 155_000.0)),
        ((RAMP * 16).astype(np.uint16), (0.0, 4080.0)),
    ],
)
def test_values_that_are_no_bytes_are_scaled_as_declared(values: Any, value_range: tuple[float, float]) -> None:
    data = encoded(Image.fromarray(values), "TIFF")
    for channels in (1, 3):
        found = decode(data, "a.tif", channels=channels, how=Decoding(value_range=value_range))
        assert found.pixels.shape == (channels, 8, 8)
        assert found.pixels[0] == pytest.approx(RAMP / 255, abs=1e-6)
    assert refused(data, "a.tif", how=Decoding(value_range=(0.0, 0.5))).reason_code == "out_of_range"
    if values.dtype == np.uint16:
        return
    error = refused(data, "a.tif")
    assert error.reason_code == "unknown_range"
    assert f"from {values.min():g} to {values.max():g}" in str(error)
    assert "declare value_range: [black, white] under workload.parameters" in str(error)


def test_values_that_are_not_finite_are_refused() -> None:
    values = RAMP.astype(np.float32)
    values[0, 0] = np.nan
    data = encoded(Image.fromarray(values), "TIFF")
    assert refused(data, how=Decoding(value_range=(0.0, 255.0))).reason_code == "out_of_range"


@pytest.mark.parametrize("form", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_run_to_65535_and_are_remarked(form: str) -> None:
    found = decode(encoded(Image.fromarray((RAMP * 257).astype(np.uint16)), form))
    assert found.pixels[0] == pytest.approx(RAMP / 255, abs=1e-6)
    assert [one.code for one in found.remarks] == ["converted"]


def test_twelve_bits_in_a_file_of_sixteen_are_remarked() -> None:
    found = decode(encoded(Image.fromarray((RAMP * 16).astype(np.uint16)), "PNG"))
    assert [one.code for one in found.remarks] == ["converted", "narrow_range"]
    assert "its values end at 3584 of 65535; declare value_range" in found.remarks[1].words


def test_a_large_picture_says_the_limit_and_how_to_raise_it() -> None:
    data = encoded(Image.new("L", (90, 80), 7), "PNG")
    error = refused(data, "scan.png", how=Decoding(max_pixels=7_000))
    assert error.reason_code == "too_many_pixels"
    assert "90x80, expected at most 7,000; scale it down, or raise max_pixels under workload.parameters" in str(error)
    assert decode(data, how=Decoding(max_pixels=7_200)).pixels == pytest.approx(7 / 255)


def bomb(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


@pytest.mark.parametrize("size", [(9000, 8000), (10_000, 10_000), (60_000, 60_000), (2**31 - 1, 2**31 - 1)])
def test_a_decompression_bomb_is_set_aside_before_it_is_unpacked(size: tuple[int, int]) -> None:
    assert refused(bomb(*size), "x.png").reason_code in ("too_many_pixels", "truncated_image", "undecodable_image")


ROTATED = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0"
BROKEN = [MemoryError("no room"), struct.error("unpack"), IndexError(), RecursionError(), KeyError(3)]
SAMPLES = {
    form: encoded(Image.fromarray(np.random.default_rng(1).integers(0, 255, (9, 7, 3), dtype=np.uint8)), form)
    for form in FORMATS
}
SAMPLES |= {
    "PNG with EXIF": encoded(
        SEVERAL[0], "PNG", exif=b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0"
    ),
    "animated GIF": encoded(SEVERAL[0], "GIF", save_all=True, append_images=SEVERAL[1:]),
    "float TIFF": encoded(Image.fromarray(RAMP.astype(np.float32)), "TIFF"),
    "packed TIFF": encoded(SEVERAL[1], "TIFF", compression="tiff_lzw"),
}


@given(
    st.sampled_from(sorted(SAMPLES)),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=6),
    st.floats(0, 1),
    st.booleans(),
)
@settings(max_examples=300)
def test_whatever_is_broken_in_a_file_is_about_that_file(
    name: str, flips: list[tuple[float, int]], cut: float, cuts: bool
) -> None:
    """Bytes overwritten anywhere, and files cut anywhere, of every decoder."""
    data = bytearray(SAMPLES[name])
    for place, value in flips:
        data[min(int(place * len(data)), len(data) - 1)] = value
    if cuts:
        del data[int(cut * len(data)) :]
    words, pixels = "", np.zeros((3, 8, 8))
    try:
        pixels = decode(bytes(data), "a", channels=3, how=Decoding(max_pixels=1_000_000)).pixels
    except UnreadableImageError as error:
        words = str(error)
    assert not words or words.startswith("a: ")
    assert pixels.shape == (3, 8, 8)
    assert 0 <= pixels.min() <= pixels.max() <= 1


@pytest.mark.parametrize(
    "raised", [MemoryError("no room"), struct.error("unpack"), IndexError(), RecursionError(), KeyError(3)]
)
def test_whatever_a_decoder_raises_names_the_file(monkeypatch: pytest.MonkeyPatch, raised: Exception) -> None:
    def load(self: Image.Image) -> None:
        raise raised

    monkeypatch.setattr(Image.Image, "load", load)
    error = refused(SAMPLES["BMP"], "photos/a.bmp")
    assert error.reason_code == "undecodable_image"
    assert type(raised).__name__ in str(error)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"background": "whitish"}, "background must be a colour"),
        ({"value_range": [1, 0]}, "black < white"),
        ({"value_range": [1]}, "black < white"),
        ({"max_pixels": 10**9}, "max_pixels must be 1 to 178956970"),
    ],
)
def test_what_cannot_be_declared_is_refused(parameters: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ImageClassifier(classes=["a", "b"], **parameters)


def test_what_was_declared_travels_with_the_model() -> None:
    """A client's picture is decoded as those that the model was trained on."""
    workload = ImageClassifier(classes=["a", "b"], background="black", value_range=[0, 4095], max_pixels=10_000)
    signature = signature_of(workload)
    assert Signature.from_json(signature.to_json()) == signature
    assert signature.input.decoding == Decoding(background="black", value_range=(0.0, 4095.0), max_pixels=10_000)

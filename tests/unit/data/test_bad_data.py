"""Deliveries that are broken: set aside with a reason, or refused with one line."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.data.snapshot import take_snapshot
from mlratchet.models.errors import DataError
from mlratchet.models.sources.decoding import UnreadableImageError, decode_image
from PIL import Image

Ingest = Callable[[dict[str, bytes]], Any]


def png(value: int = 128, size: tuple[int, int] = (8, 8), mode: str = "L", form: str = "PNG") -> bytes:
    sink = io.BytesIO()
    colour: Any = value if mode in ("L", "I;16", "I", "F") else (value,) * len(Image.new(mode, (1, 1)).getbands())
    Image.new(mode, size, colour).save(sink, form)
    return sink.getvalue()


def noisy_png() -> bytes:
    sink = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (80, 80), dtype=np.uint8)).save(sink, "PNG")
    return sink.getvalue()


def delivery(rows: list[str], **files: bytes) -> dict[str, bytes]:
    named = {f"{name}.png": data for name, data in files.items()}
    return {"labels.csv": "\n".join(["file,label", *rows, ""]).encode(), **named}


def test_good_rows_become_records(ingest: Ingest) -> None:
    records, rejects = ingest(delivery(["a.png,0", "b.png,1"], a=png(10), b=png(20)))
    assert [(r.id, r.y) for r in records] == [("a.png", 0), ("b.png", 1)]
    assert rejects == []
    assert records[0].x.shape == (1, 8, 8)
    assert 0 <= records[0].x.min() <= records[0].x.max() <= 1


@pytest.mark.parametrize(
    ("rows", "files", "code"),
    [
        (["a.png,0", "b.png,1"], {"b": noisy_png()[:3000]}, "truncated_image"),
        (["a.png,0", "b.png,1"], {"b": b"not an image"}, "not_an_image"),
        (["a.png,0", "b.png,1"], {"b": png(form="JPEG")}, "content_unlike_extension"),
        (["a.png,0", "b.png,1,extra"], {"b": png()}, "ragged_row"),
        (["a.png,0", "b.png,ten"], {"b": png()}, "unknown_label"),
        (["a.png,0", "b.png,"], {"b": png()}, "missing_label"),
        (["a.png,0", "c.png,1"], {"b": png()}, "no_file"),
        (["a.png,0"], {"b": png()}, "no_label"),
        (["a.png,0", "a.png,1"], {}, "duplicate_row"),
    ],
)
def test_bad_records_are_set_aside_with_reasons(
    ingest: Ingest, rows: list[str], files: dict[str, bytes], code: str
) -> None:
    records, rejects = ingest(delivery(rows, a=png(1), **files))
    assert [r.id for r in records] == ["a.png"]
    codes = [r.code for r in rejects]
    assert any(code in found for found in codes), codes
    assert all(r.where and r.reason for r in rejects)


@pytest.mark.parametrize(
    "text",
    [
        "file;label\na.png;0\nb.png;1\n",
        "file\tlabel\na.png\t0\nb.png\t1\n",
        "file|label\na.png|0\nb.png|1\n",
        '"file","label"\r\n"a.png","0"\r\n"b.png","1"\r\n',
        "\ufefffile,label\na.png,0\nb.png,1\n",
        "file, label\na.png, 0\nb.png, 1",
        'note,label,file\n"a, b\nc",0,a.png\nx,1,b.png\n',
        "\n\nfile,label\n\na.png,0\n\nb.png,1\n",
    ],
    ids=["semicolon", "tab", "pipe", "quoted-crlf", "bom", "spaces", "quoted-newline", "blank-lines"],
)
def test_csv_dialects_are_found_out(ingest: Ingest, text: str) -> None:
    records, rejects = ingest({"labels.csv": text.encode(), "a.png": png(1), "b.png": png(2)})
    assert [(r.id, r.y) for r in records] == [("a.png", 0), ("b.png", 1)]
    assert rejects == []


def test_utf16_with_a_mark_is_read(ingest: Ingest) -> None:
    records, _ = ingest({"labels.csv": "file,label\na.png,0\n".encode("utf-16"), "a.png": png()})
    assert len(records) == 1


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (b"file,label\na.png,\xff\n", "labels.csv:2: bad encoding"),
        (b"file,label\na.png,0\x00\n", "labels.csv:2: NUL"),
        (b"", "empty file"),
        (b"file,lable\na.png,0\n", "did you mean 'lable'"),
        (b"file,file,label\na.png,a.png,0\n", "twice"),
        (b"file,label\n", "empty dataset"),
    ],
)
def test_a_labels_file_that_cannot_be_used_stops_the_run(ingest: Ingest, labels: bytes, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        ingest({"labels.csv": labels, "a.png": png()})
    assert caught.value.exit_code == 3


def test_without_a_labels_file_the_run_stops(ingest: Ingest) -> None:
    with pytest.raises(DataError, match="labels file is not in the delivery"):
        ingest({"a.png": png()})


def test_an_empty_source_stops_the_run(raw: MemoryStore, store: MemoryStore) -> None:
    with pytest.raises(DataError, match="no objects"):
        take_snapshot(raw, store, prefix="digits/")


@pytest.mark.parametrize(
    ("first", "second"), [("digits/A.png", "digits/a.png"), ("digits/e\u0301.png", "digits/\u00e9.png")]
)
def test_keys_that_collide_are_refused(raw: MemoryStore, store: MemoryStore, first: str, second: str) -> None:
    raw.put(first, b"1")
    raw.put(second, b"2")
    with pytest.raises(DataError, match="differ only in case or Unicode form"):
        take_snapshot(raw, store, prefix="digits/")


def test_a_source_that_changes_during_the_read_stops_the_run(raw: MemoryStore, store: MemoryStore) -> None:
    raw.put("digits/a", b"1")
    real, reads = raw.get, []

    def get(key: str, *, sha256: str | None = None) -> bytes:
        data = real(key, sha256=sha256)
        if not reads:
            raw.put("digits/late", b"2")
        reads.append(key)
        return data

    raw.get = get  # type: ignore[method-assign]
    with pytest.raises(DataError, match="changed during the read"):
        take_snapshot(raw, store, prefix="digits/")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P", "CMYK", "1", "I;16"])
def test_image_modes_are_converted(mode: str) -> None:
    form = "TIFF" if mode == "CMYK" else "PNG"
    sink = io.BytesIO()
    Image.new(mode, (8, 8)).save(sink, form)
    x = decode_image(sink.getvalue(), height=8, width=8, channels=1, where=f"x.{form.lower()}")
    assert x.shape == (1, 8, 8)
    assert x.dtype == np.float32


def test_exif_rotation_is_applied() -> None:
    image = Image.new("L", (8, 4), 0)
    image.putpixel((0, 0), 255)
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate 90 degrees clockwise to show
    sink = io.BytesIO()
    image.save(sink, "PNG", exif=exif)
    x = decode_image(sink.getvalue(), height=8, width=4, channels=1, where="x.png")
    assert x[0, 0, 3] == 1.0


def test_an_unreadable_image_says_which() -> None:
    with pytest.raises(UnreadableImageError, match=r"images/7\.png"):
        decode_image(b"", height=8, width=8, channels=1, where="images/7.png")

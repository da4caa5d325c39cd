"""Files as broken programs and other tools write them: what is said of them is about the file, the same each time."""

from __future__ import annotations

import datetime as dt
import io
import struct
import zlib

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mlratchet.models.preparation.waveform import UnreadableSoundError, decode_sound
from mlratchet.models.schema.numbers import CellError, read_number
from mlratchet.models.schema.times import read_times
from mlratchet.models.sources.decoding import UnreadableImageError, check_picture, decode_picture
from PIL import Image

from tests.unit.sources.sources import Delivery, codes


@pytest.mark.parametrize("text", ["\u0661\u0662", "\uff11\uff12", "\u0967", "1_000"])
@pytest.mark.parametrize("decimal", ["", ".", ","])
def test_digits_of_other_scripts_are_no_numbers_as_at_the_server(text: str, decimal: str) -> None:
    with pytest.raises(CellError, match="expected a number"):
        read_number(text, decimal=decimal)  # type: ignore[arg-type]


def test_a_zone_that_there_is_not_makes_no_time() -> None:
    cells = ["2026-01-01", "2026-01-01T00:00:00+25:00", "2026-01-01T00:00:00-00:61", "2026-01-01T00:00:00+14:00"]
    assert [one is not None for one in read_times(pa.array(cells), "iso").to_pylist()] == [True, False, False, True]


def of_parquet(**columns: pa.Array) -> dict[str, bytes]:
    held = io.BytesIO()
    pq.write_table(pa.table(columns), held)
    return {"p/a.parquet": held.getvalue()}


def test_times_as_spark_and_impala_write_them_keep_their_year() -> None:
    """Read in nanoseconds, an open end of 9999 becomes a day of 1816 without a word."""
    held, far = io.BytesIO(), [dt.datetime(9999, 12, 31, 2), dt.datetime(1, 1, 1), dt.datetime(2021, 6, 9, 3, 2, 37, 5)]
    times = pa.array(far, pa.timestamp("us"))
    pq.write_table(pa.table({"at": times}), held, use_deprecated_int96_timestamps=True)
    rows, rejects = Delivery({"p/a.parquet": held.getvalue()}).rows("parquet")
    assert ([row["at"] for row in rows], rejects) == (far, [])


def test_parquet_whose_text_is_none_is_set_aside_from_there_on() -> None:
    ends, letters = pa.py_buffer(struct.pack("<3i", 0, 1, 2)), pa.py_buffer(b"\xff\xfe")
    text = pa.Array.from_buffers(pa.string(), 2, [None, ends, letters])
    rows, rejects = Delivery(of_parquet(word=text)).rows("parquet")
    assert rows == []
    assert [(one.where, one.records) for one in rejects] == [("p/a.parquet:1", 2)]
    assert "UTF8" in rejects[0].reason


def test_parquet_with_a_time_zone_that_nobody_knows_is_set_aside_with_the_column() -> None:
    times = pa.array([1, 2, 3], pa.timestamp("s", "Mars/Olympus"))
    rows, rejects = Delivery(of_parquet(at=times)).rows("parquet")
    assert (rows, codes(rejects), rejects[0].records) == ([], [("p/a.parquet", "bad_header")], 3)
    assert "column 'at': its time zone 'Mars/Olympus' is unknown" in rejects[0].reason


def test_parquet_with_such_a_column_that_nothing_reads_is_read() -> None:
    files = of_parquet(x=pa.array([1.0, 2.0]), at=pa.array([1, 2], pa.timestamp("s", "Mars/Olympus")))
    rows, rejects = Delivery(files).rows("parquet", ("x",))
    assert ([row["x"] for row in rows], rejects) == ([1.0, 2.0], [])
    assert codes(Delivery(files).rows("parquet", ("x", "at"))[1]) == [("p/a.parquet", "bad_header")]


def test_json_that_python_cannot_hold_is_told_in_words_of_the_file() -> None:
    lines = ['{"a": ' + "9" * 5000 + "}", "[" * 100_000 + "]" * 100_000]
    _, rejects = Delivery({"p/a.jsonl": "\n".join(lines).encode()}).rows("jsonl")
    assert [one.code for one in rejects] == ["bad_json", "bad_json"]
    assert "a number of more than 4,300 digits" in rejects[0].reason
    assert "nested too deeply" in rejects[1].reason


def test_a_sound_is_refused_in_the_same_words_each_time() -> None:
    said = []
    for _ in range(2):
        with pytest.raises(UnreadableSoundError) as told:
            decode_sound(b"RIFF" + bytes(60), rate_hz=16_000, max_seconds=1.0, where="a.wav")
        said.append(str(told.value))
        held = [bytes(100)]  # another object lies where the first one lay
        del held
    _, rejects = Delivery({"p/x/a.wav": b"RIFX" + bytes(60)}).examples("audio_folder")
    assert said[0] == said[1]
    assert "object at" not in said[0] + "".join(one.reason for one in rejects)


def huge_png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(9))) + chunk(b"IEND", b"")


def test_a_picture_beyond_every_limit_is_told_without_limits_that_are_not_ours() -> None:
    with pytest.raises(UnreadableImageError, match=r"a\.png: too many pixels to be a picture; scale it down") as told:
        check_picture(huge_png(100_000, 100_000), "a.png")
    assert told.value.reason_code == "too_many_pixels"


@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_in_lab_colours_is_one(channels: int) -> None:
    held = io.BytesIO()
    Image.new("LAB", (4, 4)).save(held, "TIFF")
    found = decode_picture(held.getvalue(), height=4, width=4, channels=channels, where="a.tiff")
    assert found.pixels.shape == (channels, 4, 4)

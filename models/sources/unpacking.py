"""Compressed objects as streams of what is in them, bounded: a small file that unpacks to far more than such data do is
refused before it fills anything."""

from __future__ import annotations

import gzip
import io
import zlib
from typing import BinaryIO, cast

from mlratchet.models.errors import DataError, SecurityError
from mlratchet.models.sources.record import RawObject, Reject

COMPRESSIONS = {".gz": "gzip", ".tgz": "gzip", ".zst": "zstd"}  # suffix -> codec
MOST_TIMES = 250  # as large as it was packed; tables of text reach 5 to 60, gzip at most 1,032
MOST_WHOLE = 4 << 30  # bytes of a table that is read whole
UNASKED_BYTES = 64 << 20  # that may come out whatever the packed size is


class UnreadableObjectError(DataError):
    """An object that cannot be read on from here; what came before is used."""

    def __init__(self, rule: str, where: str, words: str) -> None:
        super().__init__(f"{where}: {words}")
        self.rule, self.where = rule, where

    def reject(self, records: int = 1) -> Reject:
        """As what was set aside."""
        return Reject(where=self.where, code=self.rule, reason=str(self), records=max(1, records))


def bare_name(key: str) -> str:
    """A key in lower case, without the suffix of a compression."""
    lower = key.lower()
    if lower.endswith(".tgz"):
        return lower
    return next((lower.removesuffix(suffix) for suffix in COMPRESSIONS if lower.endswith(suffix)), lower)


def unpacked(source: BinaryIO, item: RawObject) -> BinaryIO:
    """What an object holds, uncompressed as its suffix says; `source` itself without one.

    Reading raises ``SecurityError`` for a decompression bomb, ``UnreadableObjectError`` for damaged bytes.
    """
    codec = next((codec for suffix, codec in COMPRESSIONS.items() if item.key.lower().endswith(suffix)), None)
    if codec is None:
        return source
    return cast(BinaryIO, io.BufferedReader(_Unpacking(source, item, codec), buffer_size=1 << 20))


def most_unpacked(item: RawObject) -> int:
    """Bytes that may come out of an object, however it is packed."""
    return max(UNASKED_BYTES, MOST_TIMES * item.size_bytes)


def read_bounded(stream: BinaryIO, item: RawObject) -> bytes:
    """All that is in a stream. Raises ``SecurityError`` for more than a table that is read whole may have."""
    data = stream.read(MOST_WHOLE + 1)
    if len(data) > MOST_WHOLE:
        raise SecurityError(f"{item.key}: unpacks to more than {MOST_WHOLE >> 30} GB; deliver it in several files")
    return data


class _Unpacking(io.RawIOBase):
    """A compressed stream that is read forward."""

    def __init__(self, source: BinaryIO, item: RawObject, codec: str) -> None:
        self._item, self._codec = item, codec
        self._given = 0
        self._source = source
        self._stream: BinaryIO | None = None

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: object) -> int:
        """Fill a buffer with what comes next; 0 at the end."""
        target = memoryview(buffer).cast("B")  # type: ignore[arg-type]  # any writable buffer, as `io` has it
        try:
            if self._stream is None:
                self._stream = _opened(self._source, self._codec)
            data = self._stream.read(len(target))
        except (OSError, EOFError, zlib.error, ValueError) as error:  # pyarrow's own errors are kinds of these
            words = (
                f"cannot be unpacked as {self._codec} behind byte {self._given:,} ({_line(error)}); deliver it again"
            )
            raise UnreadableObjectError("bad_compression", self._item.key, words) from error
        self._given += len(data)
        if self._given > most_unpacked(self._item):
            raise SecurityError(
                f"{self._item.key}: a decompression bomb: {self._item.size_bytes:,} bytes unpack to more than "
                f"{self._given:,}, expected at most {MOST_TIMES} times as many; deliver it uncompressed"
            )
        target[: len(data)] = data
        return len(data)


def _opened(source: BinaryIO, codec: str) -> BinaryIO:
    if codec == "gzip":
        return cast(BinaryIO, gzip.GzipFile(fileobj=source, mode="rb"))
    import pyarrow as pa

    return cast(BinaryIO, pa.CompressedInputStream(pa.PythonFile(source, mode="r"), codec))


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__

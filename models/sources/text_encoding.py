"""Text of a declared or marked encoding as a stream of UTF-8; a byte that is none of it stays in its row, by which the
row is set aside."""

from __future__ import annotations

import codecs
import io
from typing import BinaryIO, Literal, cast

from mlratchet.models.sources.record import RawObject
from mlratchet.models.sources.unpacking import UnreadableObjectError

Encoding = Literal["utf-8", "utf-16", "utf-16-le", "utf-16-be", "latin-1", "cp1252"]
DECLARE_IT = "declare what it is (source.encoding; `ratchet init --encoding`), such as cp1252, or convert the file"
UTF8_MARK, UTF16_MARKS = b"\xef\xbb\xbf", (b"\xff\xfe", b"\xfe\xff")


def as_utf8(source: BinaryIO, item: RawObject, encoding: Encoding | None) -> BinaryIO:
    """The same text in UTF-8, without a mark. Without a declared encoding a mark tells; UTF-8 where there is none.

    Reading raises ``UnreadableObjectError`` for UTF-16 that is none.
    """
    buffered = source if isinstance(source, io.BufferedReader) else io.BufferedReader(cast(io.RawIOBase, source))
    start = buffered.peek(3)[:3]
    if encoding in (None, "utf-8"):
        if start[:2] not in UTF16_MARKS or encoding == "utf-8":
            if start == UTF8_MARK:
                buffered.read(3)
            return cast(BinaryIO, buffered)
        encoding = "utf-16"
    return cast(BinaryIO, io.BufferedReader(_Recoding(cast(BinaryIO, buffered), item, str(encoding)), 1 << 20))


class _Recoding(io.RawIOBase):
    """Text of one encoding as bytes of another, read forward."""

    def __init__(self, source: BinaryIO, item: RawObject, encoding: str) -> None:
        self._source, self._item, self._encoding = source, item, encoding
        errors = "strict" if encoding.startswith("utf-16") else "surrogateescape"
        self._decoder = codecs.getincrementaldecoder(encoding)(errors)
        self._ready, self._lines, self._ended = b"", 1, False

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: object) -> int:
        """Fill a buffer with what comes next; 0 at the end."""
        target = memoryview(buffer).cast("B")  # type: ignore[arg-type]  # any writable buffer, as `io` has it
        while not self._ready and not self._ended:
            data = self._source.read(1 << 20)
            self._ended = not data
            self._ready = self._recoded(data)
        part, self._ready = self._ready[: len(target)], self._ready[len(target) :]
        target[: len(part)] = part
        return len(part)

    def _recoded(self, data: bytes) -> bytes:
        try:
            text = self._decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            line = self._lines + error.object[: error.start].decode(self._encoding, errors="ignore").count("\n")
            words = (
                f"bad encoding: no {self._encoding}, as its mark or the pipeline file says ({error.reason}); convert it"
            )
            raise UnreadableObjectError("bad_encoding", f"{self._item.key}:{line}", words) from error
        except UnicodeError as error:  # without a place: the decoder of UTF-16 that finds no mark at the beginning
            words = (
                f"bad encoding: {self._encoding} is declared, and its byte-order mark is missing; declare utf-16-le or "
                "utf-16-be (source.encoding; `ratchet init --encoding`), or convert the file"
            )
            raise UnreadableObjectError("bad_encoding", f"{self._item.key}:{self._lines}", words) from error
        self._lines += text.count("\n")
        return text.removeprefix("\ufeff").encode("utf-8", errors="surrogateescape")

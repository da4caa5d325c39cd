"""Files out of a wheel or a .deb, by name and in memory: nothing is extracted to the disk, no link is followed."""

from __future__ import annotations

import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import IO, cast

from mlratchet.models.errors import SecurityError

MOST_BYTES = 1 << 30  # of all files that are taken out of one archive
AR, AR_HEAD = b"!<arch>\n", 60
Wanted = Callable[[str], bool]


def files_of(archive: bytes, where: str, wanted: Wanted) -> dict[str, bytes]:
    """Name -> bytes of the regular files whose names are `wanted`.

    Raises ``SecurityError`` for an archive that is neither, is damaged, holds a wanted name twice, or unpacks to too
    much. Links and devices are none of its files.
    """
    found: dict[str, bytes] = {}
    left = MOST_BYTES
    try:
        for name, size, content in _entries(archive):
            if not wanted(name):
                continue
            if size > left or name in found:
                words = "is there twice" if name in found else f"unpacks to more than {MOST_BYTES >> 20} MB"
                raise SecurityError(f"{where}: {name} {words}; it is not the package that it was")
            data = content()
            if len(data) != size:
                raise SecurityError(f"{where}: {name} has {len(data)} bytes, its archive says {size}")
            found[name] = data
            left -= size
    except (
        zipfile.BadZipFile,
        tarfile.TarError,
        lzma.LZMAError,
        zlib.error,
        EOFError,
        OSError,
        RuntimeError,
        ValueError,
    ) as exc:
        raise SecurityError(f"{where}: cannot be unpacked: {exc}; remove it and download it again") from exc
    return found


def _entries(archive: bytes) -> Iterator[tuple[str, int, Callable[[], bytes]]]:
    if archive.startswith(AR):
        yield from _of_tar(_data_of_deb(archive))
        return
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        for info in opened.infolist():
            if not info.is_dir():
                yield info.filename, info.file_size, lambda info=info: opened.read(info)  # type: ignore[misc]


def _of_tar(stream: IO[bytes]) -> Iterator[tuple[str, int, Callable[[], bytes]]]:
    with tarfile.open(fileobj=stream, mode="r|") as opened:
        for member in opened:
            if member.isreg():
                name = member.name.removeprefix("./")
                yield name, member.size, lambda member=member: _content(opened, member)  # type: ignore[misc]


def _content(opened: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    source = opened.extractfile(member)
    return source.read() if source is not None else b""


def _data_of_deb(archive: bytes) -> IO[bytes]:
    """The tar of the files: a .deb is an `ar` archive of three members."""
    at = len(AR)
    while at + AR_HEAD <= len(archive):
        head = archive[at : at + AR_HEAD]
        name, size = head[:16].decode("ascii", "replace").strip().rstrip("/"), int(head[48:58])
        body = archive[at + AR_HEAD : at + AR_HEAD + size]
        at += AR_HEAD + size + size % 2
        if name.startswith("data.tar"):
            return _unpacked(body, name.removeprefix("data.tar"))
    raise ValueError("no data.tar in it")


def _unpacked(body: bytes, suffix: str) -> IO[bytes]:
    if suffix == ".xz":
        return cast(IO[bytes], lzma.open(io.BytesIO(body)))
    import pyarrow as pa

    codecs = {".zst": "zstd", ".gz": "gzip"}
    if suffix not in codecs:
        raise ValueError(f"data.tar{suffix}: expected .xz, .zst or .gz")
    return cast(
        IO[bytes], io.BufferedReader(_Readable(pa.CompressedInputStream(pa.BufferReader(body), codecs[suffix])))
    )


class _Readable(io.RawIOBase):
    """Arrow's stream as Python's."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: object) -> int:
        """See `io`."""
        target = memoryview(buffer).cast("B")  # type: ignore[arg-type]  # any writable buffer, as `io` has it
        data = self._stream.read(len(target))
        target[: len(data)] = data
        return len(data)

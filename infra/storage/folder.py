"""The storage port over a folder: for machines without S3, such as a benchmark's."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote, unquote

from mlratchet.infra.storage.keys import check_key
from mlratchet.models.ports.memory import check_range, verify
from mlratchet.models.ports.storage import ObjectExists, ObjectInfo, ObjectNotFound

CHUNK_BYTES = 1 << 20
PART = "%part-"  # begins the name of a file that is being written; quoting makes no such name


class FolderStore:
    """One bucket as the files of one folder, for processes of one machine. An object is a file whose name is its quoted
    key: it is written beside its place and then linked there, so a reader sees all of it or nothing, and of two creates
    at once one wins."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def bucket(self) -> str:
        """The bucket's name."""
        return self._folder.name

    def _file(self, key: str) -> Path:
        return self._folder / quote(check_key(key), safe="")

    def _part(self, data: bytes | bytearray) -> Path:
        part = self._folder / f"{PART}{uuid.uuid4().hex}"
        part.write_bytes(data)
        return part

    def get(self, key: str, *, sha256: str | None = None) -> bytes:
        """See the port."""
        try:
            data = self._file(key).read_bytes()
        except FileNotFoundError as exc:
            raise ObjectNotFound(f"{self.bucket}/{key}: no such object") from exc
        verify(self.bucket, key, hashlib.sha256(data).hexdigest(), sha256)
        return data

    def get_range(self, key: str, start: int, length: int, *, sha256: str | None = None) -> bytes:
        """See the port."""
        check_range(start, length)
        try:
            with self._file(key).open("rb") as source:
                source.seek(start)
                data = source.read(length)
        except FileNotFoundError as exc:
            raise ObjectNotFound(f"{self.bucket}/{key}: no such object") from exc
        verify(self.bucket, key, hashlib.sha256(data).hexdigest(), sha256)
        return data

    def put(self, key: str, data: bytes) -> None:
        """See the port."""
        file = self._file(key)
        self._part(data).replace(file)

    def put_stream(self, key: str, parts: Iterable[bytes]) -> None:
        """See the port."""
        file, part = self._file(key), self._folder / f"{PART}{uuid.uuid4().hex}"
        try:
            with part.open("wb") as sink:
                for data in parts:
                    sink.write(data)
            part.replace(file)
        finally:
            part.unlink(missing_ok=True)

    def create(self, key: str, data: bytes | bytearray) -> None:
        """See the port."""
        file, part = self._file(key), self._part(data)
        try:
            os.link(part, file)
        except FileExistsError as exc:
            if file.read_bytes() != data:
                raise ObjectExists(f"{self.bucket}/{key}: holds other bytes") from exc
        finally:
            part.unlink()

    def replace(self, key: str, data: bytes, *, etag: str) -> None:
        """See the port. A lock keeps the processes of this machine apart; `put` does not ask for it."""
        with (self._folder / f"{PART}lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self.head(key).etag != etag and self.get(key) != data:
                raise ObjectExists(f"{self.bucket}/{key}: holds other bytes by now")
            self.put(key, data)

    def upload_file(self, key: str, path: Path) -> str:
        """See the port."""
        data = path.read_bytes()
        self.put(key, data)
        return hashlib.sha256(data).hexdigest()

    def download_file(self, key: str, path: Path, *, sha256: str | None = None) -> str:
        """See the port."""
        part = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
        try:
            with self._file(key).open("rb") as source, part.open("wb") as sink:
                shutil.copyfileobj(source, sink, CHUNK_BYTES)
            with part.open("rb") as copied:
                found = hashlib.file_digest(copied, "sha256").hexdigest()
            verify(self.bucket, key, found, sha256)
            part.replace(path)
        except FileNotFoundError as exc:
            raise ObjectNotFound(f"{self.bucket}/{key}: no such object") from exc
        finally:
            part.unlink(missing_ok=True)
        return found

    def head(self, key: str) -> ObjectInfo:
        """See the port."""
        try:
            return self._info(key, self._file(key))
        except FileNotFoundError as exc:
            raise ObjectNotFound(f"{self.bucket}/{key}: no such object") from exc

    def _info(self, key: str, file: Path) -> ObjectInfo:
        facts = file.stat()
        etag = f"{facts.st_ino:x}-{facts.st_mtime_ns:x}-{facts.st_size:x}"
        return ObjectInfo(key=key, size_bytes=facts.st_size, etag=etag, modified_s=facts.st_mtime)

    def exists(self, key: str) -> bool:
        """See the port."""
        return self._file(key).is_file()

    def list(self, prefix: str = "", *, after: str = "") -> Iterator[ObjectInfo]:
        """See the port."""
        files = {unquote(file.name): file for file in self._folder.iterdir() if not file.name.startswith(PART)}
        for key in sorted(files):
            if key.startswith(prefix) and key > after:
                yield self._info(key, files[key])

    def delete(self, key: str) -> None:
        """See the port."""
        self._file(key).unlink(missing_ok=True)

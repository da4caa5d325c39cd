"""Copies of shards on this machine: verified when they are downloaded, bounded in bytes, shared by all processes of the
user's that train or judge.

Whoever holds the credentials downloads and makes room; ranks are given paths and read. The folder is the owner's alone.
Beside each copy lies what was known of its file when it was verified (inode, size, times): a copy that anybody changed
since then is hashed again before it is used, and downloaded again where it is another. Its time is when it was last
used. A process that reads a copy holds a shared lock on it, and nobody makes room of it then.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import re
import shutil
import stat
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple, TextIO

from mlratchet.models.errors import ConfigurationError, SecurityError
from mlratchet.models.ports.reading import side_by_side
from mlratchet.models.ports.storage import DigestMismatch, ObjectStore, StorageError
from mlratchet.models.ports.streams import stream_of

logger = logging.getLogger(__name__)
PIECE_BYTES = 8 << 20  # of a ranged GET
HASHED_BYTES = 256 << 10  # at once, of what was written
SMALLEST_BYTES = 64 << 20
HANDS = 4  # GETs of one download side by side
DOWNLOADS = 4  # side by side, of those that are wanted soon
SHARE = 4  # of what is free on the disk, one such part is used where nothing is set
SLACK = 20  # such a part of the bound is made free at once, where it can be
DIGEST = re.compile("[0-9a-f]{64}")
LOOK_S = 0.01  # between two looks at a download that another makes
SEEN, PART, TURN = ".seen", ".part", "turn"


class Copy(NamedTuple):
    """One that is there."""

    used_s: float
    size: int
    file: Path


class NoRoomError(StorageError):
    """All that is there is in use."""


class ShardCache:
    """The copies below one folder. Thread-safe, and safe beside other processes with the same folder and bound."""

    def __init__(
        self, folder: Path, store: ObjectStore, *, bound_bytes: int = 0, smallest_bytes: int = SMALLEST_BYTES
    ) -> None:
        """`bound_bytes`: of all copies together; 0: a quarter of what is free beside them. `smallest_bytes`: of a side
        that copies are kept of."""
        self._folder, self._store, self._bound, self._smallest = folder, store, bound_bytes, smallest_bytes
        self._soon: dict[str, Future[Path]] = {}
        self._pool: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()

    @property
    def folder(self) -> Path:
        """Where the copies are; made here, for the owner alone. Raises ``SecurityError`` for one of somebody else's."""
        return own_folder(self._folder)

    @property
    def bound_bytes(self) -> int:
        """See the port."""
        return self._bound or self._share(sum(one.size for one in self._copies()))

    @property
    def smallest_bytes(self) -> int:
        """See the port."""
        return self._smallest

    def _share(self, held: int) -> int:
        return self._bound or (shutil.disk_usage(self.folder).free + held) // SHARE

    def file(self, key: str, sha256: str) -> Path:
        """See the port."""
        try:
            return self._copied(key, sha256)
        except NoRoomError:
            with self._lock:
                soon = list(self._soon.values())
            if not wait(soon).done:
                raise
            return self._copied(key, sha256)  # what was downloaded ahead makes room of what is wanted now

    def _copied(self, key: str, sha256: str) -> Path:
        if not DIGEST.fullmatch(sha256):
            raise SecurityError(f"{key}: {sha256[:70]!r} is no SHA-256")
        file = self.folder / sha256
        if not self._is_whole(file, sha256):
            with self._turn(file) as sink:
                if not self._is_whole(file, sha256):  # who had the turn before has done it
                    self._download(key, sha256, sink, file)
        return file

    def ahead(self, objects: Sequence[tuple[str, str]]) -> None:
        """See the port."""
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(DOWNLOADS, thread_name_prefix="shards-ahead")
            self._soon = {sha256: one for sha256, one in self._soon.items() if not one.done()}
            for key, sha256 in objects:
                if sha256 not in self._soon:
                    self._soon[sha256] = self._pool.submit(self._copied, key, sha256)

    def close(self) -> None:
        """Nothing more is downloaded ahead."""
        with self._lock:
            if self._pool is not None:
                self._pool.shutdown(wait=False, cancel_futures=True)
                self._pool = None

    def trim(self) -> None:
        """Keep to the bound: it may be smaller than it was."""
        with self._room() as counted, suppress(StorageError):
            counted.write(self._make_room(0))

    def _is_whole(self, file: Path, sha256: str) -> bool:
        """Whether the copy is there and nobody changed it; one that somebody changed is removed."""
        try:
            about = file.lstat()
        except FileNotFoundError:
            return False
        seen = seen_file(file)
        with suppress(OSError):
            if seen.read_text() == _words(about):
                os.utime(seen)
                return True
        if stat.S_ISREG(about.st_mode) and _digest(file) == sha256:
            _keep(file)
            return True
        logger.warning("%s: the copy was changed; it is downloaded again", file)
        file.unlink(missing_ok=True)
        return False

    @contextmanager
    def _turn(self, file: Path) -> Iterator[int]:
        """One process and thread at a time downloads a shard; the descriptor of the file that it writes."""
        part = file.with_name(file.name + PART)
        while True:
            sink = os.open(part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                if not _locked(sink, part):
                    continue
                try:
                    yield sink
                finally:
                    if _is_at(sink, part):
                        part.unlink(missing_ok=True)
                return
            finally:
                os.close(sink)

    def _download(self, key: str, sha256: str, sink: int, file: Path) -> None:
        got = self._fill(key, sink)
        if got != sha256:  # a bit flipped on the way, a reply cut short, an object that was swapped meanwhile
            logger.warning("%s/%s: got other bytes (SHA-256 %s); it is read again", self._store.bucket, key, got[:12])
            got = self._fill(key, sink)
        if got != sha256:
            raise DigestMismatch(
                f"{self._store.bucket}/{key}: expected SHA-256 {sha256[:12]}, got {got[:12]}, twice; it was changed"
            )
        os.fchmod(sink, 0o400)
        with self._room():  # who counts copies meanwhile would find it under neither name
            file.with_name(file.name + PART).rename(file)
        _keep(file)

    def _fill(self, key: str, sink: int) -> str:
        """Download into the file; the SHA-256 hex of what came."""
        digest, done = hashlib.sha256(), 0
        with stream_of(self._store, key, 0, PIECE_BYTES) as first:
            size = first.total
            self._reserve(size, sink)
            for part in first:
                digest.update(part)
                done = _write(sink, part, done)
        rest = range(PIECE_BYTES, size, PIECE_BYTES)
        room = memoryview(bytearray(HASHED_BYTES if rest else 0))
        for end in side_by_side(partial(self._receive, key, sink), rest, readers=HANDS, ahead=HANDS):
            while done < end:  # in order, while others arrive
                got = os.preadv(sink, [room[: end - done]], done)
                if not got:
                    return ""  # somebody cut it
                digest.update(room[:got])
                done += got
        return digest.hexdigest()

    def _receive(self, key: str, sink: int, at: int) -> int:
        """One range into the file; where it ends."""
        with stream_of(self._store, key, at, PIECE_BYTES) as arriving:
            for part in arriving:
                at = _write(sink, part, at)
        return at

    def _reserve(self, size: int, sink: int) -> None:
        """Room for a download, which counts from now on."""
        with self._room() as counted:
            total = counted.read()
            if total is None or total + size > self._share(total):
                os.ftruncate(sink, 0)
                total = self._make_room(size)
            try:
                os.ftruncate(sink, 0)
                if size:
                    os.posix_fallocate(sink, 0, size)
            except OSError as error:
                raise StorageError(
                    f"{self._folder}: no room for {size:,} bytes of a shard: {error.strerror}"
                ) from error
            counted.write(total + size)

    @contextmanager
    def _room(self) -> Iterator[HeldBytes]:
        with os.fdopen(os.open(self.folder / TURN, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)
            yield HeldBytes(turn)

    def _make_room(self, size: int) -> int:
        """Remove what was not used for longest and nobody reads, until `size` more bytes keep to the bound, and some
        more: this is not done for every download. The bytes that are left."""
        copies = sorted(self._copies())
        total = sum(one.size for one in copies)
        bound = self._share(total)
        if size > bound:
            raise ConfigurationError(
                f"a shard of {size:,} bytes is larger than all copies may be together, {bound:,} bytes; raise "
                "RATCHET_SHARD_CACHE_BYTES"
            )
        begun = [one for one in copies if one.file.name.endswith(PART)]  # a killed process's first
        for one in (*begun, *(one for one in copies if one not in begun)):
            if one not in begun and total + size <= bound - bound // SLACK:
                break
            if remove_unused(one.file):
                seen_file(one.file).unlink(missing_ok=True)
                total -= one.size
        if total + size > bound:
            raise NoRoomError(
                f"{self._folder}: copies of {total:,} bytes are in use, and {size:,} more would be above the bound of "
                f"{bound:,}; raise RATCHET_SHARD_CACHE_BYTES, or lower train.shuffle_window"
            )
        return total

    def _copies(self) -> list[Copy]:
        """What is there, downloads that are under way among it."""
        found = []
        with os.scandir(self.folder) as entries:
            for entry in entries:
                if entry.name == TURN or entry.name.endswith(SEEN):
                    continue
                with suppress(OSError):
                    about = entry.stat(follow_symlinks=False)
                    used = about.st_mtime
                    with suppress(OSError):
                        used = seen_file(Path(entry.path)).stat().st_mtime
                    found.append(Copy(used, about.st_size, Path(entry.path)))
        return found


class HeldBytes:
    """The bytes of all copies, counted as they are downloaded: never too few, so they are looked at again only where
    they seem to be too many. The file is locked."""

    def __init__(self, turn: TextIO) -> None:
        self._turn = turn

    def read(self) -> int | None:
        """None: they are to be looked at."""
        with suppress(ValueError):
            return int(self._turn.read())
        return None

    def write(self, total: int) -> None:
        """What it is now."""
        self._turn.seek(0)
        self._turn.truncate()
        self._turn.write(str(total))


def shards_folder(home: Path) -> Path:
    """Of an installation; made here. Raises ``SecurityError`` as `own_folder`."""
    return own_folder(home / "cache" / "shards")


def own_folder(folder: Path) -> Path:
    """A folder of mode 0700 of this user's, made where there is none. Raises ``SecurityError`` for any other."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    about = folder.lstat()
    if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.getuid() or about.st_mode & 0o077:
        raise SecurityError(
            f"{folder}: expected a folder of mode 0700 of user {os.getuid()}, got mode "
            f"{stat.S_IMODE(about.st_mode):04o} of user {about.st_uid}; remove it"
        )
    return folder


def remove_unused(file: Path) -> bool:
    """Remove a file unless somebody has a lock on it; whether it is gone."""
    try:
        held = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        file.unlink(missing_ok=True)
        return True
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        file.unlink(missing_ok=True)
    except BlockingIOError:
        return False
    finally:
        os.close(held)
    return True


def seen_file(file: Path) -> Path:
    """Where it stands what was known of a copy."""
    return file.with_name(file.name + SEEN)


def _keep(file: Path) -> None:
    about = file.lstat()
    part = file.with_name(f"{file.name}{SEEN}.{os.getpid()}.{threading.get_ident()}{SEEN}")
    part.write_text(_words(about))
    part.replace(seen_file(file))


def _words(about: os.stat_result) -> str:
    """Whoever writes to a file changes one of these; only root can set the last."""
    return f"{about.st_ino} {about.st_size} {about.st_mtime_ns} {about.st_ctime_ns}"


def _digest(file: Path) -> str:
    with suppress(OSError), file.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()
    return ""


def _locked(sink: int, part: Path) -> bool:
    """Wait until the file is locked; False once it is somewhere else. Not in one long wait: renamed, it is a copy, and
    whoever reads that holds a lock on it for as long as it is mapped."""
    while _is_at(sink, part):
        with suppress(BlockingIOError):
            fcntl.flock(sink, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return _is_at(sink, part)
        time.sleep(LOOK_S)
    return False


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False


def _write(sink: int, part: memoryview, at: int) -> int:
    """All of a part; where it ends."""
    while part:
        done = os.pwrite(sink, part, at)
        part, at = part[done:], at + done
    return at

"""A store as it is lent to a child: the child asks over its socket, the process with the credentials answers within the
rights of the call. What a child creates is named by the SHA-256 of its bytes, so it can neither plant nor replace."""

from __future__ import annotations

import hashlib
import re
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from itertools import count, islice
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from mlratchet.infra.child.frames import receive_frame, send_frame
from mlratchet.infra.machine.atomic import write_atomically
from mlratchet.infra.storage.keys import check_key
from mlratchet.models.errors import RatchetError, SecurityError
from mlratchet.models.identity.record_kinds import is_misnamed, kind_of
from mlratchet.models.ports.children import Rights
from mlratchet.models.ports.local_files import LocalCopies, files_of
from mlratchet.models.ports.memory import check_range
from mlratchet.models.ports.storage import (
    CredentialsExpired,
    DigestMismatch,
    ObjectExists,
    ObjectInfo,
    ObjectNotFound,
    ObjectStore,
    StorageError,
)

DIGEST = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
PAGE = 1000  # objects of a listing per answer
REPORTS, MOST_REPORT = ("result", "checkpoint"), 256 << 20  # bytes
MOST_RANGE = 1 << 30  # bytes of an answer
MOST_WORDS = 2000  # characters of a refusal
KINDS: Mapping[str, type[RatchetError]] = {
    "not found": ObjectNotFound,
    "exists": ObjectExists,
    "credentials": CredentialsExpired,
    "digest": DigestMismatch,
    "security": SecurityError,
    "storage": StorageError,  # last: the others are kinds of it
}
Answer = tuple[dict[str, Any], bytes]


class Lender:
    """The side of the process that has the credentials. Thread-safe as the store is. `hears`: by the name of a report,
    who is told of it before it is answered."""

    def __init__(
        self, store: ObjectStore | None, rights: Rights, *, hears: Mapping[str, Callable[[bytes], None]] | None = None
    ) -> None:
        self._store, self._rights, self._hears = store, rights, dict(hears or {})
        self.reported: dict[str, bytes] = {}  # by name, what was said through this channel and lies in no bucket

    def answer(self, asked: Mapping[str, Any], body: bytes) -> Answer:
        """To one request. Never raises: what goes wrong is the answer."""
        try:
            head, found = self._do(asked, body)
        except Exception as error:  # noqa: BLE001 - whatever a child sends must not end who serves it
            kind = next((name for name, one in KINDS.items() if isinstance(error, one)), "storage")
            words = str(error) if isinstance(error, RatchetError) else f"{type(error).__name__}: {error}"
            return {"to": asked.get("ask"), "refused": kind, "why": words[:MOST_WORDS]}, b""
        return {"to": asked.get("ask"), **head}, found

    def _do(self, asked: Mapping[str, Any], body: bytes) -> Answer:
        what = asked.get("do")
        if what == "report" and asked.get("name") in REPORTS and len(body) <= MOST_REPORT:
            name = str(asked["name"])
            self.reported[name] = body
            if name in self._hears:
                self._hears[name](body)
            return {}, b""
        if self._store is None:
            raise SecurityError("this child was lent no store")
        if what == "create":
            self._store.create(self._created(asked, body), body)
            return {}, b""
        if what == "list":
            prefix = self._read(asked, "prefix")
            infos = islice(self._store.list(prefix, after=str(asked.get("after", ""))), PAGE)
            return {"found": [_plain(info) for info in infos]}, b""
        if what == "files":
            files = files_of(self._store)
            return {"found": [files.bound_bytes, files.smallest_bytes] if files is not None else None}, b""
        if what == "ahead":
            wanted = [self._read({"key": key}, "key") for key in list(asked.get("keys", []))[:PAGE]]
            self._files().ahead([(key, _digest_in(key)) for key in wanted])
            return {}, b""
        key = self._read(asked, "key")
        if what == "get":
            sha256 = asked.get("sha256")
            return {}, self._store.get(key, sha256=sha256 if isinstance(sha256, str) else None)
        if what == "get_range":
            sha256 = asked.get("sha256")
            start, length = int(asked.get("start", 0)), min(int(asked.get("length", 0)), MOST_RANGE)
            digest = sha256 if isinstance(sha256, str) else None
            return {}, self._store.get_range(key, start, length, sha256=digest)
        if what == "head":
            return {"found": _plain(self._store.head(key))}, b""
        if what == "exists":
            return {"found": self._store.exists(key)}, b""
        if what == "file":
            return {"found": str(self._files().file(key, _digest_in(key, asked.get("sha256"))))}, b""
        raise SecurityError(f"a child asked for {what!r}; it may read, list and create")

    def _files(self) -> LocalCopies:
        files = files_of(self._store)
        if files is None:
            raise SecurityError("this child was lent a store that keeps no copies")
        return files

    def _read(self, asked: Mapping[str, Any], name: str) -> str:
        key = check_key(str(asked.get(name)))
        if not key.startswith(self._rights.read):
            raise SecurityError(f"{key}: a child of this call reads below {', '.join(self._rights.read) or 'nothing'}")
        return key

    def _created(self, asked: Mapping[str, Any], body: bytes) -> str:
        key = check_key(str(asked.get("key")))
        if kind_of(key) is not None or is_misnamed(key):
            raise SecurityError(f"{key}: a child reports what it made; the record is signed by who started it")
        if not key.startswith(self._rights.create):
            allowed = ", ".join(self._rights.create) or "nothing"
            raise SecurityError(f"{key}: a child of this call creates below {allowed}")
        if DIGEST.findall(key)[-1:] != [hashlib.sha256(body).hexdigest()]:
            raise SecurityError(f"{key}: a child creates only objects that are named by the SHA-256 of their bytes")
        return key


def _digest_in(key: str, said: object = None) -> str:
    """By which an object is named: copies are kept of no other, and under no other name."""
    found = DIGEST.findall(key)[-1:]
    if not found or said not in (None, found[0]):
        raise SecurityError(f"{key}: copies are kept of objects that are named by their SHA-256")
    return str(found[0])


def _plain(info: ObjectInfo) -> dict[str, Any]:
    return {"key": info.key, "size_bytes": info.size_bytes, "etag": info.etag, "modified_s": info.modified_s}


class BorrowedStore:
    """The storage port in a child. Thread-safe; requests of several threads are under way at once."""

    def __init__(self, connection: socket.socket, bucket: str, *, files: LocalCopies | None = None) -> None:
        """`files`: copies that the lender keeps, where this process may read them."""
        self._connection, self._bucket, self.files = connection, bucket, files
        self._waiting: dict[int, Future[Answer]] = {}
        self._numbers = count()
        self._lock = threading.Lock()
        self._reader: threading.Thread | None = None
        self._over: Exception | None = None  # why nothing is answered any more
        self._requests: SimpleQueue[dict[str, Any] | None] = SimpleQueue()

    @property
    def bucket(self) -> str:
        """See the port."""
        return self._bucket

    def get(self, key: str, *, sha256: str | None = None) -> bytes:
        """See the port."""
        return self._ask({"do": "get", "key": key, "sha256": sha256})[1]

    def get_range(self, key: str, start: int, length: int, *, sha256: str | None = None) -> bytes:
        """See the port."""
        check_range(start, length)
        asked = {"do": "get_range", "key": key, "start": start, "length": length, "sha256": sha256}
        return self._ask(asked)[1]

    def put(self, key: str, data: bytes) -> None:  # noqa: ARG002
        """Never allowed."""
        raise SecurityError(f"{self._bucket}/{key}: a child replaces nothing")

    def put_stream(self, key: str, parts: Iterable[bytes]) -> None:
        """Created in one, as all that comes from a child."""
        self.create(key, b"".join(parts))

    def create(self, key: str, data: bytes | bytearray) -> None:
        """See the port."""
        self._ask({"do": "create", "key": key}, bytes(data))

    def replace(self, key: str, data: bytes, *, etag: str) -> None:  # noqa: ARG002
        """Never allowed."""
        raise SecurityError(f"{self._bucket}/{key}: a child replaces nothing")

    def upload_file(self, key: str, path: Path) -> str:
        """Created, as all that comes from a child."""
        data = path.read_bytes()
        self.create(key, data)
        return hashlib.sha256(data).hexdigest()

    def download_file(self, key: str, path: Path, *, sha256: str | None = None) -> str:
        """See the port."""
        data = self.get(key, sha256=sha256)
        write_atomically(path, data)
        return hashlib.sha256(data).hexdigest()

    def head(self, key: str) -> ObjectInfo:
        """See the port."""
        return ObjectInfo(**self._ask({"do": "head", "key": key})[0]["found"])

    def exists(self, key: str) -> bool:
        """See the port."""
        return bool(self._ask({"do": "exists", "key": key})[0]["found"])

    def list(self, prefix: str = "", *, after: str = "") -> Iterator[ObjectInfo]:
        """See the port."""
        while True:
            page = self._ask({"do": "list", "prefix": prefix, "after": after})[0]["found"]
            yield from (ObjectInfo(**info) for info in page)
            if len(page) < PAGE:
                return
            after = str(page[-1]["key"])

    def delete(self, key: str) -> None:
        """Never allowed."""
        raise SecurityError(f"{self._bucket}/{key}: a child deletes nothing")

    def copies_bytes(self) -> tuple[int, int] | None:
        """What all copies of the lender's may take, and of how many bytes it keeps some; None where it keeps none."""
        found = self._ask({"do": "files"})[0]["found"]
        return (int(found[0]), int(found[1])) if found is not None else None

    def copy_of(self, key: str, sha256: str) -> Path:
        """Where a copy is that the lender keeps."""
        return Path(str(self._ask({"do": "file", "key": key, "sha256": sha256})[0]["found"]))

    def copy_soon(self, objects: Sequence[tuple[str, str]]) -> None:
        """Ask the lender to download these (key, SHA-256 hex)."""
        for at in range(0, len(objects), PAGE):
            self._ask({"do": "ahead", "keys": [key for key, _ in objects[at : at + PAGE]]})

    def report(self, name: str, body: bytes) -> None:
        """Say something to who lent it; it has heard it when this returns."""
        self._ask({"do": "report", "name": name}, body)

    def send(self, head: dict[str, Any], body: bytes = b"") -> None:
        """A frame that asks for nothing."""
        with self._lock:
            send_frame(self._connection, head, body)

    def next_request(self) -> dict[str, Any] | None:
        """What the lender asks for next; None when it is gone. One thread at a time."""
        with self._lock:
            self._listen()
        return self._requests.get()

    def _listen(self) -> None:
        if self._reader is None:
            self._reader = threading.Thread(target=self._read, daemon=True, name="lent-store")
            self._reader.start()

    def _ask(self, what: dict[str, Any], body: bytes = b"") -> Answer:
        answer: Future[Answer] = Future()
        with self._lock:
            if self._over is not None:
                raise self._over
            number = next(self._numbers)
            self._waiting[number] = answer
            self._listen()
            send_frame(self._connection, {"ask": number, **what}, body)
        head, found = answer.result()
        if "refused" in head:
            raise KINDS.get(str(head["refused"]), StorageError)(str(head.get("why")))
        return head, found

    def _read(self) -> None:
        try:
            while True:
                head, body = receive_frame(self._connection)
                if "to" in head:
                    self._waiting.pop(int(head["to"])).set_result((head, body))
                else:
                    self._requests.put(head)
        except MemoryError as error:  # of an answer that is too large for this process; nobody would wait in vain
            self._end(error)
        except Exception as error:  # noqa: BLE001 - the other side is gone, or what it sends is no answer
            self._end(StorageError(f"{self._bucket}: who lent it is gone: {error or type(error).__name__}"))

    def _end(self, why: Exception) -> None:
        with self._lock:
            self._over = why
            waiting, self._waiting = self._waiting, {}
        with suppress(OSError):  # whoever still sends answers has none to send them to
            self._connection.shutdown(socket.SHUT_RDWR)
        self._requests.put(None)
        for answer in waiting.values():
            answer.set_exception(why)

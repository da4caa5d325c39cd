"""The storage port over boto3."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar

import boto3
import botocore.session
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.loaders import Loader, create_loader
from mlratchet.infra.storage.keys import check_key
from mlratchet.infra.storage.signed_get import Arriving, CutShortError, SignedGet
from mlratchet.models.errors import ConfigurationError, RatchetError
from mlratchet.models.ports.local_files import LocalCopies
from mlratchet.models.ports.memory import check_range, verify
from mlratchet.models.ports.reading import side_by_side
from mlratchet.models.ports.storage import (
    CredentialsExpired,
    DigestMismatch,
    ObjectExists,
    ObjectInfo,
    ObjectNotFound,
    StorageError,
)
from mlratchet.models.ports.streams import RangeStream, whole_range

T = TypeVar("T")
CHUNK_BYTES = 1 << 20
MISSING = {"NoSuchKey", "NoSuchVersion", "404", "NotFound"}
REFUSED = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessDenied", "403", "Forbidden"}
BEHIND_ITS_END = {"InvalidRange", "416"}
EXPIRED = {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "InvalidToken", "RequestExpired"}
SENDERS = 4  # parts of a large object that are under way at once
CONFLICT_TRIES = 8  # 409 means "try again"
_session_lock = threading.Lock()  # boto3 sessions are not thread-safe while a client is made


def _botocore_session() -> botocore.session.Session:
    """A new one. What botocore knows of S3 is read once per process: another client then takes a fifth of the time
    (10 ms of CPU)."""
    made = botocore.session.get_session()
    made.register_component("data_loader", _known_services())
    return made


@cache
def _known_services() -> Loader:
    return create_loader()


class S3Store:
    """One bucket of an S3-compatible server. Thread-safe."""

    def __init__(
        self,
        bucket: str,
        *,
        endpoint_url: str | None,
        region: str,
        access_key: str | None,  # None: what boto3 finds by itself
        secret_key: str | None,
        session_token: str | None = None,
    ) -> None:
        self._bucket = bucket
        with _session_lock:
            self._client: Any = boto3.session.Session(botocore_session=_botocore_session()).client(
                "s3",
                endpoint_url=endpoint_url,
                region_name=region,
                aws_access_key_id=access_key,
                aws_secret_access_key=secret_key,
                aws_session_token=session_token,
                config=Config(
                    connect_timeout=5,
                    read_timeout=60,
                    max_pool_connections=32,
                    retries={"mode": "standard", "max_attempts": 5},
                    s3={"addressing_style": "path"},
                    request_checksum_calculation="when_required",
                    response_checksum_validation="when_required",
                ),
            )
        self._quick: SignedGet | None = None  # of a store whose endpoint or keys boto3 finds by itself, it reads alone
        if endpoint_url and access_key and secret_key:
            self._quick = SignedGet(self._client, bucket, access_key, secret_key, session_token)
        self.sources: Callable[[str], S3Store] | None = None  # opens other buckets: of pinned versions
        self.files: LocalCopies | None = None  # copies on this machine, where whoever opened it keeps some
        self._transfer = TransferConfig(multipart_threshold=32 << 20, multipart_chunksize=16 << 20, max_concurrency=4)

    @property
    def bucket(self) -> str:
        """The bucket's name."""
        return self._bucket

    def _call(self, what: str, key: str, call: Callable[[], T]) -> T:
        try:
            return call()
        except ClientError as exc:
            raise self._said(what, key, code_of(exc)) from exc
        except BotoCoreError as exc:
            raise StorageError(f"{what} {self._bucket}/{key}: {exc}; is the server up? see `ratchet status`") from exc

    def _said(self, what: str, key: str, code: str) -> RatchetError:
        """The server's code as an error of ours."""
        where = f"{self._bucket}/{key}"
        if code in MISSING:
            return ObjectNotFound(f"{where}: no such object ({code})")
        if code == "NoSuchBucket":
            return ConfigurationError(f"{what} {where}: no such bucket; correct its name or create it")
        if code in EXPIRED:
            return CredentialsExpired(
                f"{what} {where}: the credentials have expired ({code}); set new ones (RATCHET_S3_ACCESS_KEY, "
                "RATCHET_S3_SECRET_KEY, RATCHET_S3_SESSION_TOKEN) and run again: it goes on from the last checkpoint"
            )
        if code in REFUSED:
            return ConfigurationError(f"{what} {where}: the server said {code}; check the credentials (RATCHET_S3_*)")
        return StorageError(f"{what} {where}: the server said {code}; try again")

    def ensure_bucket(self) -> None:
        """Create the bucket unless it is there."""
        try:
            self._call("look at bucket", "", lambda: self._client.head_bucket(Bucket=self._bucket))
        except (ObjectNotFound, ConfigurationError):
            self._call("create bucket", "", lambda: self._client.create_bucket(Bucket=self._bucket))

    def get(self, key: str, *, sha256: str | None = None) -> bytes:
        """See the port."""
        check_key(key)

        def read() -> bytes:
            data: bytes = self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read()
            return data

        def slow() -> bytes:
            return self._call("read", key, read)

        def first() -> bytes:
            quick = self._quick(key) if self._quick is not None else None
            return quick if quick is not None else slow()

        return self._verified(key, sha256, first, slow)

    def get_range(self, key: str, start: int, length: int, *, sha256: str | None = None) -> bytes:
        """See the port."""
        return self._range(key, start, length, sha256)

    def stream(self, key: str, start: int, length: int) -> RangeStream:
        """See `StreamingStore`."""
        check_key(key)
        check_range(start, length)
        begun = self._quick.arriving(key, start, length) if self._quick is not None else None
        if begun is None:
            return whole_range(self, key, start, length)
        return RangeStream(begun.total, self._to_the_end(begun, key, start), begun.close)

    def _to_the_end(self, begun: Arriving, key: str, start: int) -> Iterator[memoryview]:
        """What was begun, and what of it does not arrive is asked for again."""
        done = 0
        try:
            for part in begun.parts():
                done += len(part)
                yield part
        except CutShortError:
            yield memoryview(self.get_range(key, start + done, begun.size - done))

    def _range(self, key: str, start: int, length: int, sha256: str | None, **which: str) -> bytes:
        check_key(key)
        check_range(start, length)

        def read() -> bytes:
            asked = f"bytes={start}-{start + max(length, 1) - 1}"
            try:
                reply = self._client.get_object(Bucket=self._bucket, Key=key, Range=asked, **which)
            except ClientError as exc:
                if code_of(exc) in BEHIND_ITS_END:
                    return b""
                raise
            data: bytes = reply["Body"].read()
            if "ContentRange" not in reply:  # a server that does not know ranges sends the whole object
                data = data[start:]
            return data[:length]

        def asked() -> bytes:
            return self._call("read a range of", key, read)

        return self._verified(key, sha256, asked, asked)

    def _verified(self, key: str, sha256: str | None, first: Callable[[], bytes], again: Callable[[], bytes]) -> bytes:
        """What `first` reads, or `again`: a bit flipped on the way is gone at the second reading."""
        data = first()
        try:
            verify(self._bucket, key, hashlib.sha256(data).hexdigest(), sha256)
        except DigestMismatch:
            data = again()
            verify(self._bucket, key, hashlib.sha256(data).hexdigest(), sha256)
        return data

    def put(self, key: str, data: bytes) -> None:
        """See the port."""
        check_key(key)
        self._call("write", key, lambda: self._client.put_object(Bucket=self._bucket, Key=key, Body=data))

    def put_stream(self, key: str, parts: Iterable[bytes]) -> None:
        """See the port."""
        check_key(key)
        where = {"Bucket": self._bucket, "Key": key}
        begun = self._call("begin to write", key, lambda: self._client.create_multipart_upload(**where))
        upload = {**where, "UploadId": begun["UploadId"]}

        def send(job: tuple[int, bytes]) -> dict[str, Any]:
            number, data = job
            reply = self._call(
                "write a part of", key, lambda: self._client.upload_part(**upload, PartNumber=number, Body=data)
            )
            return {"PartNumber": number, "ETag": reply["ETag"]}

        try:
            sent = list(side_by_side(send, enumerate(parts, 1), readers=SENDERS, ahead=SENDERS))
            whole = {"Parts": sent}
            self._call(
                "end to write", key, lambda: self._client.complete_multipart_upload(**upload, MultipartUpload=whole)
            )
        except BaseException:
            with suppress(RatchetError):  # what began it is said; an unfinished upload holds parts that nobody sees
                self._call("give up to write", key, lambda: self._client.abort_multipart_upload(**upload))
            raise

    def create(self, key: str, data: bytes | bytearray) -> None:
        """See the port."""
        self._put_if("create", key, data, IfNoneMatch="*")

    def replace(self, key: str, data: bytes, *, etag: str) -> None:
        """See the port."""
        self._put_if("replace", key, data, IfMatch=f'"{etag}"')

    def _put_if(self, what: str, key: str, data: bytes | bytearray, **condition: str) -> None:
        """One conditional PUT, tried again while the server says that it is in conflict with itself."""
        check_key(key)
        for attempt in range(CONFLICT_TRIES):
            try:
                self._client.put_object(Bucket=self._bucket, Key=key, Body=data, **condition)
                return
            except ClientError as exc:
                code = code_of(exc)
                if code in ("PreconditionFailed", "412"):
                    # botocore's own retry turns a lost reply into 412: whose bytes are they?
                    if self.get(key) == data:
                        return
                    raise ObjectExists(f"{self._bucket}/{key}: holds other bytes") from exc
                if code not in ("ConditionalRequestConflict", "409"):
                    raise self._said(what, key, code) from exc
                time.sleep(min(0.05 * 2**attempt, 2.0))
            except BotoCoreError as exc:
                raise StorageError(
                    f"{what} {self._bucket}/{key}: {exc}; is the server up? see `ratchet status`"
                ) from exc
        raise StorageError(f"{what} {self._bucket}/{key}: still in conflict after {CONFLICT_TRIES} tries; try again")

    def upload_file(self, key: str, path: Path) -> str:
        """See the port."""
        check_key(key)
        self._call(
            "upload",
            key,
            lambda: self._client.upload_file(str(path), self._bucket, key, Config=self._transfer),
        )
        return digest_file(path)

    def download_file(self, key: str, path: Path, *, sha256: str | None = None) -> str:
        """See the port."""
        check_key(key)
        part = path.with_name(path.name + ".part")

        def download() -> None:
            body = self._client.get_object(Bucket=self._bucket, Key=key)["Body"]
            with part.open("wb") as sink:
                for chunk in body.iter_chunks(CHUNK_BYTES):
                    sink.write(chunk)

        try:
            self._call("download", key, download)
            got = digest_file(part)
            if sha256 is not None and got != sha256:
                self._call("download", key, download)
                got = digest_file(part)
            verify(self._bucket, key, got, sha256)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        return got

    def head(self, key: str) -> ObjectInfo:
        """See the port."""
        check_key(key)
        reply = self._call("head", key, lambda: self._client.head_object(Bucket=self._bucket, Key=key))
        return ObjectInfo(
            key=key,
            size_bytes=int(reply["ContentLength"]),
            etag=str(reply["ETag"]).strip('"'),
            modified_s=reply["LastModified"].timestamp(),
        )

    def exists(self, key: str) -> bool:
        """See the port."""
        try:
            self.head(key)
        except ObjectNotFound:
            return False
        return True

    def list(self, prefix: str = "", *, after: str = "") -> Iterator[ObjectInfo]:
        """See the port."""
        more = {"StartAfter": after} if after else {}
        while True:
            page = self._call(
                "list",
                prefix,
                partial(self._client.list_objects_v2, Bucket=self._bucket, Prefix=prefix, **more),
            )
            yield from map(_listed, page.get("Contents", []))
            if not page.get("NextContinuationToken"):
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def keeps_versions(self) -> bool:
        """See `VersionedStore`."""
        told = self._call("look at", "", lambda: self._client.get_bucket_versioning(Bucket=self._bucket))
        return bool(told.get("Status") == "Enabled")

    def list_versions(self, prefix: str = "", *, older: bool = False) -> Iterator[ObjectInfo]:
        """See `VersionedStore`."""
        more: dict[str, str] = {}
        while True:
            page = self._call(
                "list versions of",
                prefix,
                partial(self._client.list_object_versions, Bucket=self._bucket, Prefix=prefix, **more),
            )
            yield from (_listed(item) for item in page.get("Versions", []) if older or item["IsLatest"])
            if not page.get("IsTruncated"):
                return
            more = {"KeyMarker": page["NextKeyMarker"]}
            more |= {"VersionIdMarker": page["NextVersionIdMarker"]} if page.get("NextVersionIdMarker") else {}

    def get_version(self, key: str, version: str, start: int, length: int, *, sha256: str | None = None) -> bytes:
        """See `VersionedStore`."""
        return self._range(key, start, length, sha256, VersionId=version)

    def delete(self, key: str) -> None:
        """See the port."""
        check_key(key)
        self._call("delete", key, lambda: self._client.delete_object(Bucket=self._bucket, Key=key))


def _listed(item: Mapping[str, Any]) -> ObjectInfo:
    """As a listing of objects, or of their versions, tells it."""
    return ObjectInfo(
        key=item["Key"],
        size_bytes=int(item["Size"]),
        etag=str(item["ETag"]).strip('"'),
        modified_s=item["LastModified"].timestamp(),
        version=item.get("VersionId", ""),
        latest=bool(item.get("IsLatest", True)),
    )


def code_of(error: ClientError) -> str:
    """What the server answered, in its own word."""
    return str(error.response.get("Error", {}).get("Code", "unknown"))


def digest_file(path: Path) -> str:
    """SHA-256 hex of a file's bytes."""
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()

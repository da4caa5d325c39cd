"""What was done to files of the log later: put together, let go after their time, rid of rows on demand.

A rewrite is a record of the key-holder's, numbered and chained. It keeps of each record that it replaces the number and
the digest, so that the chain of the writer holds as before; and it names the file that holds the rows from then on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from mlratchet.models.config import StrictModel
from mlratchet.models.errors import SecurityError
from mlratchet.models.identity.canonical import canonical_json, digest_bytes
from mlratchet.models.identity.signed_records import ForeignRecord, bare, verified_record
from mlratchet.models.identity.signing import TrustedKeys
from mlratchet.models.inference_log.chain import VerifiedLogFile
from mlratchet.models.inference_log.file import Holds, LogFile, folder_of
from mlratchet.models.ports.storage import ObjectNotFound, ObjectStore
from pydantic import Field, ValidationError

Why = Literal["compacted", "expired", "erased"]


class KeptRecord(StrictModel):
    """A record of the chain that a rewrite replaces."""

    digest: str
    """SHA-256 hex of the record as the writer published it."""
    said: LogFile
    """What it says from now on: its number and its place in the chain as before, its file as rewritten. Of several that
    were put together, the first names the file and the others none."""
    was: str
    """SHA-256 hex of the file that the writer published."""


class LogRewrite(StrictModel):
    """What one rewrite says."""

    format: Literal[1] = 1
    pipeline: str
    holds: Holds
    number: int = Field(ge=1)
    previous: str
    """SHA-256 hex of the rewrite before; "" for the first."""
    why: Why
    at_s: float
    rows: int = Field(default=0, ge=0)
    """That are gone by it."""
    first_s: float
    last_s: float
    """Of the rows of all files that it replaces."""
    records: tuple[KeptRecord, ...] = Field(strict=False)

    def body(self) -> bytes:
        """As it is given to a `RecordStore`, which signs it."""
        return canonical_json(self.model_dump(mode="json"))


@dataclass(frozen=True)
class Kept:
    """What is kept of a record."""

    record: VerifiedLogFile
    why: Why
    was: str  # SHA-256 hex of the file that the writer published


@dataclass(frozen=True, kw_only=True)
class Rewrites:
    """All of one log."""

    done: tuple[LogRewrite, ...]
    head: str  # SHA-256 hex of the newest; "" where there is none
    kept: Mapping[str, Mapping[int, Kept]]  # writer -> number -> what is kept
    problems: tuple[str, ...]

    def erased_between(self, since_s: float, until_s: float) -> int:
        """Rows that were erased on demand from files that meet the stretch."""
        met = (one for one in self.done if one.why == "erased" and one.first_s < until_s and one.last_s >= since_s)
        return sum(one.rows for one in met)


def rewrite_key(pipeline: str, holds: Holds, number: int) -> str:
    """Where a rewrite is published."""
    return f"{folder_of(pipeline, holds)}rewrites/{number:08d}.json"


def read_rewrites(store: ObjectStore, trusted: TrustedKeys, pipeline: str, holds: Holds) -> Rewrites:
    """Every rewrite of a log, oldest first, up to the first that is missing or not ours."""
    store = bare(store)
    done: list[LogRewrite] = []
    kept: dict[str, dict[int, Kept]] = {}
    head, problems = "", []
    listed = [info.key for info in store.list(f"{folder_of(pipeline, holds)}rewrites/")]
    for number, key in enumerate(listed, 1):
        where = f"{store.bucket}/{key}"
        expected = rewrite_key(pipeline, holds, number)
        try:
            if key != expected:
                raise SecurityError(f"{store.bucket}/{expected}: is missing")
            data = store.get(key)
            one = LogRewrite.model_validate_json(canonical_json(verified_record(data, key, trusted, where=where)))
            if (one.pipeline, one.holds, one.number, one.previous) != (pipeline, holds, number, head):
                raise SecurityError(f"{where}: does not follow the rewrite before it")
        except (SecurityError, ForeignRecord, ObjectNotFound, ValidationError) as error:
            problems.append(
                f"{where}: is not a rewrite of the log" if isinstance(error, ValidationError) else str(error)
            )
            break
        head = digest_bytes(data)
        done.append(one)
        for record in one.records:
            kept.setdefault(record.said.writer, {})[record.said.number] = Kept(
                VerifiedLogFile(record.said, record.digest), one.why, record.was
            )
    return Rewrites(done=tuple(done), head=head, kept=kept, problems=tuple(problems))

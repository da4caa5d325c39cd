"""A log file as its signed record tells of it: where it lies, what it holds, and what was lost since the one before.

The records of one writer are a chain: numbered from 1, each with the digest of the one before. Feedback is a chain of
its own beside it. An object of the log that no record names is nobody's.
"""

from __future__ import annotations

import datetime as dt
from typing import Literal

from mlratchet.models.config import StrictModel
from mlratchet.models.errors import SecurityError
from mlratchet.models.identity.canonical import canonical_json
from pydantic import Field, ValidationError

Holds = Literal["answers", "feedback"]
LOG = "log/"


class Stretch(StrictModel):
    """Which answers of one server process a file brings the log up to."""

    last: int = Field(ge=0)
    """Number of the newest answer that was written or counted as lost; the process numbers them from 1."""
    ended: bool = False
    """Whether the process said that there are no more."""


class LogFile(StrictModel):
    """What the record of one file says."""

    format: Literal[1] = 1
    pipeline: str
    holds: Holds
    writer: str = Field(pattern=r"^[a-z0-9]{1,32}$")
    number: int = Field(ge=1)
    previous: str
    """SHA-256 hex of the record before, as it was published; "" for the first."""
    object: str
    """Name of the Parquet file; "" where there is none, and the record only says what was lost."""
    sha256: str
    size_bytes: int = Field(ge=0)
    rows: int = Field(ge=0)
    version: int = Field(ge=0)
    """Of every row; 0 for feedback, and where no version was loaded."""
    first_s: float
    last_s: float
    """When the first and the last request of the file came, seconds since the epoch."""
    statuses: dict[str, int] = Field(default_factory=dict)
    """Status of HTTP -> rows."""
    dropped: int = Field(default=0, ge=0)
    """Answers that are in no file, since the record before."""
    unclosed: int = Field(default=0, ge=0)
    """Server processes that ended without a word since the record before: what they held in that moment, at most a
    queue each, is lost and in no count."""
    servers: dict[str, Stretch] = Field(default_factory=dict)
    """Server process -> up to where the log has its answers."""
    written_s: float
    """No row of this file or of one before it came later; never less than in the record before."""
    settled_s: float
    """Whatever came before, seconds since the epoch, is in this chain by now, or counted as lost; never less than in
    the record before."""

    def body(self) -> bytes:
        """As it is given to a `RecordStore`, which signs it."""
        return canonical_json(self.model_dump(mode="json"))


def folder_of(pipeline: str, holds: Holds) -> str:
    """The folder of a pipeline's log, or of its feedback."""
    return f"{LOG}{pipeline}/" if holds == "answers" else f"{LOG}{pipeline}/feedback/"


def chain_folder(pipeline: str, holds: Holds = "answers") -> str:
    """Where the records of all writers are."""
    return f"{folder_of(pipeline, holds)}chain/"


def record_key(pipeline: str, holds: Holds, writer: str, number: int) -> str:
    """Where a record is published."""
    return f"{chain_folder(pipeline, holds)}{writer}/{number:08d}.json"


def object_key(pipeline: str, holds: Holds, *, version: int, at_s: float, writer: str, number: int) -> str:
    """Where a file lies: by version, day and hour (UTC) of its first row."""
    hour = dt.datetime.fromtimestamp(at_s, dt.UTC).strftime("%Y-%m-%d/%H")
    by_version = f"{version}/" if holds == "answers" else ""
    return f"{folder_of(pipeline, holds)}{by_version}{hour}/{writer}-{number:08d}.parquet"


def media_key(pipeline: str, sha256: str) -> str:
    """Where a picture or sound of the sample is stored whole."""
    return f"{LOG}{pipeline}/media/{sha256}"


def parse_log_file(body: bytes, key: str, *, where: str) -> LogFile:
    """What a verified record says. Raises ``SecurityError`` for one that is not of its name."""
    try:
        found = LogFile.model_validate_json(body)
    except ValidationError as error:
        raise SecurityError(f"{where}: is not the record of a log file ({error.errors()[0]['msg']})") from error
    if record_key(found.pipeline, found.holds, found.writer, found.number) != key:
        raise SecurityError(f"{where}: is the record of another log file")
    if found.object and not found.object.startswith(folder_of(found.pipeline, found.holds)):
        raise SecurityError(f"{where}: names an object outside of its log")
    return found

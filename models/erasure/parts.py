"""What an erasure is made of: where, who, what is known beside, and what is to be done."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from mlratchet.models.erasure.deliveries import AS_THEY_SAY, TableReading
from mlratchet.models.erasure.places import Place
from mlratchet.models.erasure.traces import Traces
from mlratchet.models.erasure.whose import Wanted
from mlratchet.models.identity.erasures import ErasedObject
from mlratchet.models.ledger.entry import LedgerEntry
from mlratchet.models.ports.storage import ObjectStore
from mlratchet.models.registration.record import Registration


@dataclass(frozen=True, kw_only=True)
class Touch:
    """One object that goes, or is written anew."""

    bucket: str
    key: str
    place: Place
    before: str  # SHA-256 hex
    after: bytes | None = None  # what lies there then; None: nothing
    records: int = 0  # of the person's
    etag: str = ""
    said: str = ""  # of a signed record: SHA-256 hex of what it said, without who signed it
    named: bool = False  # whether the name itself tells of the person


@dataclass(kw_only=True)
class ErasurePlan:
    """Everything, in the order in which it is to go."""

    touches: list[Touch] = field(default_factory=list)
    versions: list[int] = field(default_factory=list)  # that were trained on their records
    waiting: list[ErasedObject] = field(default_factory=list)  # what the champion needs
    shared: list[ErasedObject] = field(default_factory=list)  # what another pipeline needs
    traces: Traces = field(default_factory=Traces.of)  # what is known of them
    left: list[str] = field(default_factory=list)  # what a person has to look at, a line each
    waits_for: int | None = None  # the champion, when it was trained on them: what it needs goes once another serves

    def counts(self) -> dict[str, int]:
        """Objects by place."""
        found: dict[str, int] = {}
        for one in self.touches:
            found[one.place] = found.get(one.place, 0) + 1
        return found


@dataclass(frozen=True, kw_only=True)
class ErasureBuckets:
    """Where a pipeline's things lie."""

    store: ObjectStore  # a `RecordStore`
    raw: ObjectStore  # of its source
    uploads: ObjectStore  # of MLflow's artifacts
    open_bucket: Callable[[str], ObjectStore] | None = None  # any other, to look into


@dataclass(frozen=True, kw_only=True)
class ErasureDemand:
    """Who is to be forgotten, of which pipeline."""

    pipeline: str
    prefix: str  # of its source
    wanted: Wanted
    request_ids: tuple[str, ...]  # of their requests in the inference log
    reading: TableReading = AS_THEY_SAY  # of its tables
    decimal_commas: bool = False  # whether numbers of its deliveries have them
    labels: str | None = None  # the prefix below which labels are brought, in the bucket of the source
    labels_by: str = "request_id"  # the column there that names a request


ANY = ""  # of a digest: all bytes


@dataclass(frozen=True, kw_only=True)
class KnownBefore:
    """What is known of the pipelines of a store beside what lies there."""

    registrations: Sequence[Registration]  # of every pipeline
    champion: LedgerEntry | None
    pending: Mapping[str, Collection[str]] = field(default_factory=dict)
    """`bucket/key` -> SHA-256 of what earlier records of this pipeline say goes, or goes once another serves; `ANY`
    among them: whatever lies there."""
    versions: Collection[int] = ()
    """That earlier records name as trained on what was erased."""
    released: Mapping[tuple[str, str], float] = field(default_factory=dict)
    """Another pipeline and `bucket/key` -> when a demand there let go of it, seconds since the epoch."""

    def is_pending(self, place: str, sha256: str) -> bool:
        """Whether an earlier demand has named these very bytes: what was made anew under the name is another thing."""
        return not {sha256, ANY}.isdisjoint(self.pending.get(place, ()))

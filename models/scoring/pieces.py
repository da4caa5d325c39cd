"""Finished pieces: what a child handed back becomes files at the target, and a signed record that comes last.

A piece exists once its record does: what a killed run left without one is written again, with the same name.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from mlratchet.models.artifact.signature import Signature
from mlratchet.models.data.quarantine import quarantine_table
from mlratchet.models.errors import DataError
from mlratchet.models.identity.canonical import canonical_json, digest_bytes
from mlratchet.models.metrics.base import SumMetric
from mlratchet.models.metrics.classification import OfClass
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.objectives.naming import objective_of
from mlratchet.models.ports.children import ForeignCodeError
from mlratchet.models.ports.memory import ObjectsOnDisk, check_range
from mlratchet.models.ports.storage import DigestMismatch, ObjectNotFound, ObjectStore
from mlratchet.models.scoring.in_child import OUTPUT, TARGET, WORDS
from mlratchet.models.scoring.job import ASIDE, SCORES, ScoringJob, piece_key, piece_name
from mlratchet.models.scoring.outputs import parquet_bytes, scores_table
from mlratchet.models.scoring.places import BucketPlace
from mlratchet.models.sources.record import RawObject, Reject
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load

REJECTS = TypeAdapter(tuple[Reject, ...])
PLACES = TypeAdapter(list[str])


@dataclass(frozen=True, kw_only=True)
class WrittenFile:
    """A file at the target."""

    key: str  # below the target
    sha256: str
    size_bytes: int
    rows: int


@dataclass(frozen=True, kw_only=True)
class Piece:
    """What became of some rows."""

    scored: int
    set_aside: int
    rules: Mapping[str, int] = field(default_factory=dict)  # of what was set aside, rows by rule
    scores: WrittenFile | None = None
    aside: WrittenFile | None = None
    labelled: int = 0
    sums: Mapping[str, Sequence[float]] = field(default_factory=dict)  # of a metric's features over labelled rows

    def document(self) -> dict[str, Any]:
        """As JSON values."""
        return json.loads(json.dumps(asdict(self)))  # type: ignore[no-any-return]

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Piece:
        """Read back."""
        return TypeAdapter(cls).validate_python(dict(document))


def handed_back(data: bytes, signature: Signature) -> tuple[dict[str, Any], tuple[Reject, ...]]:
    """`where`, `ids`, `output` and `y` of the rows that were scored, and the others. Raises ``ForeignCodeError`` for
    what is none."""
    try:
        parts = load(data)
        words = json.loads(parts[WORDS].tobytes())
        rejects = REJECTS.validate_python(words["rejects"])
        found: dict[str, Any] = {name: PLACES.validate_python(words[name]) for name in ("where", "ids")}
    except (SafetensorError, ValidationError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ForeignCodeError(f"scores: {type(error).__name__}: {error}"[:300]) from error
    output, y, count = parts.get(OUTPUT), parts.get(TARGET), len(found["where"])
    if count != len(found["ids"]) or count != (0 if output is None else len(output)):
        raise ForeignCodeError(f"scores: {count} places, {len(found['ids'])} ids, other numbers of outputs")
    if output is not None:
        shapes = objective_of(signature.task).output_shapes(signature.classes)
        if output.dtype != np.float32 or (output.shape[1:] not in shapes) or not np.isfinite(output).all():
            raise ForeignCodeError(
                f"scores: outputs {output.dtype} {list(output.shape)}, expected finite ones as trained"
            )
    if y is not None and (y.dtype != np.float64 or y.shape != (count,)):
        raise ForeignCodeError(f"scores: targets {y.dtype} {list(y.shape)}, expected one of each row")
    return {**found, "output": output, "y": y}, rejects


def sums_of(output: np.ndarray[Any, Any], y: np.ndarray[Any, Any], signature: Signature) -> dict[str, list[float]]:
    """Of rows whose label is known: the sums that a metric is computed from, so that pieces add up.

    A metric whose sums are not finite (the square of a label of 1e200) is left out: the scores are worth as much."""
    rows = RowOutputs(
        ids=[str(number) for number in range(len(y))], y=y.astype(np.int64) if signature.classes else y,
        output=output[:, 0] if output.ndim == 2 and output.shape[1] == 1 else output,
    )  # fmt: skip
    with np.errstate(over="ignore", invalid="ignore"):
        found = {metric.name: np.asarray(metric.sums(rows)) for metric in summed_metrics(signature)}
    return {name: sums.tolist() for name, sums in found.items() if np.isfinite(sums).all()}


def summed_metrics(signature: Signature) -> list[SumMetric]:
    """The metrics of the whole that are computed from sums; those of each class are left out."""
    found = objective_of(signature.task).metrics(signature.classes)
    return [
        one for one in found if isinstance(one, SumMetric) and one.group_column is None and not isinstance(one, OfClass)
    ]


class PublishedPieces(ObjectsOnDisk):
    """What a child of one unit reads from and hands back to: each piece is published as it comes. `error`: the first
    that publishing raised, of which the child learns no more than the words."""

    def __init__(
        self,
        job: ScoringJob,
        signature: Signature,
        unit: int,
        *,
        raw: Mapping[str, tuple[ObjectStore, str, RawObject]],
        target: ObjectStore,
        place: BucketPlace,
        records: ObjectStore,
        tell: Callable[[Piece], None],
    ) -> None:
        """`raw`: by SHA-256, the objects of the unit: where they are, their key, and what they are."""
        super().__init__("scores")
        self._job, self._signature, self._unit = job, signature, unit
        self._raw, self._target, self._place, self._records, self._tell = raw, target, place, records, tell
        self._publishing = threading.Lock()
        self.error: Exception | None = None

    def get(self, key: str, *, sha256: str | None = None) -> bytes:  # noqa: ARG002 - by the digest that is known here
        """See the port: a raw object."""
        store, name, item = self._found(key)
        try:
            return store.get(name, sha256=item.sha256)
        except DigestMismatch as error:
            raise DataError(f"s3://{store.bucket}/{name}: changed while it was scored; run again: {error}") from error

    def get_range(self, key: str, start: int, length: int, *, sha256: str | None = None) -> bytes:
        """See the port."""
        check_range(start, length)
        store, name, item = self._found(key)
        if sha256 is None:
            return self.get(key)[start : start + length]
        if sha256 not in (*item.pieces, item.sha256):
            raise ObjectNotFound(f"{key}: no such piece of an object of this unit")
        return store.get_range(name, start, length, sha256=sha256)

    def _found(self, key: str) -> tuple[ObjectStore, str, RawObject]:
        if not key.startswith("raw/") or key.removeprefix("raw/") not in self._raw:
            raise ObjectNotFound(f"{key}: no object of this unit")
        return self._raw[key.removeprefix("raw/")]

    def create(self, key: str, data: bytes | bytearray) -> None:
        """See the port: a piece, `out/<number>-<sha256>`."""
        number = key.removeprefix("out/").partition("-")[0]
        if not key.startswith("out/") or not number.isdecimal():
            raise ForeignCodeError(f"scores: {key[:80]!r} names no piece")
        with self._publishing:
            try:
                self._tell(self._publish(int(number), bytes(data)))
            except Exception as error:
                self.error = self.error or error
                raise

    def _publish(self, number: int, data: bytes) -> Piece:
        found, rejects = handed_back(data, self._signature)
        name, about = piece_name(self._unit, number), {"job": self._job.id, "pipeline": self._job.pipeline}
        aside = self._write(f"{ASIDE}{name}.parquet", quarantine_table(rejects), about) if rejects else None
        scores, labelled, sums = None, 0, dict[str, list[float]]()
        if found["where"]:
            output, y = found["output"], found["y"]
            table = scores_table(output, found["ids"], found["where"], self._signature, self._job.version)
            scores = self._write(f"{SCORES}{name}.parquet", table, about)
            if y is not None:
                known = np.isfinite(y)
                labelled = int(known.sum())
                sums = sums_of(output[known], y[known], self._signature) if labelled else {}
        rules = Counter[str]()
        for one in rejects:
            rules[one.code] += one.records
        piece = Piece(
            scored=len(found["where"]), set_aside=sum(rules.values()), rules=dict(rules), scores=scores, aside=aside,
            labelled=labelled, sums=sums,
        )  # fmt: skip
        self._records.put(piece_key(self._job.id, self._unit, number), canonical_json(piece.document()))
        return piece

    def _write(self, key: str, table: pa.Table, about: Mapping[str, str]) -> WrittenFile:
        data = parquet_bytes(table, about)
        self._target.put(f"{self._place.prefix}{key}", data)
        return WrittenFile(key=key, sha256=digest_bytes(data), size_bytes=len(data), rows=table.num_rows)

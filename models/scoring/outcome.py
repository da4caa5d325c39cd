"""What became of a batch: rows read, scored and set aside, and the signed manifest that names every file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np
from mlratchet.models.artifact.signature import Signature
from mlratchet.models.scoring.job import ScoringJob
from mlratchet.models.scoring.pieces import Piece, summed_metrics
from mlratchet.models.sources.record import RawObject

SHOWN = 5  # rules that a line names


@dataclass(frozen=True, kw_only=True)
class ScoredBatch:
    """The whole."""

    job: str
    pipeline: str
    version: int
    source: str
    target: str
    scored: int
    set_aside: int
    rules: Mapping[str, int] = field(default_factory=dict)  # rows by rule, the most frequent first
    labelled: int = 0
    metrics: Mapping[str, float] = field(default_factory=dict)  # over the labelled rows
    pieces: int
    found: int = 0  # pieces that an earlier run had finished

    @property
    def read(self) -> int:
        """Rows."""
        return self.scored + self.set_aside

    def line(self) -> str:
        """``1,800 read, 1,795 scored, 5 set aside: 3 not_a_number, ...``."""
        rules = [f"{count:,} {rule}" for rule, count in list(self.rules.items())[:SHOWN]]
        more = ["..."] if len(self.rules) > SHOWN else []
        aside = f": {', '.join([*rules, *more])}" if rules else ""
        return f"{self.read:,} read, {self.scored:,} scored, {self.set_aside:,} set aside{aside}"

    def document(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self) | {"read": self.read, "line": self.line()}


def finished_outcome(manifest: Mapping[str, Any]) -> ScoredBatch:
    """Of a batch that is finished, by its signed manifest."""
    told = {one.name: manifest[one.name] for one in fields(ScoredBatch) if one.name != "found"}
    return ScoredBatch(**told, found=manifest["pieces"])


def outcome_of(job: ScoringJob, signature: Signature, pieces: Sequence[Piece], *, found: int) -> ScoredBatch:
    """Pieces added up."""
    rules: Counter[str] = Counter()
    for one in pieces:
        rules.update(one.rules)
    labelled = [one for one in pieces if one.labelled]
    return ScoredBatch(
        job=job.id, pipeline=job.pipeline, version=job.version, source=job.source, target=job.target,
        scored=sum(one.scored for one in pieces), set_aside=sum(one.set_aside for one in pieces),
        rules=dict(rules.most_common()), labelled=sum(one.labelled for one in labelled),
        metrics=_metrics_of(signature, labelled),
        pieces=len(pieces), found=found,
    )  # fmt: skip


def _metrics_of(signature: Signature, labelled: Sequence[Piece]) -> dict[str, float]:
    """Those whose sums every piece has, where they are defined."""
    found: dict[str, float] = {}
    for metric in summed_metrics(signature) if labelled else ():
        told = [np.asarray(one.sums[metric.name], dtype=np.float64) for one in labelled if metric.name in one.sums]
        if len(told) < len(labelled):
            continue
        with np.errstate(all="ignore"):
            sums = np.sum(told, axis=0)
            try:
                value = float(metric.from_sums(sums)) if np.isfinite(sums).all() else float("nan")
            except (ArithmeticError, ValueError):
                continue
        if np.isfinite(value):
            found[metric.name] = value
    return found


def manifest_document(
    job: ScoringJob, outcome: ScoredBatch, pieces: Sequence[Piece], objects: Sequence[RawObject]
) -> dict[str, Any]:
    """Of a batch that is finished, as JSON values: inputs, the artifact, and every file, by digest. How many pieces an
    earlier run had finished is no part of it: the same batch has the same manifest."""
    told = outcome.document()
    del told["found"], told["line"]
    return told | {
        "artifact": job.manifest,
        "reading": job.reading.document(),
        "inputs": [{"key": one.key, "size_bytes": one.size_bytes, "sha256": one.sha256} for one in objects],
        "scores": [asdict(one.scores) for one in pieces if one.scores is not None],
        "aside": [asdict(one.aside) for one in pieces if one.aside is not None],
    }

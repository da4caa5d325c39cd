"""Probation on live evidence: the version that was promoted, on the requests since, beside the one before on its own.

Bounds hold at every moment at once, so that looking often brings no more false ways back. The two are of different
times: what changed in the world meanwhile is in the difference, too, which is why a margin is asked for.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc
from mlratchet.models.gates.result import CheckResult, unknown
from mlratchet.models.monitoring.bound import Bound
from mlratchet.models.monitoring.config import ProbationConfig

METHOD = "confidence sequence by betting, of each version"
SERVER_ERROR = 500


@dataclass(frozen=True, kw_only=True)
class Lived:
    """What a version did on requests of clients, in their order."""

    version: int
    failed: tuple[int, ...] = field(default=(), repr=False)  # 1 where the server had no answer, per request
    right: tuple[int, ...] = field(default=(), repr=False)  # 1 where the answer is the label, per labelled request


def lived(table: pa.Table, labels: pa.Table, *, version: int, generation: int | None = None) -> Lived:
    """Count rows of the log: of each request its first, because the rows of one request are not independent.

    Args:
        table: Rows with `request_id`, `row`, `version`, `generation`, `variant`, `status`, `replayed` and `answer`.
        labels: `request_id`, `row` and `label`; null where none came.
        version: Whose.
        generation: Of the ledger; None: of any in which the version was champion.
    """
    mask = pc.and_(pc.equal(table["row"], 0), pc.equal(table["version"], version))
    mask = pc.and_(mask, pc.and_(pc.equal(table["variant"], "champion"), pc.invert(table["replayed"])))
    if generation is not None:
        mask = pc.and_(mask, pc.equal(table["generation"], generation))
    rows = table.filter(mask)
    known = {
        request: label
        for request, row, label in zip(
            *(labels[name].to_pylist() for name in ("request_id", "row", "label")), strict=True
        )
        if row == 0 and label is not None
    }
    answers = zip(*(rows[name].to_pylist() for name in ("request_id", "status", "answer")), strict=True)
    failed, right = [], []
    for request, status, answer in answers:
        failed.append(int(status >= SERVER_ERROR))
        said = class_of(answer) if request in known else None
        if said is not None:
            right.append(int(said == known[request]))
    return Lived(version=version, failed=tuple(failed), right=tuple(right))


def class_of(answer: str | None) -> str | None:
    """The class that a client read; None for an answer without one."""
    if answer is None:
        return None
    try:
        found = json.loads(answer)
    except ValueError:
        return None
    said = found.get("class") if isinstance(found, dict) else None
    return str(said) if said is not None else None


def judge_probation(after: Lived, before: Lived, config: ProbationConfig) -> list[CheckResult]:
    """Every check that the file asks for: `fail` sends the version back."""
    found = []
    if config.errors is not None:
        errors = ("server errors", config.errors, 1)
        found.append(_rise("live_errors", after.failed, before.failed, config, *errors))
    if config.loss is not None:
        ours, theirs = (tuple(1 - one for one in side.right) for side in (after, before))
        wrong = ("wrong answers", config.loss, config.minimum_labels)
        found.append(_rise("live_quality", ours, theirs, config, *wrong))
    return found


def _rise(
    kind: str,
    after: tuple[int, ...],
    before: tuple[int, ...],
    config: ProbationConfig,
    words: str,
    most: float,
    least: int,
) -> CheckResult:
    """Whether a share rose by more than `most`. Each of the four ends has a quarter of what may go wrong."""
    threshold = f"rise <= {most:g}"
    if min(len(after), len(before)) < least:
        why = f"{words}: {len(after)} since the promotion and {len(before)} before it, minimum {least}"
        return unknown(kind, kind, threshold, why, len(after))
    ours, theirs = (Bound(confidence=1 - (1 - config.confidence) / 4) for _ in range(2))
    ours.update(after)
    theirs.update(before)
    low, high = ours.interval[0] - theirs.interval[1], ours.interval[1] - theirs.interval[0]
    verdict = "fail" if low > most else "pass" if high <= most else "inconclusive"
    said = {"fail": ">", "pass": "<=", "inconclusive": "not yet surely <="}[verdict]
    return CheckResult(
        kind=kind,
        metric=kind,
        verdict=verdict,  # type: ignore[arg-type]  # one of the three words above
        reason=(
            f"{words} {sum(after)} of {len(after)} since the promotion, {sum(before)} of {len(before)} by the version "
            f"before: rise [{low:.3f}, {high:.3f}] {said} {most:g}"
        ),
        threshold=threshold,
        value=ours.mean - theirs.mean,
        interval=(low, high),
        interval_level=config.confidence,
        n=len(after),
        method=METHOD,
    )

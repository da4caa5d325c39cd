"""A request of our own for labels: rows drawn with one known probability from every answer of a stretch.

A row is drawn by a hash of what started the request and of its own name: whoever draws again draws the same, and no
client can tell. Stretches of one version never overlap, so that a row has one probability.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.inference_log.columns import FIELD
from mlratchet.models.inference_log.config import LabelsConfig
from mlratchet.models.inference_log.labels import LabelRequest
from mlratchet.models.moments import utc
from mlratchet.models.monitoring.config import LabellingRule
from mlratchet.models.monitoring.pace import too_often

WANTED = "labels-wanted/"
SCALE = 2**64


def free_stretch(requests: Sequence[LabelRequest], version: int, since_s: float, until_s: float) -> tuple[float, float]:
    """What is left of a stretch behind those of earlier requests. Raises ``ConfigurationError`` where nothing is."""
    for one in requests:
        if one.version == version and one.until_s is not None and (one.since_s or 0.0) < until_s:
            since_s = max(since_s, one.until_s)
    if since_s >= until_s:
        raise ConfigurationError(
            f"no answer of version {version} is left to ask about: others were asked about already, or too little time "
            "for a label is left, less than half of serving.labels.after_hours"
        )
    return since_s, until_s


def request_for_labels(
    answers: pa.Table, *, pipeline: str, version: int, rows: int, stretch_s: tuple[float, float], at_s: float,
    finding: str = "",
) -> LabelRequest:  # fmt: skip
    """The request. Raises ``ConfigurationError`` where there is no answer, or chance drew none.

    Args:
        answers: Every answer of the version to a client in the stretch, with `request_id` and `row`.
        pipeline: Its name.
        version: Whose answers they are.
        rows: About so many are drawn.
        stretch_s: The first moment, and the first one after it; seconds since the epoch.
        at_s: When it is made.
        finding: What started it.
    """
    if not answers.num_rows:
        raise ConfigurationError(
            f"{pipeline}: version {version} answered nobody from {utc(stretch_s[0])} to {utc(stretch_s[1])}, and "
            "labels of earlier answers would come too late (serving.labels.after_hours); nothing to ask about"
        )
    probability = min(1.0, rows / answers.num_rows)
    seed = finding or f"{pipeline}/{version}/{at_s!r}"
    names = zip(answers["request_id"].to_pylist(), answers["row"].to_pylist(), strict=True)
    drawn = tuple((request, row, probability) for request, row in names if _place(seed, request, row) < probability)
    if not drawn:
        raise ConfigurationError(f"{pipeline}: chance drew none of {answers.num_rows} answers; ask for more rows")
    return LabelRequest(
        pipeline=pipeline, at_s=at_s, rows=drawn, version=version, since_s=stretch_s[0], until_s=stretch_s[1],
        probability=probability, finding=finding,
    )  # fmt: skip


def _place(seed: str, request: str, row: int) -> float:
    mark = hashlib.blake2b(f"{seed}/{request}/{row}".encode(), digest_size=8).digest()
    return int.from_bytes(mark) / SCALE


def withheld(requests: Sequence[LabelRequest], rule: LabellingRule, at_s: float) -> str:
    """Why there is no request by itself now; empty where there may be one."""
    ages_s = [at_s - one.at_s for one in requests if one.finding]
    budget = rule.budget_per_week
    return too_often(ages_s, cooldown_s=rule.cooldown, per_week=budget, whose="the", what=" requests")


def sheet(request: LabelRequest, answers: pa.Table, config: LabelsConfig) -> bytes:
    """What people fill in, as CSV: a line per drawn row with its logged fields and an empty label. What the model said
    is not in it: whoever labels should not know. With the labels it is an object for `serving.labels.prefix`."""
    fields = [name for name in answers.column_names if name.startswith(FIELD)]
    drawn = {(one, row) for one, row, _ in request.rows}
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([config.request, config.row, *(name.removeprefix(FIELD) for name in fields), config.label])
    for row in answers.select(["request_id", "row", *fields]).to_pylist():
        if (row["request_id"], row["row"]) in drawn:
            writer.writerow([row["request_id"], row["row"], *(_cell(row[name]) for name in fields), ""])
    return text.getvalue().encode()


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, str) and value[:1] in "=+-@":  # a spreadsheet would compute what a client wrote
        return f"'{value}"
    return value.isoformat() if isinstance(value, datetime) else value

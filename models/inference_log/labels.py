"""What is true of answers that were given: labels joined by request id and row, and how much of it they cover.

Labels of rows that our own request drew have the probability by which each was drawn, and give bounds; labels that come
by themselves are of whom it pleased, and give figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from mlratchet.models.config import StrictModel
from mlratchet.models.errors import SecurityError
from mlratchet.models.identity.canonical import canonical_json, digest_bytes
from mlratchet.models.identity.keys import Keys
from mlratchet.models.identity.signed_records import ForeignRecord, bare, verified_record
from mlratchet.models.inference_log.columns import LABELS
from mlratchet.models.inference_log.config import LabelsConfig
from mlratchet.models.inference_log.reading import LogStretch, read_log
from mlratchet.models.ports.storage import ObjectNotFound, ObjectStore
from pydantic import Field, ValidationError

KEYS = ["request_id", "row"]
LABELLED = pa.schema([
    pa.field("request_id", pa.string()),
    pa.field("row", pa.int32()),
    pa.field("label", pa.string()),  # null: drawn, and not labelled yet
    pa.field("label_s", pa.float64()),  # when the label came
    pa.field("by", pa.string()),  # requested | volunteered
    pa.field("probability", pa.float64()),  # by which the row was drawn; null where nobody drew it
    pa.field("requested_s", pa.float64()),  # when it was drawn; null where nobody drew it
])  # fmt: skip


class LabelRequest(StrictModel):
    """Rows of the log that were drawn to be labelled: a signed record of the key-holder's."""

    format: int = 1
    pipeline: str
    at_s: float
    rows: tuple[tuple[str, int, float], ...] = Field(strict=False)
    """Request id, row, and the probability by which it was drawn, in (0, 1]."""
    version: int | None = Field(default=None, exclude_if=lambda value: value is None)
    """Whose answers were drawn from. With it, every answer of a client between `since_s` and `until_s` could be drawn,
    with the one probability `probability`: what is said of the drawn rows is then said of all of them."""
    since_s: float | None = Field(default=None, exclude_if=lambda value: value is None)
    until_s: float | None = Field(default=None, exclude_if=lambda value: value is None)
    probability: float | None = Field(default=None, gt=0, le=1, exclude_if=lambda value: value is None)
    finding: str = Field(default="", exclude_if=lambda value: not value)
    """Id of what started it; empty: a person."""

    def key(self) -> str:
        """Where it is published: under the digest of what it says."""
        return f"label-requests/{self.pipeline}/{digest_bytes(self.body())}.json"

    def body(self) -> bytes:
        """As it is given to a `RecordStore`, which signs it."""
        return canonical_json(self.model_dump(mode="json"))


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """Labels of a stretch. The table has the columns of `LABELLED`: a row per row of the log that has a label or was
    drawn, drawn rows first in the order of request."""

    table: pa.Table
    rows: int  # of the stretch, that could have a label
    watermark_s: float  # rows that came before have had the time to be labelled
    due: int  # of `rows`, those that came before the watermark
    due_labelled: int  # of those, the ones with a label
    drawn: int  # rows that were drawn, before the watermark
    drawn_labelled: int
    conflicts: int = 0  # rows for which labels differ: the first that came counts
    problems: tuple[str, ...] = ()
    requests: tuple[LabelRequest, ...] = ()  # for labels, made by then

    @property
    def coverage(self) -> float | None:
        """Share of the rows that are due and have a label; None where none is due."""
        return self.due_labelled / self.due if self.due else None


def read_label_requests(store: ObjectStore, keys: Keys, pipeline: str) -> tuple[list[LabelRequest], list[str]]:
    """Every request for labels, in the order of time, and what was found there that is none."""
    found, problems = [], []
    for info in bare(store).list(f"label-requests/{pipeline}/"):
        where = f"{store.bucket}/{info.key}"
        try:
            said = verified_record(bare(store).get(info.key), info.key, keys.trusted(), where=where)
            one = LabelRequest.model_validate_json(canonical_json(said))
            if one.key() != info.key:
                raise SecurityError(f"{where}: is another request's record")
            found.append(one)
        except (SecurityError, ForeignRecord, ObjectNotFound, ValidationError, AssertionError) as error:
            problems.append(f"{where}: is no request for labels" if isinstance(error, ValidationError) else str(error))
    return sorted(found, key=lambda one: one.at_s), problems


def labelled(
    stretch: LogStretch,
    store: ObjectStore,
    keys: Keys,
    config: LabelsConfig,
    *,
    now_s: float,
    brought: pa.Table | None = None,
    feedback: LogStretch | None = None,
) -> Labelled:
    """The labels of the rows of a stretch that were answered (status 200, no error).

    Args:
        stretch: Of the log; its table has `request_id`, `row`, `received_s`, `status` and `variant`.
        store: The store bucket, with feedback and requests for labels.
        keys: Whom to believe.
        config: `serving.labels` of the pipeline.
        now_s: Seconds since the epoch; labels that came later do not count.
        brought: Labels that were brought as objects (columns of `LABELS`): `brought.py` reads them.
        feedback: Of the stretch up to `now_s`, where it was read already.
    """
    answered = stretch.table.filter(pc.equal(stretch.table["status"], 200))
    if "variant" in answered.column_names:  # nobody was told what the shadow says of the same request
        answered = answered.filter(pc.not_equal(answered["variant"], "shadow"))
    answers = answered.select([*KEYS, "received_s"])
    if feedback is None:
        feedback = read_log(store, keys, stretch.pipeline, since_s=stretch.since_s, until_s=now_s, holds="feedback")
    given = _declared(feedback.table, config)
    if brought is not None:
        given = pa.concat_tables([given, brought.select(LABELS.names).cast(LABELS)])
    given = given.filter(pc.less_equal(given["label_s"], now_s)).sort_by([("label_s", "ascending")])
    requests, problems = read_label_requests(store, keys, stretch.pipeline)
    drawn = _drawn(requests, now_s)
    first, conflicts = _first_label(_semi_join(given, answers))
    table = _joined(first, _semi_join(drawn, answers), answers)
    watermark_s = min(now_s - config.after_hours * 3600, stretch.until_s)
    due = pc.less(table["received_s"], watermark_s)
    has, asked = pc.is_valid(table["label"]), pc.is_valid(table["probability"])

    def count(*masks: pa.ChunkedArray) -> int:
        both = masks[0]
        for mask in masks[1:]:
            both = pc.and_(both, mask)
        return int(pc.sum(both).as_py() or 0)

    return Labelled(
        table=table.select(LABELLED.names).cast(LABELLED), rows=answers.num_rows, watermark_s=watermark_s,
        due=count(pc.less(answers["received_s"], watermark_s)) if answers.num_rows else 0, due_labelled=count(due, has),
        drawn=count(due, asked), drawn_labelled=count(due, asked, has), conflicts=conflicts,
        problems=(*feedback.problems, *problems), requests=tuple(one for one in requests if one.at_s <= now_s),
    )  # fmt: skip


def _declared(table: pa.Table, config: LabelsConfig) -> pa.Table:
    """Feedback of writers that count."""
    table = table.select(LABELS.names)
    return table.filter(pc.is_in(table["writer"], pa.array(config.writers))) if config.writers else table


def _drawn(requests: Sequence[LabelRequest], now_s: float) -> pa.Table:
    """Every row that was drawn, once: the first request counts."""
    found: dict[tuple[str, int], tuple[float, float]] = {}
    for one in requests:
        if one.at_s <= now_s:
            for request_id, row, probability in one.rows:
                found.setdefault((request_id, row), (probability, one.at_s))
    return pa.table(
        {
            "request_id": pa.array([key[0] for key in found], pa.string()),
            "row": pa.array([key[1] for key in found], pa.int32()),
            "probability": pa.array([one[0] for one in found.values()], pa.float64()),
            "requested_s": pa.array([one[1] for one in found.values()], pa.float64()),
            "place": pa.array(range(len(found)), pa.int64()),
        }
    )


def _semi_join(table: pa.Table, answers: pa.Table) -> pa.Table:
    return table.join(answers.select(KEYS), KEYS, join_type="left semi") if table.num_rows else table


def _first_label(given: pa.Table) -> tuple[pa.Table, int]:
    """One label per row, the first that came, and for how many rows others differ from it."""
    found: dict[tuple[str, int], tuple[str, float]] = {}
    differ: set[tuple[str, int]] = set()
    columns = (given.sort_by([("label_s", "ascending")])[name].to_pylist() for name in (*KEYS, "label", "label_s"))
    for request_id, row, label, label_s in zip(*columns, strict=True):
        if found.setdefault((request_id, row), (label, label_s))[0] != label:
            differ.add((request_id, row))
    table = pa.table(
        {
            "request_id": pa.array([key[0] for key in found], pa.string()),
            "row": pa.array([key[1] for key in found], pa.int32()),
            "label": pa.array([one[0] for one in found.values()], pa.string()),
            "label_s": pa.array([one[1] for one in found.values()], pa.float64()),
        }
    )
    return table, len(differ)


def _joined(labels: pa.Table, drawn: pa.Table, answers: pa.Table) -> pa.Table:
    table = drawn.join(labels, KEYS, join_type="full outer").join(answers, KEYS, join_type="left outer")
    by = pc.if_else(pc.is_valid(table["probability"]), "requested", "volunteered")
    last = pc.fill_null(table["place"], drawn.num_rows)
    table = table.append_column("by", by).set_column(table.column_names.index("place"), "place", last)
    return table.sort_by(
        [("place", "ascending"), ("label_s", "ascending"), ("request_id", "ascending"), ("row", "ascending")]
    )

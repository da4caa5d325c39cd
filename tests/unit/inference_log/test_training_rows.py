"""Labelled rows of the log as a delivery: only what a client was answered, labelled, and logged whole."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.data.logged_rows import BEYOND_SHARE, logged_by_side, within_share
from mlratchet.models.data.preprocess import read_dataset_records, write_dataset
from mlratchet.models.data.reading import Reading
from mlratchet.models.data.records import Records
from mlratchet.models.data.shards import load_split
from mlratchet.models.data.snapshot import take_snapshot
from mlratchet.models.data.split import divided
from mlratchet.models.errors import DataError
from mlratchet.models.identity.signed_records import RecordStore
from mlratchet.models.inference_log.columns import log_schema
from mlratchet.models.inference_log.config import LogConfig
from mlratchet.models.inference_log.training_rows import problems_of, rows_for_training
from mlratchet.models.pipeline.loading import parse_pipeline
from mlratchet.models.schema.fields import Schema
from mlratchet.models.sources.log_rows import LoggedRows, logged_weight, weighed
from mlratchet.models.sources.record import LOGGED, LOGGED_COLUMN
from mlratchet.models.training.row_weights import row_weights
from mlratchet.models.workloads.loading import load_workload
from mlratchet.tasks.support.log_rows import with_log_rows
from pydantic import ValidationError

from tests.unit.inference_log.logs import Log

PIPELINE = """
name: plant
schema:
  fields:
    heat: {kind: number}
    site: {kind: category, nullable: true}
    fails: {kind: category, values: ["no", "yes"]}
  label: fails
workload: {use: mlratchet.models.workloads.fields:SchemaWorkload, parameters: {model: mlp, hidden: [4]}}
source: {prefix: p/, format: FORMAT, inference_log: {days: 1}}
data: {split: {test: 0.3}}
gates:
  data: [{kind: data, measure: rows, minimum: 1}]
  candidate: [{kind: absolute, metric: accuracy, minimum: 0.5}]
  staging: [{kind: parity, maximum_difference: 0.1}]
  champion: [{kind: absolute, metric: accuracy, minimum: 0.5}]
"""
NOW = 1_700_000_000.0
DELIVERED = {
    "csv": b"heat,site,fails\n" + b"".join(b"%d,a,%s\n" % (n, b"yes" if n % 2 else b"no") for n in range(20)),
    "jsonl": b"".join(b'{"heat": %d.5, "site": "a", "fails": "no"}\n' % n for n in range(20)),
}


class Plant:
    """A pipeline with deliveries, a log and labels."""

    def __init__(self, form: str = "csv", *, source: str = "", more: str = "", delivered: bytes | None = None) -> None:
        """`source`: more options; `more`: another field; `delivered`: other rows."""
        text = PIPELINE.replace("FORMAT", f"{form}{source}").replace("    fails:", f"    {more}\n    fails:")
        self.spec = parse_pipeline(text, where="test")
        assert self.spec.example_schema is not None
        self.log = Log("plant", schema=self.spec.example_schema)
        self.raw, self.store = MemoryStore("raw"), RecordStore(self.log.store, self.log.keys)
        self.raw.put(f"p/rows.{form}", delivered or DELIVERED[form])
        self.run: Any = SimpleNamespace(
            spec=self.spec, adapters=SimpleNamespace(store=self.store, keys=self.log.keys), raw=self.raw
        )

    def asked(self, count: int, at_s: float = NOW - 100, *, labelled: int | None = None, **more: Any) -> None:
        rows = [
            {
                "received_s": at_s + n * 1e-3, "request_id": f"r{at_s}-{n}", "answer": '{"class": "no"}',
                "field.heat": 100.25 + n, "field.site": None if n % 2 else "b", **more,
            }
            for n in range(count)
        ]  # fmt: skip
        self.log.write(rows)
        labels = [(row["request_id"], 0, "yes", at_s + 1) for row in rows[:labelled]]
        self.log.feedback(labels)

    def records(self) -> dict[str, Any]:
        snapshot = with_log_rows(self.run, take_snapshot(self.raw, self.store, prefix="p/"), now_s=NOW)
        workload = load_workload(self.spec.workload.use, dict(self.spec.workload.parameters))
        found, rejects = read_dataset_records(self.store, snapshot, workload, self.spec.source, delivered=self.raw)
        assert rejects == []
        return {record.where: record for record in found}


@pytest.fixture
def plant() -> Plant:
    return Plant()


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_labelled_rows_are_read_beside_the_delivery_with_their_labels(form: str) -> None:
    plant = Plant(form)
    plant.asked(6, labelled=4)
    found = plant.records()
    ours = [record for where, record in found.items() if where.startswith(f"inference-log-2023-11-14.{form}")]
    assert len(found) == 24
    assert len(ours) == 4
    assert {record.y for record in ours} == {1}


SITES = "".join(f"{n},5;Zoë;{'yes' if n % 2 else 'no'}\n" for n in range(100, 120))
DAYS = b"".join(b'{"heat": %d.5, "site": "a", "when": "%02d.10.2023", "fails": "no"}\n' % (n, n + 1) for n in range(20))


@pytest.mark.parametrize(
    ("form", "source", "more", "delivered"),
    [
        ("csv", ', decimal: ","', "", f"heat;site;fails\n{SITES}".encode()),
        ("csv", "", "", f"heat;site;fails\n{SITES}".encode()),  # the first delivery tells the comma
        ("csv", ", encoding: cp1252", "", f"heat;site;fails\n{SITES}".encode("cp1252")),
        ("csv", ", encoding: utf-16-le", "", f"heat;site;fails\n{SITES}".encode("utf-16-le")),
        ("csv", ", header: [heat, site, fails]", "", SITES.encode()),
        ("csv", ", header: [site, heat, fails]", "", b"a|1.5|no\nb|2.5|yes\n"),
        ("csv", ', delimiter: ";"', "", f"heat;site;fails\n{SITES}".encode()),
        ("csv", ", quotes: none", "", DELIVERED["csv"]),
        ("jsonl", ", encoding: utf-16-le", "", DELIVERED["jsonl"].decode().encode("utf-16-le")),
        ("jsonl", "", "when: {kind: time}", DAYS),
        ("jsonl", "", "when: {kind: time, format: '%d.%m.%Y'}", DAYS),
    ],
)
def test_rows_of_the_log_are_read_as_they_were_answered_however_deliveries_are_written(
    form: str, source: str, more: str, delivered: bytes
) -> None:
    plant = Plant(form, source=source, more=more, delivered=delivered)
    when = {"field.when": datetime(2023, 11, 14, 3, 4, 5, tzinfo=UTC)} if more else {}
    plant.asked(1, **{"field.heat": 1.234, "field.site": 'Café, "Zoë"', **when})
    found = [record for where, record in plant.records().items() if where.startswith("inference-log-")]
    values = [json.loads(record.x["example"].tobytes()) for record in found]
    told = {"when": "2023-11-14T03:04:05Z"} if more else {}
    assert values == [{"heat": 1.234, "site": 'Café, "Zoë"', **told}]


def test_what_a_client_did_not_get_or_nobody_labelled_is_no_row(plant: Plant) -> None:
    before = plant.records()
    plant.asked(3, labelled=0)
    plant.asked(3, NOW - 90, status=500)
    plant.asked(3, NOW - 80, replayed=True)
    plant.asked(3, NOW - 70, variant="shadow")
    plant.asked(3, NOW - 2 * 86_400)
    assert plant.records().keys() == before.keys()


def test_the_same_rows_are_the_same_snapshot_and_more_rows_another(plant: Plant) -> None:
    plant.asked(3)
    ids = [
        with_log_rows(plant.run, take_snapshot(plant.raw, plant.store, prefix="p/"), now_s=NOW + n).id for n in (0, 1)
    ]
    plant.asked(1, NOW - 50)
    third = with_log_rows(plant.run, take_snapshot(plant.raw, plant.store, prefix="p/"), now_s=NOW).id
    assert ids[0] == ids[1] != third


def test_a_log_that_is_not_whole_gives_no_row(plant: Plant) -> None:
    plant.asked(3)
    plant.asked(3, NOW - 50)
    plant.log.store.delete(next(iter(info.key for info in plant.log.store.list("log/plant/chain/"))))
    assert all("inference-log" not in where for where in plant.records())


def test_a_share_takes_the_same_rows_every_time_and_the_newest_are_kept(plant: Plant) -> None:
    plant.asked(200)
    schema: Any = plant.spec.example_schema
    from mlratchet.models.inference_log.config import LabelsConfig
    from mlratchet.models.inference_log.labels import labelled
    from mlratchet.models.inference_log.reading import read_log

    stretch = read_log(plant.store, plant.log.keys, "plant", since_s=NOW - 1000, until_s=NOW)
    labels = labelled(stretch, plant.store, plant.log.keys, LabelsConfig(), now_s=NOW).table
    half, _ = rows_for_training(stretch.table, labels, schema, LoggedRows(share=0.5))
    more, _ = rows_for_training(stretch.table, labels, schema, LoggedRows(share=0.8))
    assert 70 < len(half) < 130 < len(more)
    assert all(row in more for row in half)
    newest, at_s = rows_for_training(stretch.table, labels, schema, LoggedRows(most_rows=5))
    assert [row["heat"] for row in newest] == [100.25 + n for n in range(195, 200)]
    assert at_s == pytest.approx(NOW - 100 + 0.199)


def test_fields_that_were_hashed_then_are_not_trained_on() -> None:
    plant = Plant()
    plant.log = Log("plant", schema=plant.spec.example_schema, config=LogConfig(fields=("heat",), others="hash"))
    plant.store = RecordStore(plant.log.store, plant.log.keys)
    plant.run.adapters = SimpleNamespace(store=plant.store, keys=plant.log.keys)
    plant.asked(3)
    assert all("inference-log" not in where for where in plant.records())


@pytest.mark.parametrize("others", ["hash", "drop"])
@pytest.mark.parametrize("later", [True, False])
def test_of_a_log_whose_fields_were_others_for_a_while_the_whole_rows_are_trained_on(others: Any, later: bool) -> None:
    """A hash was a value of its field where the first file had it whole, and where it had not no row was taken."""
    plant = Plant()
    whole, narrow = plant.log.columns, log_schema(
        plant.spec.example_schema, LogConfig(fields=("heat",), others=others)
    )  # fmt: skip
    for at_s, columns in ((NOW - 100, whole if later else narrow), (NOW - 50, narrow if later else whole)):
        plant.log.columns = columns
        plant.asked(4, at_s)
    rows = [record.y for where, record in plant.records().items() if "inference-log" in where]
    assert len(rows) == 4


def test_a_delivery_of_that_name_is_refused(plant: Plant) -> None:
    plant.asked(3)
    plant.raw.put("p/Inference-log-2023-11-14.csv", DELIVERED["csv"])
    with pytest.raises(DataError, match="names that begin with inference-log- are of rows that"):
        plant.records()


def test_of_a_row_that_is_delivered_later_the_delivered_one_is_kept(plant: Plant) -> None:
    plant.asked(4)
    plant.raw.put("p/later.csv", b"heat,site,fails\n100.25,b,yes\n")
    snapshot = with_log_rows(plant.run, take_snapshot(plant.raw, plant.store, prefix="p/"), now_s=NOW)
    workload = load_workload(plant.spec.workload.use, dict(plant.spec.workload.parameters))
    found, rejects = read_dataset_records(plant.store, snapshot, workload, plant.spec.source, delivered=plant.raw)
    assert [one.code for one in rejects] == ["duplicate_id"]
    assert "(later.csv:2) is kept" in rejects[0].reason
    assert [one.where for one in found if one.columns.get(LOGGED_COLUMN)] == [
        one.where for one in found if one.where.startswith("inference-log-")
    ]
    assert len(found) == 24


@pytest.mark.parametrize(("share", "kept"), [(None, 40), (0.9, 40), (0.5, None), (0.01, 0)])
def test_at_most_the_share_of_what_is_trained_on_is_of_the_log_and_the_newest_are_kept(
    plant: Plant, share: float | None, kept: int | None
) -> None:
    plant.asked(40)
    snapshot = with_log_rows(plant.run, take_snapshot(plant.raw, plant.store, prefix="p/"), now_s=NOW)
    workload = load_workload(plant.spec.workload.use, dict(plant.spec.workload.parameters))
    found, _ = read_dataset_records(plant.store, snapshot, workload, plant.spec.source, delivered=plant.raw)
    records, _, sides = divided(found, plant.spec.data.split)

    def trained_on(some: Records, ours: bool) -> list[int]:
        told = [one for one in some if sides(one) == "train" and bool(one.columns.get(LOGGED_COLUMN)) is ours]
        return sorted(int(one.where.rpartition(":")[2]) for one in told)

    before, delivered = trained_on(records, True), trained_on(records, False)
    left, aside = within_share(records, sides, share)
    now = trained_on(left, True)
    assert trained_on(left, False) == delivered
    assert now == before[len(before) - len(now) :]
    assert len(now) == min(len(before), len(delivered) if kept is None else kept)
    assert [one.code for one in aside] == [BEYOND_SHARE] * (len(before) - len(now))
    assert len(left) + len(aside) == len(records)
    assert logged_by_side(left, sides)["test"] == logged_by_side(records, sides)["test"] > 0
    again, _ = within_share(records, sides, share)
    assert [one.id for one in again] == [one.id for one in left]


def test_labelled_rows_of_the_log_are_trained_on_with_their_weight_and_share_and_stay_on_their_side() -> None:
    """From what clients were answered to what a rank is handed, over a delivery and rows that come later."""
    plant = Plant()
    wanted = plant.spec.source.inference_log
    assert wanted is not None
    config = wanted.model_copy(update={"weight": 4.0, "most_share": 0.4})
    plant.spec = plant.spec.model_copy(
        update={"source": plant.spec.source.model_copy(update={"inference_log": config})}
    )
    plant.run.spec = plant.spec
    workload = load_workload(plant.spec.workload.use, dict(plant.spec.workload.parameters))
    seen: dict[str, str] = {}
    for at, count in enumerate((30, 12)):
        plant.asked(count, NOW - 100 + at)
        plant.raw.put(f"p/more-{at}.csv", b"heat,site,fails\n%d,c,no\n" % (500 + at))
        snapshot = with_log_rows(plant.run, take_snapshot(plant.raw, plant.store, prefix="p/"), now_s=NOW)
        found, _ = read_dataset_records(plant.store, snapshot, workload, plant.spec.source, delivered=plant.raw)
        records, _, sides = divided(found, plant.spec.data.split)
        records, _ = within_share(records, sides, config.most_share)
        manifest = write_dataset(
            plant.store, snapshot, records, "code", plant.spec.workload, plant.spec.data, plant.spec.source,
            sides=sides, class_names=workload.class_names(), tensors=workload.input_spec().tensors,
        )  # fmt: skip
        now = {
            name: side
            for side in ("train", "validation", "test")
            for name in load_split(plant.store, manifest, side).ids
        }
        assert {name: now[name] for name in seen.keys() & now.keys()} == {
            name: seen[name] for name in seen.keys() & now.keys()
        }
        seen |= now
        rows = load_split(plant.store, manifest, "train")
        weights = row_weights(rows, logged_weight(plant.spec.source.inference_log))
        assert weights is not None
        ours = [cell == LOGGED for cell in rows.columns[LOGGED_COLUMN]]
        assert weights.tolist() == [4.0 if logged else 1.0 for logged in ours]
        assert 0 < sum(ours) <= 0.4 * len(ours) < sum(ours) + 1
        assert manifest.logged_rows["train"] == sum(ours)
        assert {int(y) for y, logged in zip(rows.y, ours, strict=True) if logged} == {1}  # as they were labelled


def test_what_is_read_says_how_many_rows_are_of_the_log_and_what_they_weigh() -> None:
    counts = {"train": 1060, "validation": 10, "test": 14}
    line = Reading(used=9, set_aside=0, logged=tuple(counts.items())).line()
    assert line.endswith("; of the inference log 1,060 trained on, 10 validation, 14 test")
    assert weighed(line, LoggedRows(weight=2.5)) == f"{line}; each of the log has weight 2.5 in the loss"
    assert weighed(line, LoggedRows()) == line
    assert weighed("9 read", LoggedRows(weight=2.5)) == "9 read"
    assert "inference log" not in Reading(used=9, set_aside=0).line()


def test_a_weight_that_is_none_is_refused() -> None:
    for wrong in ({"weight": 0.0}, {"weight": -1.0}, {"most_share": 1.0}, {"most_share": 0.0}):
        with pytest.raises(ValidationError):
            LoggedRows.model_validate(wrong)
    assert LoggedRows().model_dump() == {"days": 30.0, "share": 1.0, "most_rows": 100_000}  # as it was written before


@pytest.mark.parametrize(
    ("change", "form", "log", "words"),
    [
        ({"label": None}, "csv", {}, "needs a schema with one label"),
        ({}, "images", {}, "join a source of format"),
        ({}, "csv", {"enabled": False}, "nothing is written down"),
        ({}, "csv", {"fields": ("heat",)}, "site is not logged whole"),
        ({"group": "site"}, "csv", {}, "of which group it is"),
        ({"fields": {"a": {"kind": "image"}, "l": {"kind": "category", "values": ["x", "y"]}}, "label": "l"}, "csv", {},
         "the digest of a"),
    ],
)  # fmt: skip
def test_what_could_never_work_is_told_before_anything_runs(
    plant: Plant, change: Any, form: str, log: Any, words: str
) -> None:
    schema: Any = plant.spec.example_schema
    document = {**schema.model_dump(mode="json", exclude_defaults=True), **change}
    made = Schema.model_validate_json(json.dumps(document))
    assert any(words in line for line in problems_of(made, form, LogConfig(**log)))
    assert problems_of(schema, "csv", LogConfig()) == []

"""Who a row is: its raw cells in the columns of the first delivery.

No change of the file or of a delivery moves it to the other side unsaid; what a version was trained on is found again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from mlratchet.models.artifact.signature import signature_of
from mlratchet.models.data.dataset import DatasetManifest, load_dataset
from mlratchet.models.data.first_columns import columns_key, find_first_columns
from mlratchet.models.data.preprocess import read_dataset_records, write_dataset
from mlratchet.models.data.row_index import load_index
from mlratchet.models.data.shards import load_split
from mlratchet.models.data.snapshot import take_snapshot
from mlratchet.models.errors import ConfigurationError, SecurityError
from mlratchet.models.evaluation.seen import CHANGED, SEEN_COLUMN
from mlratchet.models.identity.canonical import canonical_json, digest_bytes
from mlratchet.models.pipeline.store import publish_pipeline
from mlratchet.tasks.steps.evaluate import evaluate
from mlratchet.tasks.support.beginning import refuse_seen_rows
from mlratchet.tasks.support.examples import Examples
from mlratchet.tasks.support.open_version import Version
from mlratchet.tasks.support.row_identity import first_delivery
from mlratchet.tasks.support.seen_rows import seen_rows

from .conftest import Road, program

pytestmark = pytest.mark.usefixtures("without_pictures")
GOOD = (1.0, 1.0, 0.0)
NAMES = ("no", "yes")


def table(extra: Iterable[str] = (), without: Iterable[str] = (), ids: Any = None) -> list[dict[str, str]]:
    rng = np.random.default_rng(0)
    rows = []
    for number, (a, b, c) in enumerate(rng.normal(size=(400, 3))):
        row = {"a": f"{a:.6f}", "b": f"{b:.6f}", "c": f"{c:.6f}", "label": NAMES[int(a + b > 0)], "region": "eu"}
        row |= dict.fromkeys(extra, f"{number}")
        if ids is not None:
            row["id"] = ids(number)
        rows.append({name: value for name, value in row.items() if name not in without})
    return rows


def deliver(road: Road, rows: list[dict[str, str]]) -> Any:
    lines = [",".join(rows[0])] + [",".join(row.values()) for row in rows]
    road.raw.put("t/rows.csv", "\n".join(lines).encode())
    return take_snapshot(road.raw, road.store, prefix="t/")


def prepared(road: Road, run: Any, rows: list[dict[str, str]]) -> DatasetManifest:
    """As the steps do it: the columns of the first delivery are recorded, and asked for."""
    snapshot = deliver(road, rows)
    first = first_delivery(run, snapshot)
    records, _ = read_dataset_records(road.store, snapshot, run.workload, run.spec.source, first=first)
    return write_dataset(
        road.store, snapshot, records, "w", run.spec.workload, run.spec.data, run.spec.source,
        class_names=run.workload.class_names(), input_columns=run.workload.input_spec().columns,
        first=first,
    )  # fmt: skip


def sides(road: Road, dataset: DatasetManifest) -> dict[str, set[str]]:
    return {side: set(load_split(road.store, dataset, side).ids) for side in dataset.splits}


def run_with(road: Road, columns: str = "a, b, c", source: str = "{prefix: t/}", gate: str = "champion") -> Any:
    run = road.run(gate=gate, parameters=f'{{columns: [{columns}], classes: ["no", "yes"]}}')
    changed = road.run(gate=gate, parameters=f'{{columns: [{columns}], classes: ["no", "yes"]}}', source=source)
    return changed if source != "{prefix: t/}" else run


def test_neither_other_columns_nor_a_new_one_nor_their_order_moves_a_row(road: Road) -> None:
    first = sides(road, prepared(road, run_with(road), table()))
    for columns, rows in (
        ("a, b", table()),
        ("c, b, a", table()),
        ("a, b, c, d", table(extra=["d"])),
        ("a, b, c", [dict(reversed(row.items())) for row in table(extra=["d", "e"])]),
    ):
        assert sides(road, prepared(road, run_with(road, columns), rows)) == first


def test_a_relabelled_row_keeps_its_id_and_float32_merges_nobody(road: Road) -> None:
    run = run_with(road)
    rows = table()
    first = prepared(road, run, rows)
    for row in rows[:40]:
        row["label"] = NAMES[1 - NAMES.index(row["label"])]
    again = prepared(road, run, rows)
    assert sides(road, again) == sides(road, first)
    before, now = (load_index(road.store, one, NAMES).entries for one in (first, again))
    assert sum(before[i].label != now[i].label for i in now) == 40
    times = [{**row, "a": str(1700000000 + 10 * number)} for number, row in enumerate(table())]
    assert len(load_index(road.store, prepared(road, run, times), NAMES).entries) == 400


def test_the_columns_are_signed_and_the_first_ones_stand(road: Road) -> None:
    run = run_with(road)
    prepared(road, run, table())
    prepared(road, run, table(extra=["d"]))
    found = find_first_columns(road.store, "table", run.adapters.keys.trusted())
    assert found is not None
    assert found.columns == ("a", "b", "c", "region")
    forged = road.store.get(columns_key("table")).replace(b"region", b"nothing")
    road.store.put(columns_key("table"), forged)
    with pytest.raises(SecurityError, match="does not fit; it was changed"):
        first_delivery(run, deliver(road, table()))


@pytest.mark.parametrize("at_s", ["[]", "1" + "0" * 400])
def test_a_record_of_columns_that_is_none_is_told_as_changed(road: Road, at_s: str) -> None:
    body = f'{{"at_s":{at_s},"columns":["a"],"pipeline":"table","snapshot_id":"s"}}'
    road.store.put(columns_key("table"), canonical_json({"body": body, "key_id": "k", "signature": "x"}))
    with pytest.raises(SecurityError, match="does not hold the columns of a first delivery"):
        first_delivery(road.run(), deliver(road, table()))


def registered(road: Road, run: Any, dataset: DatasetManifest) -> Any:
    return road.version(program(GOOD), dataset_id=dataset.id, revision=publish_pipeline(road.store, run.spec))


def seen(road: Road, run: Any, dataset: DatasetManifest, record: Any) -> set[str]:
    return seen_rows(road.store, run.spec, dataset.id, record, lambda _version: None)


def test_after_a_lost_column_rows_seen_in_training_are_found_over_the_parents_snapshot(road: Road) -> None:
    run = run_with(road, "a, b")
    rows = table(extra=["d"])
    before = prepared(road, run, rows)
    record = registered(road, run, before)
    kept = {row["a"] for row in rows}
    now = prepared(road, run, table())
    assert now.identity_columns == ("a", "b", "c", "region")
    assert sides(road, now)["test"].isdisjoint(sides(road, before)["test"])
    found = seen(road, run, now, record)
    trained = {
        f"{x:.6f}" for side in ("train", "validation") for x in load_split(road.store, before, side).x.array[:, 0]
    }
    test = load_split(road.store, now, "test")
    assert (
        found == {i for i, x in zip(test.ids, test.x.array[:, 0], strict=True) if f"{x:.6f}" in trained & kept} != set()
    )


@pytest.mark.parametrize("whose", ["the rows", "both"])
def test_rows_of_a_dataset_from_before_the_upgrade_are_no_other_rows(road: Road, whose: str) -> None:
    """A backtest or a comparison asks a version about them: their index held digests of inputs in their own order."""
    run = run_with(road, source="{prefix: t/, id_column: id}")
    rows = table(ids=lambda number: f"r{number}")
    old = before_the_upgrade(road, prepared(road, run, rows))
    changed = 60 if whose == "the rows" else 0
    then = prepared(road, run, [{**row, "c": "9.5"} if n < changed else row for n, row in enumerate(rows[:300])])
    record = registered(road, run, before_the_upgrade(road, then) if whose == "both" else then)
    signature = signature_of(run.workload)
    version = Version(record=record, signature=signature, program=program(GOOD))
    found = Examples(road.store, run.spec, old, signature).score(version)
    marks = found.columns.get(SEEN_COLUMN, [""] * len(found.ids))
    assert {i for i, mark in zip(found.ids, marks, strict=True) if mark} == {
        i for i in found.ids if int(i[1:]) < changed
    }


def before_the_upgrade(road: Road, dataset: DatasetManifest) -> DatasetManifest:
    """The same with an index of the first format."""
    index = {}
    for side in dataset.splits:
        split = load_split(road.store, dataset, side)
        index |= {
            i: [digest_bytes(x.tobytes()), int(y)] for i, x, y in zip(split.ids, split.x.array, split.y, strict=True)
        }
    body = canonical_json(index)
    road.store.put(f"indexes/{digest_bytes(body)}.json", body)
    document = dataset.model_dump(mode="json") | {"index_sha256": digest_bytes(body), "identity_columns": []}
    road.store.put(f"datasets/{dataset.id}.json", canonical_json(document))
    return load_dataset(road.store, dataset.id)


def test_rows_of_a_dataset_from_before_the_upgrade_are_found(road: Road) -> None:
    """Then a row's id was the digest of its numbers as float32."""
    run = run_with(road)
    snapshot = deliver(road, table())
    records, _ = read_dataset_records(road.store, snapshot, run.workload, run.spec.source)
    old = [
        type(one)(id=digest_bytes(one.x.tobytes())[:32], x=one.x, y=one.y, group=digest_bytes(one.x.tobytes())[:32])
        for one in records
    ]
    before = write_dataset(road.store, snapshot, old, "w", run.spec.workload, run.spec.data, run.spec.source)
    index = canonical_json({one.id: [digest_bytes(one.x.tobytes()), one.y] for one in old})
    road.store.put(f"indexes/{digest_bytes(index)}.json", index)
    document = before.model_dump(mode="json") | {"index_sha256": digest_bytes(index), "identity_columns": []}
    road.store.put(f"datasets/{before.id}.json", canonical_json(document))
    record = registered(road, run, load_dataset(road.store, before.id))
    now = prepared(road, run, table())
    trained = {x.tobytes() for side in ("train", "validation") for x in load_split(road.store, before, side).x.array}
    test = load_split(road.store, now, "test")
    expected = {i for i, x in zip(test.ids, test.x.array, strict=True) if x.tobytes() in trained}
    assert seen(road, run, now, record) == expected
    assert 0 < len(expected) < len(test.ids)
    with pytest.raises(ConfigurationError, match=r"version 1 was trained on \d+ of the \d+ test rows"):
        refuse_seen_rows(run, road.work(now), record)


def test_renumbered_ids_hide_no_row_that_was_trained_on(road: Road) -> None:
    run = run_with(road, source="{prefix: t/, id_column: id}")
    before = prepared(road, run, table(ids=lambda number: f"r{number}"))
    record = registered(road, run, before)
    assert seen(road, run, prepared(road, run, [*table(ids=lambda n: f"r{n}"), *more()]), record) == set()
    now = prepared(road, run, table(ids=lambda number: f"r{(number + 7) % 400}"))
    found = seen(road, run, now, record)
    trained = {x.tobytes() for side in ("train", "validation") for x in load_split(road.store, before, side).x.array}
    test = load_split(road.store, now, "test")
    assert found == {i for i, x in zip(test.ids, test.x.array, strict=True) if x.tobytes() in trained} != set()


def test_renumbered_ids_hide_no_row_after_a_change_of_the_split_either(road: Road) -> None:
    run = run_with(road, source="{prefix: t/, id_column: id}")
    before = prepared(road, run, table(ids=lambda number: f"r{number}"))
    record = registered(road, run, before)
    split = run.spec.data.split.model_copy(update={"salt": "another"})
    run.spec = run.spec.model_copy(update={"data": run.spec.data.model_copy(update={"split": split})})
    now = prepared(road, run, table(ids=lambda number: f"r{(number + 7) % 400}"))
    trained = {x.tobytes() for side in ("train", "validation") for x in load_split(road.store, before, side).x.array}
    test, own = load_split(road.store, now, "test"), sides(road, before)
    known = {i for i, x in zip(test.ids, test.x.array, strict=True) if x.tobytes() in trained}
    assert known <= seen(road, run, now, record) <= known | own["train"] | own["validation"]


def test_rows_of_a_grandparent_are_found_under_any_id(road: Road) -> None:
    """Version 2 never saw them, version 1 did under other ids."""
    run = run_with(road, source="{prefix: t/, id_column: id}")
    old, new = slice(0, 200), slice(200, 400)
    first = prepared(road, run, table(ids=lambda number: f"r{number}")[old])
    grandparent = registered(road, run, first)
    second = prepared(road, run, table(ids=lambda number: f"s{number}")[new])
    assert seen(road, run, second, grandparent) == set()
    parent = road.version(
        program(GOOD), dataset_id=second.id, revision=publish_pipeline(road.store, run.spec), parent=grandparent
    )
    now = prepared(road, run, table(ids=lambda number: f"t{number}"))
    records = {1: grandparent, 2: parent}
    found = seen_rows(road.store, run.spec, now.id, parent, records.get)
    trained = {
        x.tobytes() for one in (first, second) for side in ("train", "validation")
        for x in load_split(road.store, one, side).x.array
    }  # fmt: skip
    test = load_split(road.store, now, "test")
    assert found == {i for i, x in zip(test.ids, test.x.array, strict=True) if x.tobytes() in trained} != set()
    assert any(int(identity[1:]) < 200 for identity in found)
    with pytest.raises(ConfigurationError, match=r"version 2 was trained on \d+ of the \d+ test rows"):
        refuse_seen_rows(run, road.work(now), parent)


def test_rows_of_a_grandparent_that_the_parent_never_saw_are_found_after_a_change_of_the_split(road: Road) -> None:
    """The parent divides rows as now: what its own parent trained on by another rule may be a test row all the same."""
    then = run_with(road, source="{prefix: t/, id_column: id}")
    split = then.spec.data.split.model_copy(update={"salt": "another"})
    then.spec = then.spec.model_copy(update={"data": then.spec.data.model_copy(update={"split": split})})
    first = prepared(road, then, table(ids=lambda number: f"r{number}")[:200])
    grandparent = registered(road, then, first)
    run = run_with(road, source="{prefix: t/, id_column: id}")
    second = prepared(road, run, table(ids=lambda number: f"r{number}")[200:])
    parent = road.version(
        program(GOOD), dataset_id=second.id, revision=publish_pipeline(road.store, run.spec), parent=grandparent
    )
    now = prepared(road, run, table(ids=lambda number: f"r{number}"))
    found = seen_rows(road.store, run.spec, now.id, parent, {1: grandparent, 2: parent}.get)
    assert found == sides(road, now)["test"] & (sides(road, first)["train"] | sides(road, first)["validation"]) != set()


def more() -> list[dict[str, str]]:
    rows = table(ids=lambda number: f"new{number}")[:40]
    return [{**row, "c": f"{number}"} for number, row in enumerate(rows)]


def test_a_record_with_other_raw_cells_than_the_champion_knew_is_left_out_counted_and_named(road: Road) -> None:
    run = run_with(road, source="{prefix: t/, id_column: id}")
    rows = table(ids=lambda number: f"r{number}")
    record = registered(road, run, prepared(road, run, rows))
    corrected = [{**row, "c": "9.5"} if number < 60 else row for number, row in enumerate(rows)]
    relabelled = [{**row, "label": "no"} if number > 380 else row for number, row in enumerate(corrected)]
    now = prepared(road, run, relabelled)
    champion = evaluate.fn(run, road.work(now, record), now, road.trained(GOOD)).evidence().champion
    marks = dict(zip(champion.ids, champion.columns[SEEN_COLUMN], strict=True))
    assert {i for i, mark in marks.items() if mark} == {i for i in marks if int(i[1:]) < 60} != set()
    assert set(marks.values()) == {"", CHANGED}


def test_equal_raw_cells_that_prepare_to_other_inputs_make_everything_inconclusive(road: Road) -> None:
    run = run_with(road, source="{prefix: t/, id_column: id}")
    snapshot = deliver(road, table(ids=lambda number: f"r{number}"))
    records, _ = read_dataset_records(road.store, snapshot, run.workload, run.spec.source)

    def write(found: list[Any], code: str, **told: Any) -> DatasetManifest:
        made = [type(one)(**{**vars(one), **told}) for one in found]
        return write_dataset(
            road.store, snapshot, made, code, run.spec.workload, run.spec.data, run.spec.source,
            class_names=NAMES, input_columns=("a", "b", "c"),
        )  # fmt: skip

    for told, words in (({}, "are the same"), ({"raw_digest": ""}, "are not told")):
        record = registered(road, run, write(records, f"then{told}", **told))
        test = next(i for i in load_split(road.store, load_dataset(road.store, record.dataset_id), "test").ids)
        again = [type(one)(**{**vars(one), "x": one.x + np.float32(one.id == test)}) for one in records]
        now = write(again, f"now{told}", **told)
        found = evaluate.fn(run, road.work(now, record), now, road.trained(GOOD))
        assert found.evidence().champion is None
        assert f"1 rows prepare to other inputs than when it was trained ({test})" in found.missing["champion"]
        assert words in found.missing["champion"]

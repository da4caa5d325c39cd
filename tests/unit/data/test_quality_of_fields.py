"""Fields that are the label, drift, stand out or are old; labels that look wrong: each is found where it was planted,
and nowhere else."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import numpy as np
import orjson
import pytest
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.data.config import DataConfig, SplitConfig
from mlratchet.models.data.quality import QualityReport, inspect
from mlratchet.models.data.quality.distributions import profile_of_dataset, publish_profile
from mlratchet.models.data.quality.inspect import Inspection
from mlratchet.models.data.quality.measures import MEASURES, ON_DEMAND, range_of
from mlratchet.models.data.quality.noise import Outputs, confident_joint
from mlratchet.models.data.quality.sample import Sampler
from mlratchet.models.data.records import records_of
from mlratchet.models.data.rules import QualityConfig
from mlratchet.models.errors import SecurityError
from mlratchet.models.ports.storage import DigestMismatch
from mlratchet.models.schema.fields import Schema
from mlratchet.models.sources.record import Record
from mlratchet.models.sources.record_table import packed
from mlratchet.models.sources.stored_examples import EXAMPLE, UNPREPARED
from sklearn.datasets import load_digits

SCHEMA = Schema.model_validate({
    "fields": {
        "price": {"kind": "number"}, "size": {"kind": "number"}, "land": {"kind": "category"},
        "user": {"kind": "entity"}, "note": {"kind": "text", "nullable": True}, "day": {"kind": "time"},
        "twin": {"kind": "category", "nullable": True}, "bought": {"kind": "category", "values": ["no", "yes"]},
    },
    "label": "bought",
})  # fmt: skip
DATA = DataConfig(split=SplitConfig(test=0.3))
START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
N = 1200


def shop(seed: int = 0, n: int = N, **planted: Any) -> list[Record]:
    """`planted`: field -> function (number, label, value) -> value."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(n):
        y = int(rng.random() < 0.4)
        values = {
            "price": float(rng.lognormal(3, 0.4)) + 5 * y, "size": float(rng.normal(10, 2)),
            "land": str(rng.choice(["DE", "AT", "CH"], p=[0.7, 0.2, 0.1])), "user": f"u{rng.integers(0, 10**9)}",
            "note": "fine" if rng.random() < 0.5 else None,
            "day": (START + dt.timedelta(hours=number)).isoformat(),
        }  # fmt: skip
        values |= {name: change(number, y, values.get(name)) for name, change in planted.items()}
        held = orjson.dumps({name: one for name, one in values.items() if one is not None})
        columns = {name: str(values[name]) for name in ("land", "user")}
        x = {EXAMPLE: np.frombuffer(held, dtype=np.uint8)}
        found.append(Record(id=f"{seed}-{number}", x=x, y=y, columns=columns, content_sha256=f"{seed}-{number}"))
    return found


def measured(records: list[Record], *measures: str, **asked: Any) -> QualityReport:
    return inspect(
        MemoryStore(),
        records_of(records, (UNPREPARED,)),
        [],
        None,
        DATA,
        ("no", "yes"),
        asked=Inspection(measures=measures, schema=SCHEMA, **asked),
    )


def test_a_delivery_without_a_fault_has_none() -> None:
    reference = measured(shop(1)).profile
    report = measured(shop(2), *ON_DEMAND, reference=reference)
    assert set(report.measures) == set(MEASURES)
    values = {name: one.value for name, one in report.measures.items()}
    assert values["single_field_power"] < 0.3
    assert values["field_drift"] < 0.06
    assert values["new_category_fraction"] == values["entity_overlap_fraction"] == values["outlier_fraction"] == 0
    assert all(range_of(name, 2)[0] <= value <= range_of(name, 2)[1] for name, value in values.items())
    assert set(report.broken) == {"time_overlap"}  # which is the rule of a split by time


@pytest.mark.parametrize(
    "leak", [lambda n, y, v: f"code {y}", lambda n, y, v: f"code {y}-{n % 40}"], ids=["equal", "function"]
)
def test_a_field_that_says_the_label_is_named(leak: Any) -> None:
    report = measured(shop(3, twin=leak))
    assert report.measures["single_field_power"].value > 0.99
    assert report.measures["single_field_power"].detail.startswith("twin 1.000")
    assert report.powers["price"] < 0.5
    equal = "feature_is_label" in report.broken
    assert equal == (len({leak(n, 1, None) for n in range(40)}) == 1)
    if equal:
        assert "'twin' is the label under another name in 1,200 records" in report.broken["feature_is_label"]


def test_a_name_that_tells_rows_apart_says_nothing_of_the_label() -> None:
    assert measured(shop(4, twin=lambda n, y, v: f"row {n}")).powers["twin"] < 0.05


def test_a_number_that_is_the_target_on_another_scale_is_named() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 3)).astype(np.float32)
    records = [Record(id=f"r{n}", x=one, y=float(one[2]) * 1.8 + 32) for n, one in enumerate(x)]
    report = inspect(MemoryStore(), records, [], None, DATA, (), columns=("a", "b", "c"))
    assert "'c' is the label" in report.broken["feature_is_label"]
    assert report.measures["single_field_power"].detail.startswith("c 0.9")
    assert report.powers["a"] < 0.1


@pytest.mark.parametrize(
    ("planted", "field"),
    [
        ({"price": lambda n, y, v: v * 1.5}, "price"),
        ({"land": lambda n, y, v: "AT" if n % 3 else v}, "land"),
        ({"note": lambda n, y, v: "much longer than it was before" if v else v}, "note"),
        ({"note": lambda n, y, v: v if n % 2 else None}, "note"),
    ],
)
def test_a_field_that_moved_is_named_and_no_other(planted: Any, field: str) -> None:
    reference = json.loads(json.dumps(measured(shop(5)).profile))
    report = measured(shop(6, **planted), reference=reference, quality=QualityConfig(most_drift=0.15))
    assert report.drifts[0].name == field
    assert report.drifts[0].size > 0.15
    assert all(one.size < 0.08 for one in report.drifts[1:])
    assert report.measures["field_drift"].value == report.drifts[0].size
    assert field in report.broken["distribution_shift"]


def test_new_words_are_named_with_their_share() -> None:
    reference = measured(shop(7)).profile
    report = measured(shop(8, land=lambda n, y, v: "FR" if n % 20 == 0 else v), reference=reference)
    measure = report.measures["new_category_fraction"]
    assert (measure.value, measure.detail) == (pytest.approx(0.05), "land: FR")
    assert "land: FR" in report.broken["new_category"]


def test_without_a_reference_drift_says_nothing() -> None:
    report = measured(shop(9))
    assert (report.measures["field_drift"].n, report.measures["new_category_fraction"].n) == (0, 0)
    few = measured(shop(9, n=60), reference=report.profile)
    assert few.measures["field_drift"].n == 0


def test_the_profile_of_a_dataset_is_kept_and_one_that_was_changed_is_refused() -> None:
    store, profile = MemoryStore(), dict(measured(shop(10)).profile)
    assert profile_of_dataset(store, "d" * 64) is None
    digest = publish_profile(store, "d" * 64, profile)
    assert profile_of_dataset(store, "d" * 64) == json.loads(json.dumps(profile))
    assert len(json.dumps(profile)) < 40_000
    store.put(f"profiles/{digest}.json", b"{}")
    with pytest.raises((SecurityError, DigestMismatch)):
        profile_of_dataset(store, "d" * 64)


def test_an_entity_on_both_sides_is_counted() -> None:
    records = shop(11, user=lambda n, y, v: f"u{n % 50}")
    report = measured(records, "entity_overlap_fraction")
    assert report.measures["entity_overlap_fraction"].value == 1.0
    assert "user: " in report.measures["entity_overlap_fraction"].detail
    grouped = [Record(**{**vars(one), "group": one.columns["user"]}) for one in records]
    assert measured(grouped, "entity_overlap_fraction").measures["entity_overlap_fraction"].value == 0.0
    declared = measured(records, quality=QualityConfig(rules={"entity_overlap": "error"}))
    assert "user" in declared.broken["entity_overlap"]


def test_numbers_that_stand_out_and_the_age_of_the_newest_record() -> None:
    now = (START + dt.timedelta(days=60)).timestamp()
    report = measured(shop(12, size=lambda n, y, v: 1e6 if n in (5, 600) else v), now_s=now)
    measure = report.measures["outlier_fraction"]
    assert (measure.value, measure.n) == (pytest.approx(2 / N), N)
    assert measure.detail.startswith("size 2; e.g. 12-")
    assert report.measures["newest_age_days"].value == pytest.approx(60 - (N - 1) / 24)
    assert "day: the newest is of 2026-02-19" in report.measures["newest_age_days"].detail


DIGITS = 900


def flipped(share: float) -> tuple[list[Record], set[str]]:
    data = load_digits()
    rng = np.random.default_rng(0)
    wrong = set(rng.choice(DIGITS, round(share * DIGITS), replace=False).tolist())
    records = []
    for number, (image, label) in enumerate(zip(data.images[:DIGITS], data.target[:DIGITS], strict=True)):
        y = (int(label) + 1 + number % 9) % 10 if number in wrong else int(label)
        records.append(Record(id=f"d{number:04d}", x=(image / 16).astype(np.float32)[None], y=y))
    return records, {f"d{number:04d}" for number in wrong}


NAMES = tuple("0123456789")


def test_labels_that_were_flipped_are_found_by_a_model_that_has_not_seen_them() -> None:
    records, wrong = flipped(0.08)
    report = inspect(
        MemoryStore(), records, [], None, DATA, NAMES, asked=Inspection(measures=("label_noise_fraction",))
    )
    noise = report.noise
    assert noise is not None
    assert 0.05 < noise.share < 0.13
    listed = {one.id for one in noise.suspects}
    assert len(listed) == 50
    assert len(listed & wrong) >= 40  # of 72 among 900 labels
    assert all(one.given != one.suggested for one in noise.suspects)
    assert "by a linear model in 5 folds" in report.measures["label_noise_fraction"].detail


def test_of_good_labels_few_look_wrong() -> None:
    records, _ = flipped(0.0)
    report = inspect(
        MemoryStore(), records, [], None, DATA, NAMES, asked=Inspection(measures=("label_noise_fraction",))
    )
    assert report.measures["label_noise_fraction"].value < 0.03


def test_the_champion_s_outputs_on_rows_that_it_has_not_seen_come_first() -> None:
    records, wrong = flipped(0.1)
    true = load_digits().target
    ids = [one.id for one in records[:400]]
    probabilities = np.full((400, 10), 0.01)
    probabilities[np.arange(400), true[:400]] = 0.91
    outputs = Outputs(ids=ids, probabilities=probabilities, by="version 3 on its test rows")
    report = inspect(
        MemoryStore(), records, [], None, DATA, NAMES,
        asked=Inspection(measures=("label_noise_fraction",), outputs=outputs),
    )  # fmt: skip
    assert report.noise is not None
    assert report.noise.n == 400
    assert {one.id for one in report.noise.suspects} == wrong & set(ids)
    assert "version 3" in report.measures["label_noise_fraction"].detail


def test_the_confident_joint_counts_by_the_thresholds_of_the_paper() -> None:
    probabilities = np.asarray([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.1, 0.9], [0.45, 0.55]])
    given = np.asarray([0, 0, 0, 1, 1])
    # thresholds: class 0 (0.9 + 0.8 + 0.3) / 3 = 0.667, class 1 (0.9 + 0.55) / 2 = 0.725
    joint, confident = confident_joint(probabilities, given)
    assert confident.tolist() == [0, 0, -1, 1, -1]
    assert joint.tolist() == [[2, 0], [0, 1]]


def test_the_sample_is_bounded_and_the_order_of_records_changes_nothing() -> None:
    records = shop(13, n=300)
    samples = []
    for order in (records, records[::-1]):
        sampler = Sampler(SCHEMA, (), size=100)
        for at in range(0, 300, 120):
            table = packed(order[at : at + 120], (UNPREPARED,))
            sampler.add(table, np.zeros(table.num_rows, np.uint8))
        samples.append(sampler.sample())
    assert samples[0].ids == samples[1].ids
    assert (len(samples[0]), samples[0].of) == (100, 300)
    assert [one.values.tolist() for one in samples[0].fields if one.kind == "word"] == [
        one.values.tolist() for one in samples[1].fields if one.kind == "word"
    ]

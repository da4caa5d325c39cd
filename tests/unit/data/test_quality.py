"""The measures of a delivery see what is wrong with it, on the real digits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlratchet.infra.seed import PREFIX, digits_files, seed_digits, upload_files
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.data.preprocess import read_dataset_records, write_dataset
from mlratchet.models.data.quality import MEASURES, ON_DEMAND, QualityReport, inspect
from mlratchet.models.data.quality.inspect import Inspection
from mlratchet.models.data.shards import load_split
from mlratchet.models.data.snapshot import take_snapshot
from mlratchet.models.drafting.delivery import look_at
from mlratchet.models.drafting.files_below import hidden_below
from mlratchet.models.errors import ConfigurationError, DataError
from mlratchet.models.gates.evidence import Evidence
from mlratchet.models.gates.judge import judge
from mlratchet.models.pipeline.spec import PipelineSpec
from mlratchet.models.ports.storage import DigestMismatch
from mlratchet.models.workloads.base import Workload


class Deliveries:
    """Reads deliveries one after the other, as runs do."""

    def __init__(self, raw: MemoryStore, store: MemoryStore, spec: PipelineSpec, workload: Workload) -> None:
        self.raw, self.store, self.spec, self.workload = raw, store, spec, workload

    def read(self, delivery: str) -> tuple[Any, Any, Any]:
        seed_digits(self.raw, delivery, on_progress=lambda done, total: None)
        snapshot = take_snapshot(self.raw, self.store, prefix=PREFIX)
        return snapshot, *read_dataset_records(self.store, snapshot, self.workload, self.spec.source)

    def dataset(self, delivery: str) -> Any:
        snapshot, records, _ = self.read(delivery)
        return write_dataset(
            self.store, snapshot, records, "code", self.spec.workload, self.spec.data, self.spec.source,
            class_names=self.workload.class_names(),
        )  # fmt: skip

    def measure(self, delivery: str, previous: Any, asked: tuple[str, ...] = ()) -> QualityReport:
        _, records, rejects = self.read(delivery)
        return inspect(
            self.store,
            records,
            rejects,
            previous,
            self.spec.data,
            self.workload.class_names(),
            asked=Inspection(measures=asked),
        )


@pytest.fixture
def deliveries(
    raw: MemoryStore, store: MemoryStore, digits_spec: PipelineSpec, digits_workload: Workload
) -> Deliveries:
    return Deliveries(raw, store, digits_spec, digits_workload)


def verdict(spec: PipelineSpec, report: QualityReport, *, first_model: bool = False) -> tuple[str, list[str]]:
    result = judge(
        "data", spec.gates.data, Evidence(data_measures=report.measures), first_model=first_model,
        task="classification", class_names=(),
    )  # fmt: skip
    return result.verdict, [check.reason for check in result.checks if check.verdict not in ("pass", "not_applicable")]


def test_the_good_deliveries_pass_the_data_gate(deliveries: Deliveries, digits_spec: PipelineSpec) -> None:
    assert verdict(digits_spec, deliveries.measure("1", None), first_model=True) == ("pass", [])
    assert verdict(digits_spec, deliveries.measure("1", None))[0] == "inconclusive"  # a champion without its dataset
    first = deliveries.dataset("1")
    report = deliveries.measure("2", first)
    assert verdict(digits_spec, report) == ("pass", [])
    assert report.measures["relabelled_fraction"].n == 1000
    assert report.measures["volume_ratio"].value == pytest.approx(1.797)


def test_the_damaged_delivery_is_stopped_and_the_reason_names_examples(
    deliveries: Deliveries, digits_spec: PipelineSpec
) -> None:
    report = deliveries.measure("damaged", deliveries.dataset("2"))
    said, reasons = verdict(digits_spec, report)
    assert said == "fail"
    assert len(reasons) == 1
    assert reasons[0].startswith("relabelled_fraction 0.2")
    assert "n=1797" in reasons[0]
    assert ".png" in reasons[0]


def test_every_measure_is_described(deliveries: Deliveries) -> None:
    assert set(deliveries.measure("1", None).measures) == set(MEASURES) - set(ON_DEMAND)
    assert set(deliveries.measure("1", None, asked=ON_DEMAND).measures) == set(MEASURES)


def test_a_record_never_changes_its_side_when_more_arrive(deliveries: Deliveries, store: MemoryStore) -> None:
    first, second = deliveries.dataset("1"), deliveries.dataset("2")
    for side in ("train", "validation", "test"):
        assert set(load_split(store, first, side).ids) <= set(load_split(store, second, side).ids)


def test_a_changed_shard_is_refused(deliveries: Deliveries, store: MemoryStore) -> None:
    manifest = deliveries.dataset("1")
    key = manifest.splits["test"][0].key
    data = bytearray(store.get(key))
    data[-1] ^= 1
    store.put(key, bytes(data))
    with pytest.raises(DigestMismatch):
        load_split(store, manifest, "test")


def test_seeding_twice_writes_nothing_and_going_back_removes(raw: MemoryStore) -> None:
    steps: list[tuple[int, int]] = []
    assert seed_digits(raw, "2", on_progress=lambda d, t: steps.append((d, t))) == 1798
    assert steps[-1] == (1798, 1798)
    assert seed_digits(raw, "2", on_progress=lambda d, t: None) == 0
    assert seed_digits(raw, "damaged", on_progress=lambda d, t: None) == 1
    assert seed_digits(raw, "1", on_progress=lambda d, t: None) == 798
    assert {info.key for info in raw.list(PREFIX)} == set(digits_files("1"))
    with pytest.raises(ConfigurationError, match="there are: 1, 2, damaged"):
        digits_files("3")


def test_uploading_keeps_the_structure_of_a_folder(raw: MemoryStore, tmp_path: Any) -> None:
    (tmp_path / "set" / "images").mkdir(parents=True)
    (tmp_path / "set" / "labels.csv").write_text("a")
    (tmp_path / "set" / "images" / "0.png").write_text("b")
    keys = upload_files(raw, "mine/", [tmp_path / "set"], on_progress=lambda d, t: None)
    assert sorted(keys) == sorted(info.key for info in raw.list()) == ["mine/images/0.png", "mine/labels.csv"]
    with pytest.raises(DataError, match="no such file"):
        upload_files(raw, "mine/", [tmp_path / "absent"], on_progress=lambda d, t: None)


def test_what_a_system_keeps_in_a_folder_for_itself_is_no_data(tmp_path: Path) -> None:
    """Neither for who drafts a pipeline nor for who uploads; named by itself it is."""
    raw, names = (
        MemoryStore(),
        ("set/rows.csv", "set/.DS_Store", "set/.ipynb_checkpoints/rows.csv", "set/__MACOSX/a.csv"),
    )
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("a,b\n1,2\n")
    assert upload_files(raw, "mine/", [tmp_path / "set"], on_progress=lambda d, t: None) == ["mine/rows.csv"]
    assert look_at([tmp_path / "set"]).files == (tmp_path / "set/rows.csv",)
    assert hidden_below(tmp_path / "set") == sorted(tmp_path / name for name in names[1:])
    (tmp_path / "set/rows.csv").unlink()
    with pytest.raises(DataError, match="no file to upload, but hidden ones"):
        upload_files(raw, "mine/", [tmp_path / "set"], on_progress=lambda d, t: None)
    assert upload_files(raw, "mine/", [tmp_path / names[1]], on_progress=lambda d, t: None) == ["mine/.DS_Store"]


def test_two_files_of_one_name_and_what_cannot_be_read_are_said_before_anything_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw, names = MemoryStore(), ("a/day.csv", "b/day.csv")
    for name in names:
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("1\n")
    with pytest.raises(DataError, match=r"b/day\.csv and .*a/day\.csv: both would be memory/mine/day\.csv"):
        upload_files(raw, "mine/", [tmp_path / name for name in names], on_progress=lambda d, t: None)

    def closed(_: object, onerror: Callable[[OSError], None]) -> list[object]:
        onerror(PermissionError(13, "Permission denied", "closed"))
        return []

    monkeypatch.setattr("os.walk", closed)
    with pytest.raises(DataError, match="closed: cannot be read: Permission denied; nothing was done"):
        upload_files(raw, "mine/", [tmp_path], on_progress=lambda d, t: None)
    with pytest.raises(DataError, match="closed: cannot be read"):
        look_at([tmp_path])
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(DataError, match=r"day\.csv: cannot be read"):
        upload_files(raw, "mine/", [tmp_path / names[0]], on_progress=lambda d, t: None)
    assert list(raw.list()) == []

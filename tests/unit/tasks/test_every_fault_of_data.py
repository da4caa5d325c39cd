"""Every fault of data that a delivery can have: exit code, one line with the place, whole quarantine, nothing
half-published. A fault of one record sets it aside (0; 4 past the limit; 3 by policy), one of the delivery ends it."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mlratchet.models.data.preprocess import EmptyDatasetError
from mlratchet.models.data.quality.distributions import profile_of_dataset
from mlratchet.models.data.quarantine import newest_quarantine
from mlratchet.models.data.rules import RuleBrokenError
from mlratchet.models.data.snapshot import take_snapshot
from mlratchet.models.decisions.judge_again import verdict_on
from mlratchet.models.decisions.stored_evidence import Basis
from mlratchet.models.errors import DataError, RatchetError, SecurityError
from mlratchet.models.pipeline.loading import parse_pipeline
from mlratchet.models.ports.storage import ObjectInfo
from mlratchet.models.workloads.loading import load_workload
from mlratchet.tasks.steps import validate as step
from PIL import Image

from tests.unit.tasks.conftest import Road
from tests.unit.tasks.test_reading import work_of

GATES = """
data: {split: {test: 0.4}}
train: {global_batch_size: 8}
gates:
  data: [{kind: data, measure: rows, minimum: 1}]
  candidate: [{kind: absolute, metric: accuracy, minimum: 0.5}]
  staging: [{kind: parity, maximum_difference: 0.1}]
  champion: [{kind: absolute, metric: accuracy, minimum: 0.5}]
"""
TABLE = """
name: shop
schema:
  fields:
    price: {kind: number, maximum: 1.0e+30}
    colour: {kind: category, values: [red, blue]}
    day: {kind: time, format: iso}
    user: {kind: entity}
    bought: {kind: category, values: ["no", "yes"]}
  label: bought
source: {prefix: t/, format: FORMAT}
"""
PICTURES = """
name: shop
workload:
  use: mlratchet.models.workloads.vision:ImageClassifier
  parameters: {height: 8, width: 8, channels: 1, classes: ["no", "yes"]}
source: {prefix: t/, format: image_folder}
"""
NUMBERS = """
name: shop
workload:
  use: mlratchet.models.workloads.tabular:TableClassifier
  parameters: {columns: [a, b], classes: ["no", "yes"]}
source: {prefix: t/, format: FORMAT}
"""
HEADER = "price,colour,day,user,bought"
Files = Mapping[str, bytes]


def line(n: int, **cells: str) -> str:
    row = {
        "price": f"{(n * 37) % 101}.5", "colour": ("red", "blue", "blue")[n % 3], "day": f"2026-01-{n % 27 + 1:02d}",
        "user": f"u{n}", "bought": ("no", "yes")[(n * 7) % 5 % 2],
    }  # fmt: skip
    return ",".join((row | cells).values())


def csv(*bad: str, n: int = 60, header: str = HEADER) -> dict[str, bytes]:
    return {"t/rows.csv": "\n".join([header, *(line(at) for at in range(n)), *bad, ""]).encode()}


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    held = io.BytesIO()
    image.save(held, kind, **options)
    return held.getvalue()


def noise(seed: int, size: int = 8) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size, size), dtype=np.uint8))


def folder(**bad: bytes) -> dict[str, bytes]:
    good = {f"t/{('no', 'yes')[n % 2]}/{n}.png": encoded(noise(n)) for n in range(40)}
    return good | {f"t/no/{name.replace('__', '.')}": data for name, data in bad.items()}


def parquet(**columns: Any) -> bytes:
    held = io.BytesIO()
    table = {"a": [n * 1.5 for n in range(60)], "b": [float(n % 7) for n in range(60)],
             "label": [("no", "yes")[n * 7 % 5 % 2] for n in range(60)]}  # fmt: skip
    pq.write_table(pa.table(table | columns), held)
    return held.getvalue()


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Of one record: set aside by a rule, at a place."""

    files: Callable[[], Files]
    rule: str
    where: tuple[str, int | None]  # key and row
    field: str = ""
    pipeline: str = TABLE.replace("FORMAT", "csv")


def nul(text: str) -> Files:
    return {"t/rows.csv": csv()["t/rows.csv"] + text.encode("latin-1")}


ROWS = ("rows.csv", 62)
RECORDS = {
    "truncated image": Fault(
        files=lambda: folder(x__png=encoded(noise(99, 80))[:900]), rule="truncated_image", where=("no/x.png", None),
        pipeline=PICTURES,
    ),
    "content unlike its extension": Fault(
        files=lambda: folder(x__png=encoded(noise(98), "JPEG")), rule="content_unlike_extension",
        where=("no/x.png", None), pipeline=PICTURES,
    ),
    "picture bomb": Fault(
        files=lambda: folder(x__png=encoded(Image.new("1", (9000, 9000)))), rule="too_many_pixels",
        where=("no/x.png", None), pipeline=PICTURES,
    ),
    "ragged row": Fault(files=lambda: csv("1,red"), rule="ragged_row", where=ROWS),
    "bad encoding": Fault(files=lambda: nul("1,r\xff,2026-01-01,u,no\n"), rule="bad_encoding", where=ROWS),
    "NUL byte": Fault(files=lambda: nul("1,r\0d,2026-01-01,u,no\n"), rule="nul_byte", where=ROWS),
    "parquet without footer": Fault(
        files=lambda: {"t/a.parquet": parquet(), "t/b.parquet": parquet()[:-8]}, rule="not_a_parquet",
        where=("b.parquet", None), pipeline=NUMBERS.replace("FORMAT", "parquet"),
    ),
    "new category": Fault(
        files=lambda: csv(line(60, colour="green")), rule="unknown_value", where=ROWS, field="colour"
    ),
    "NaN in a feature": Fault(files=lambda: csv(line(60, price="nan")), rule="non_finite", where=ROWS, field="price"),
    "infinity": Fault(files=lambda: csv(line(60, price="-inf")), rule="non_finite", where=ROWS, field="price"),
    "overflow": Fault(files=lambda: csv(line(60, price="1e39")), rule="overflow", where=ROWS, field="price"),
    "label out of range": Fault(
        files=lambda: csv(line(60, bought="perhaps")), rule="unknown_label", where=ROWS, field="bought"
    ),
    "no number": Fault(files=lambda: csv(line(60, price="dear")), rule="not_a_number", where=ROWS, field="price"),
}  # fmt: skip


@pytest.fixture(autouse=True)
def unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step, "show_markdown", lambda *_: None)
    monkeypatch.setattr(step, "show_table", lambda *_: None)


def run_of(road: Road, pipeline: str, quality: str = "") -> Any:
    run = road.run()
    run.spec = parse_pipeline(pipeline + GATES + (f"quality: {{rules: {{{quality}}}}}\n" if quality else ""), where="t")
    run.workload = load_workload(run.spec.workload.use, dict(run.spec.workload.parameters))
    return run


def validated(road: Road, run: Any, files: Files) -> tuple[int, str]:
    """The exit code of a run that ends at the data gate, and its line."""
    for key in [info.key for info in road.raw.list()]:
        road.raw.delete(key)
    for key, data in files.items():
        road.raw.put(key, data)
    try:
        snapshot = take_snapshot(road.raw, road.store, prefix="t/")
        checked = step.validate.fn(run, snapshot, work_of(snapshot))
    except RatchetError as error:
        return error.exit_code, error.line()
    basis = Basis(gate="data", first_model=True, task="classification", class_names=("no", "yes"), now_s=0.0)
    result = verdict_on(run.spec.policy, checked.evidence, basis)
    return (0, "") if result.verdict == "pass" else (4, " ".join(one.reason for one in result.checks))


def ingest_and_validate(road: Road, run: Any) -> Any:
    snapshot = take_snapshot(road.raw, road.store, prefix="t/")
    return step.validate.fn(run, snapshot, work_of(snapshot))


def rooms(road: Road) -> set[str]:
    return {info.key.split("/")[0] for info in road.store.list()}


BEFORE = {"raw", "snapshots", "listings", "indexes", "datasets"}  # what ingest has published, and the road's own
READ = {"quarantine", "readings", "rejects"}
KEPT = {"kept", "pieces"}  # what was read of tables


@pytest.mark.parametrize("name", RECORDS)
def test_a_fault_of_one_record_sets_it_aside_and_ends_the_run_where_the_file_says_so(road: Road, name: str) -> None:
    one = RECORDS[name]
    assert validated(road, run_of(road, one.pipeline), one.files())[0] in (
        (0,) if one.rule != "not_a_parquet" else (0, 4)
    )
    found = newest_quarantine(road.store, "shop")
    assert found is not None
    (reject,) = found.rejects()
    assert (reject["rule"], reject["key"], reject["row"], reject["field"]) == (one.rule, *one.where, one.field)
    assert one.where[0] in reject["reason"]
    for key in [info.key for info in road.store.list() if info.key.split("/")[0] not in ("datasets", "indexes")]:
        road.store.delete(key)
    code, told = validated(road, run_of(road, one.pipeline, f"{one.rule}: error"), one.files())
    assert code == 3
    assert one.where[0] in told
    assert "\n" not in told
    assert f"rule {one.rule} is an error" in told
    assert rooms(road) - KEPT == BEFORE | READ


def test_past_the_limit_the_gate_says_no(road: Road) -> None:
    code, told = validated(road, run_of(road, TABLE.replace("FORMAT", "csv")), csv(*["1,red"] * 4))
    assert code == 4
    assert "4 ragged_row (rows.csv:62" in told
    code, _ = validated(road, run_of(road, TABLE.replace("FORMAT", "csv"), "ragged_row: warn"), csv(*["1,red"] * 4))
    assert code == 0


def many(change: Callable[[int], dict[str, str]], n: int = 200) -> Files:
    return {"t/rows.csv": "\n".join([HEADER, *(line(at, **change(at)) for at in range(n)), ""]).encode()}


def label_of(n: int) -> str:
    return ("no", "yes")[(n * 7) % 5 % 2]


DELIVERIES: dict[str, tuple[Callable[[], Files], str, str]] = {  # fault -> files, rule, words
    "fewer rows than a step takes": (lambda: csv(n=10), "too_few_rows", "global_batch_size 8"),
    "single class": (lambda: many(lambda n: {"bought": "no"}), "single_class", "of class 'no'"),
    "class absent from a split": (
        lambda: many(lambda n: {"bought": "yes" if n == 3 else "no"}), "class_absent_from_split", "has none of 'yes'",
    ),
    "a feature that equals the label": (
        lambda: many(lambda n: {"colour": {"no": "red", "yes": "blue"}[label_of(n)]}), "feature_is_label", "'colour'",
    ),
    "duplicates across splits": (
        lambda: many(lambda n: {"price": "7.5", "colour": "red", "day": "2026-01-01", "user": f"u{n % 100}"}),
        "cross_split_duplicate", "also trained on",
    ),
    "entity overlap": (lambda: many(lambda n: {"user": f"u{n % 9}"}), "entity_overlap", "user: "),
    "time overlap": (lambda: many(lambda n: {}), "time_overlap", "day: records are trained on until 2026-01-27"),
}  # fmt: skip


@pytest.mark.parametrize("name", DELIVERIES)
def test_a_fault_of_the_delivery_ends_the_run_where_it_is_an_error_and_is_told_where_not(
    road: Road, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    files, rule, words = DELIVERIES[name]
    pipeline = TABLE.replace("FORMAT", "csv")
    if rule == "cross_split_duplicate":  # rows without an id of their own are equal on one side
        pipeline = pipeline.replace("label: bought", "label: bought\n  id: nr")
        held = files()["t/rows.csv"].decode().splitlines()
        data = [f"{held[0]},nr", *(f"{row},n{n}" for n, row in enumerate(held[1:]))]
        files = lambda: {"t/rows.csv": "\n".join([*data, ""]).encode()}  # noqa: E731
    code, told = validated(road, run_of(road, pipeline, f"{rule}: error"), files())
    assert code == 3, told
    assert words in told
    assert f"quality.rules.{rule}: warn" in told
    assert rooms(road) - KEPT == BEFORE | READ | {"profiles"}
    with caplog.at_level("WARNING"):
        assert validated(road, run_of(road, pipeline, f"{rule}: warn"), files())[0] == 0
    assert words in caplog.text


class Changing:
    """A source whose objects change while they are read."""

    def __init__(self, road: Road) -> None:
        self._raw, self._reads = road.raw, 0
        self.bucket = road.raw.bucket

    def list(self, prefix: str = "", *, after: str = "") -> Any:
        return self._raw.list(prefix, after=after)

    def get(self, key: str, *, sha256: str | None = None) -> bytes:
        data = self._raw.get(key, sha256=sha256)
        self._raw.put(key, data + b"1,red,2026-01-01,u,no\n")
        return data

    def head(self, key: str) -> ObjectInfo:
        return self._raw.head(key)


FOR_GOOD: dict[str, tuple[Callable[[], Files], type[RatchetError], int, str]] = {
    "empty dataset": (
        lambda: {"t/rows.csv": f"{HEADER}\n1,red\n".encode()}, EmptyDatasetError, 3,
        "0 records can be used, 1 set aside",
    ),
    "no objects": (lambda: {"t-old/rows.csv": b"a"}, DataError, 3, "no objects"),
    "column missing": (lambda: csv(header="price,colour,day,user,sold"), DataError, 3, "column 'bought' is missing"),
    "column renamed": (lambda: csv(header="Preis,color,day,user,bought"), DataError, 3, "column 'price' is missing"),
    "keys that differ in case": (
        lambda: csv() | {"t/Rows.csv": b"a"}, DataError, 3, "differ only in case or Unicode form",
    ),
    "keys in two Unicode forms": (
        lambda: {"t/\u00e9.csv": b"a", "t/e\u0301.csv": b"a"}, DataError, 3, "differ only in case or Unicode form",
    ),
    "decompression bomb": (
        lambda: {"t/rows.csv.gz": gzip.compress(b"price\n" + b"0" * (80 << 20))}, SecurityError, 6,
        r"rows\.csv\.gz: a decompression bomb",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FOR_GOOD)
def test_what_no_policy_makes_usable_ends_the_run(road: Road, name: str) -> None:
    files, kind, code, words = FOR_GOOD[name]
    for key, data in files().items():
        road.raw.put(key, data)
    run = run_of(road, TABLE.replace("FORMAT", "csv"))
    with pytest.raises(kind, match=words) as told:
        ingest_and_validate(road, run)
    assert told.value.exit_code == code
    assert not isinstance(told.value, RuleBrokenError)
    assert rooms(road) <= BEFORE | READ | KEPT


def test_a_column_of_another_type_ends_the_run(road: Road) -> None:
    road.raw.put("t/a.parquet", parquet(label=[n / 2 for n in range(60)]))
    snapshot = take_snapshot(road.raw, road.store, prefix="t/")
    schema = TABLE.replace("FORMAT", "parquet")
    kept = [one for one in schema.splitlines() if not one.strip().startswith(("price", "colour", "day:", "user"))]
    text = "\n".join(kept).replace("  fields:", "  fields:\n    a: {kind: number}").replace("bought", "label")
    with pytest.raises(DataError, match="column 'label': its type is double") as told:
        step.validate.fn(run_of(road, text), snapshot, work_of(snapshot))
    assert told.value.exit_code == 3
    assert rooms(road) <= BEFORE | READ | KEPT


def test_a_source_that_changes_during_the_read_ends_the_run(road: Road) -> None:
    road.raw.put("t/rows.csv", csv()["t/rows.csv"])
    with pytest.raises(DataError, match="source changed during the read") as told:
        take_snapshot(Changing(road), road.store, prefix="t/")  # type: ignore[arg-type]
    assert told.value.exit_code == 3
    assert "snapshots" not in rooms(road)


@pytest.mark.parametrize(
    ("kind", "name"),
    [(tarfile.REGTYPE, "../../x.txt"), (tarfile.REGTYPE, "/x.txt"), (tarfile.SYMTYPE, "a.txt"),
     (tarfile.LNKTYPE, "a.txt"), (tarfile.CHRTYPE, "a.txt")],
)  # fmt: skip
def test_an_archive_that_could_write_elsewhere_ends_the_run(road: Road, kind: bytes, name: str) -> None:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.type, member.linkname, member.size = kind, "/etc/passwd", 0
        archive.addfile(member)
    road.raw.put("t/s.tar", held.getvalue())
    snapshot = take_snapshot(road.raw, road.store, prefix="t/")
    with pytest.raises(SecurityError, match=r"s\.tar") as told:
        step.validate.fn(run_of(road, TABLE.replace("FORMAT", "webdataset")), snapshot, work_of(snapshot))
    assert told.value.exit_code == 6
    assert rooms(road) <= BEFORE


@pytest.mark.parametrize("key", ["t/../x.csv", "t/a\\b.csv", "t/a\0b.csv"])
def test_a_key_that_could_leave_its_place_ends_the_run(road: Road, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    info = ObjectInfo(key=key, size_bytes=1, etag="e", modified_s=0.0)
    monkeypatch.setattr(road.raw, "list", lambda prefix="", after="": iter([info]))
    with pytest.raises(SecurityError, match="rename it") as told:
        take_snapshot(road.raw, road.store, prefix="t/")
    assert told.value.exit_code == 6
    assert not rooms(road) & {"raw", "snapshots"}


def test_a_raw_object_that_was_changed_ends_the_run(road: Road) -> None:
    road.raw.put("t/rows.csv", csv()["t/rows.csv"])
    snapshot = take_snapshot(road.raw, road.store, prefix="t/")
    road.store.put(f"raw/{snapshot.objects[0].sha256}", b"other")
    road.raw.put("t/rows.csv", b"gone, too")
    with pytest.raises(SecurityError, match=r"holds other bytes than what was delivered as t/rows\.csv") as told:
        step.validate.fn(run_of(road, TABLE.replace("FORMAT", "csv")), snapshot, work_of(snapshot))
    assert told.value.exit_code == 6


@pytest.mark.parametrize(
    ("image", "options"),
    [
        (noise(1).convert("RGB").convert("CMYK"), {"kind": "TIFF"}),
        (Image.fromarray((np.arange(64, dtype=np.uint16) * 1000).reshape(8, 8)), {"kind": "PNG"}),
    ],
    ids=["CMYK", "16 bits"],
)
def test_what_is_converted_is_used_with_a_remark_or_set_aside(road: Road, image: Image.Image, options: Any) -> None:
    suffix = "tif" if options["kind"] == "TIFF" else "png"
    files = folder(**{f"x__{suffix}": encoded(image, options["kind"])})
    run = run_of(road, PICTURES)
    assert validated(road, run, files)[0] == 0
    assert f"1 converted (no/x.{suffix})" in run.reading
    assert validated(road, run_of(road, PICTURES, "converted: quarantine"), files)[0] == 0
    found = newest_quarantine(road.store, "shop")
    assert found is not None
    assert [one["rule"] for one in found.rejects()] == ["converted"]
    code, told = validated(road, run_of(road, PICTURES, "converted: error"), files)
    assert (code, "rule converted is an error" in told) == (3, True)


def test_a_turned_picture_is_used_as_it_is_shown(road: Road) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    files = folder(x__jpg=encoded(noise(3), "JPEG", exif=exif))
    assert validated(road, run_of(road, PICTURES), files)[0] == 0


def test_a_shift_of_a_distribution_is_an_error_where_the_file_says_so(
    road: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against the profile of the champion's dataset."""
    run = run_of(road, TABLE.replace("FORMAT", "csv"), "distribution_shift: error, new_category: error")
    assert validated(road, run, many(lambda n: {}))[0] == 0
    reference = profile_of_dataset(road.store, "d" * 64)
    assert reference is not None
    road.raw.put("t/rows.csv", many(lambda n: {"price": f"{n + 500}.5"})["t/rows.csv"])
    snapshot = take_snapshot(road.raw, road.store, prefix="t/")
    asked = step.asked_of(run, work_of(snapshot), frozenset())
    monkeypatch.setattr(step, "asked_of", lambda *_: replace(asked, reference=reference))
    with pytest.raises(RuleBrokenError, match=r"price 0\.8") as told:
        step.validate.fn(run, snapshot, work_of(snapshot))
    assert told.value.exit_code == 3

"""Formats: each has its own options, an option of another is refused with the nearest name, and all give examples."""

from __future__ import annotations

import ast
import inspect
import io
import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.data.preprocess import read_dataset_records
from mlratchet.models.data.snapshot import take_snapshot
from mlratchet.models.errors import ConfigurationError, DataError
from mlratchet.models.pipeline.checking import check_gates, check_source
from mlratchet.models.pipeline.loading import parse_pipeline
from mlratchet.models.pipeline.spec import PipelineSpec
from mlratchet.models.pipeline.store import load_pipeline, publish_pipeline
from mlratchet.models.sources.base import Example, Format, NumberOptions
from mlratchet.models.sources.csv import Csv
from mlratchet.models.sources.formats import FORMATS, format_of
from mlratchet.models.sources.record import RawObject, Record, Reject
from mlratchet.models.workloads.loading import load_workload
from PIL import Image

from tests.conftest import REPOSITORY

TABLE = ("mlratchet.models.workloads.tabular:TableClassifier", "{columns: [a, b], classes: ['no', 'yes']}")
PICTURES = ("mlratchet.models.workloads.vision:ImageClassifier", "{classes: [cat, dog], height: 8, width: 8}")


def spec_of(workload: tuple[str, str], source: str) -> PipelineSpec:
    gates = (REPOSITORY / "docs" / "examples" / "two_layers" / "two-layers.yaml").read_text().partition("gates:")[2]
    use, parameters = workload
    head = f"name: p\nworkload: {{use: '{use}', parameters: {parameters}}}\nsource: {{prefix: p/, {source}}}\n"
    return parse_pipeline(f"{head}gates:{gates}", where="p.yaml")


def read(workload: tuple[str, str], source: str, files: dict[str, bytes]) -> tuple[list[Record], list[Reject]]:
    raw, store = MemoryStore(), MemoryStore()
    for key, data in files.items():
        raw.put(f"p/{key}", data)
    spec = spec_of(workload, source)
    loaded = load_workload(spec.workload.use, dict(spec.workload.parameters))
    check_source(spec, loaded)
    records, rejects = read_dataset_records(store, take_snapshot(raw, store, prefix="p/"), loaded, spec.source)
    return list(records), rejects


def png(value: int) -> bytes:
    sink = io.BytesIO()
    Image.new("RGB", (8, 8), (value,) * 3).save(sink, "PNG")
    return sink.getvalue()


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("format: csv, labels: l.csv", r"p\.yaml:3: source: unknown key 'labels'; did you mean 'label_column'\?"),
        ("format: csv, file_column: f", "source: unknown key 'file_column'"),
        ("format: images, lables: l.csv", r"unknown key 'lables'; did you mean 'labels'\?"),
        (
            "format: image_folder, label_column: x",
            "unknown key 'label_column'; known here: bucket, format, inference_log, prefix, select",
        ),
        ("format: parket", r"p\.yaml:3: source: unknown format; there are csv, images, .*, or package"),
        ("lable_column: x", r"unknown key 'lable_column'; did you mean 'label_column'\?"),
    ],
)
def test_an_option_that_the_format_does_not_have_is_refused_with_line_and_nearest_name(source: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        spec_of(PICTURES, source)


@pytest.mark.parametrize(
    ("workload", "source", "words"),
    [
        (TABLE, "labels: l.csv", r"source\.labels: no option of format csv; did you mean 'label_column'\?"),
        (TABLE, "format: images", "images is not read by the workload, which reads csv, parquet, jsonl, joined"),
        (
            PICTURES,
            "format: csv",
            "csv is not read by the workload, which reads images, image_folder, webdataset, joined",
        ),
        (TABLE, "format: 'no_such_module:Fixed'", "cannot import no_such_module"),
    ],
)
def test_a_format_that_the_workload_does_not_read_is_refused(workload: Any, source: str, words: str) -> None:
    spec = spec_of(workload, source)
    with pytest.raises(ConfigurationError, match=words):
        check_source(spec, load_workload(spec.workload.use, dict(spec.workload.parameters)))


def test_without_a_format_it_is_the_one_that_the_workload_reads() -> None:
    words = []
    for workload, source in ((TABLE, ""), (PICTURES, "labels: l.csv"), (PICTURES, "format: image_folder")):
        spec = spec_of(workload, source)
        words.append(check_source(spec, load_workload(spec.workload.use, dict(spec.workload.parameters))))
    assert words == [
        "p/ as csv, which the workload reads",
        "p/ as images, which the workload reads",
        "p/ as image_folder",
    ]


@pytest.mark.parametrize("source", ["", "format: csv"])
def test_a_published_pipeline_is_read_with_the_same_source(source: str) -> None:
    store, spec = MemoryStore(), spec_of(TABLE, source)
    again = load_pipeline(store, publish_pipeline(store, spec))
    assert again.source == spec.source
    check_source(again, load_workload(spec.workload.use, dict(spec.workload.parameters)))


def test_the_folder_of_a_picture_is_its_class() -> None:
    files = {"cat/1.png": png(10), "cat/old/2.png": png(20), "dog/1.png": png(30), "bird/1.png": png(40)}
    records, rejects = read(
        PICTURES, "format: image_folder", {**files, "stray.png": png(50), "dog/x.png": b"no picture"}
    )
    assert [(r.id, r.y) for r in records] == [("cat/1.png", 0), ("cat/old/2.png", 0), ("dog/1.png", 1)]
    assert records[2].x == pytest.approx(np.full((3, 8, 8), 30 / 255, np.float32))
    assert {(r.where, r.code) for r in rejects} == {
        ("bird/1.png", "unknown_label"), ("stray.png", "no_class"), ("dog/x.png", "not_an_image"),
    }  # fmt: skip


def test_pictures_without_any_folder_are_refused() -> None:
    with pytest.raises(DataError, match="p/: no folder; expected objects named class/file"):
        read(PICTURES, "format: image_folder", {"1.png": png(1)})


def test_a_picture_whose_row_is_bad_is_set_aside_once() -> None:
    """Records read and set aside are as many as the delivery holds: a file was counted for itself and for its row."""
    labels = b"file,label\na.png,cat\nb.png,horse\nc.png,\n"
    records, rejects = read(PICTURES, "", {"labels.csv": labels, "a.png": png(1), "b.png": png(2), "c.png": png(3)})
    assert len(records) == 1
    assert [(r.where, r.code) for r in rejects] == [
        ("labels.csv:3", "unknown_label"), ("labels.csv:4", "missing_label"),
    ]  # fmt: skip


def test_named_and_unnamed_formats_give_the_same_records() -> None:
    table = {"a.csv": b"a;b;label;site\n1,5;2;yes;n\n3;4;no;s\n"}
    pictures = {"labels.csv": b"file,label,site\na.png,cat,n\n", "a.png": png(1)}
    for workload, name, files in ((TABLE, "csv", table), (PICTURES, "images", pictures)):
        unnamed, named = (read(workload, source, files)[0] for source in ("", f"format: {name}"))
        for ours, theirs in zip(unnamed, named, strict=True):
            assert (ours.id, ours.y, ours.columns, ours.content_sha256) == (
                theirs.id, theirs.y, theirs.columns, theirs.content_sha256,
            )  # fmt: skip
            assert "site" in ours.columns


class FixedOptions(NumberOptions):
    format: str
    widths: tuple[int, ...]


class Fixed(Format):
    """Columns a, b and label of fixed widths."""

    name = "fixed"
    Options = FixedOptions
    options: FixedOptions

    def read(self, objects: list[RawObject], fetch: Any, *, columns: Sequence[str]) -> Iterator[Example | Reject]:
        for item in objects:
            for number, line in enumerate(fetch(item).decode().splitlines(), start=1):
                ends = np.cumsum(self.options.widths)
                cells = [line[end - width : end].strip() for end, width in zip(ends, self.options.widths, strict=True)]
                yield Example(where=f"{item.key}:{number}", values=dict(zip(("a", "b", "label"), cells, strict=True)))


@pytest.fixture
def fixed(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("fixed_width")
    module.Fixed = Fixed  # type: ignore[attr-defined]  # a user's module
    monkeypatch.setitem(sys.modules, "fixed_width", module)


def test_a_users_own_format_is_named_by_its_class(fixed: None) -> None:
    spec = spec_of(TABLE, "format: 'fixed_width:Fixed', widths: [4, 4, 3]")
    assert check_gates(spec, load_workload(spec.workload.use, dict(spec.workload.parameters))) is not None
    records, rejects = read(
        TABLE, "format: 'fixed_width:Fixed', widths: [4, 4, 3]", {"a.dat": b"1.5 2   yes\n3   x   no \n"}
    )
    assert [(r.x.tolist(), r.y) for r in records] == [([1.5, 2.0], 1)]
    assert [(r.where, r.code) for r in rejects] == [("a.dat:2", "not_a_number")]
    with pytest.raises(ConfigurationError, match=r"source\.widths"):
        read(TABLE, "format: 'fixed_width:Fixed', widths: wide", {})
    with pytest.raises(
        ConfigurationError, match=r"source\.width: no option of format fixed_width:Fixed; did you mean 'w"
    ):
        read(TABLE, "format: 'fixed_width:Fixed', width: [1]", {})
    with pytest.raises(ConfigurationError, match=r"no subclass of Format with this name; did you mean 'Fixed'\?"):
        read(TABLE, "format: 'fixed_width:Fixd'", {})


class Tilde(Csv):
    """A built-in format with something done first: its options are those of CSV."""

    name = "tilde"

    def read(self, objects: list[RawObject], fetch: Any, *, columns: Sequence[str]) -> Iterator[Example | Reject]:
        return super().read(objects, lambda item: fetch(item).replace(b"~", b","), columns=columns)


def test_a_format_may_extend_a_built_in_one_with_its_options(fixed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["fixed_width"], "Fixed", Tilde)
    source = "format: 'fixed_width:Fixed', label_column: y"
    records, rejects = read(TABLE, source, {"a.csv": b"a~b~y\n1~2~yes\n"})
    assert ([(r.x.tolist(), r.y) for r in records], rejects) == ([([1.0, 2.0], 1)], [])
    with pytest.raises(ConfigurationError, match=r"source\.lable_column: no option of format fixed_width:Fixed"):
        read(TABLE, "format: 'fixed_width:Fixed', lable_column: y", {})


class Loose(Fixed):
    """Gives what a workload did not ask for: a cell that is no text, a row without the column."""

    def read(self, objects: list[RawObject], fetch: Any, *, columns: Sequence[str]) -> Iterator[Example | Reject]:
        for one in super().read(objects, fetch, columns=columns):
            assert isinstance(one, Example)
            row = one.where.rpartition(":")[2]
            changes: dict[str, dict[str, Any]] = {"2": {"a": 1.5}, "3": {"a": ["1"]}}
            values = dict(one.values) | changes.get(row, {})
            yield replace(one, values={name: cell for name, cell in values.items() if row != "4" or name != "b"})


def test_what_a_users_format_gives_amiss_is_about_that_record(fixed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["fixed_width"], "Fixed", Loose)
    data = b"1,5 2   yes\n1,5 3   no \n1,5 4   no \n1,5 4   no \n"
    records, rejects = read(TABLE, "format: 'fixed_width:Fixed', widths: [4, 4, 3], decimal: ','", {"a.dat": data})
    assert [one.x.tolist() for one in records] == [[1.5, 2.0]]
    assert [(one.where, one.code) for one in rejects] == [
        ("a.dat:2", "not_text"), ("a.dat:3", "not_text"), ("a.dat:4", "missing_value"),
    ]  # fmt: skip


class Raises(Fixed):
    """Raises what it should give, or makes it wrongly."""

    amiss: Any = staticmethod(lambda where: Reject(where=where, reason="no"))

    def read(self, objects: list[RawObject], fetch: Any, *, columns: Sequence[str]) -> Iterator[Example | Reject]:
        for one in super().read(objects, fetch, columns=columns):
            assert isinstance(one, Example)
            if one.where.endswith(":3"):
                raise self.amiss(one.where)
            yield one


@pytest.mark.parametrize(
    ("amiss", "words"),
    [
        (lambda where: Reject(where=where, reason="no"), "argument: 'code'"),  # type: ignore[call-arg]  # as a user would
        (lambda where: Reject(where=where, reason="no", code="odd"), "exceptions must derive"),
        (KeyError, "KeyError"),
    ],
)
def test_what_a_users_format_raises_names_the_format_the_line_and_the_row_before(
    fixed: None, monkeypatch: pytest.MonkeyPatch, amiss: Any, words: str
) -> None:
    monkeypatch.setattr(Raises, "amiss", staticmethod(amiss))
    monkeypatch.setattr(sys.modules["fixed_width"], "Fixed", Raises)
    with pytest.raises(DataError) as caught:
        read(TABLE, "format: 'fixed_width:Fixed', widths: [4, 4, 3]", {"a.dat": b"1.5 2   yes\n" * 4})
    said = str(caught.value)
    assert said.startswith("Raises cannot read the delivery: ")
    assert words in said
    assert "(test_formats.py:" in said
    assert "after a.dat:2; give what cannot be read: yield Reject(where='file:row', code=" in said


def documented(kind: type) -> set[str]:
    """The fields of a class and its bases that have a docstring behind them."""
    found = set()
    for one in kind.__mro__:
        if one.__module__.startswith("mlratchet"):
            (parsed,) = ast.parse(textwrap.dedent(inspect.getsource(one))).body
            assert isinstance(parsed, ast.ClassDef)
            for field, said in pairwise(parsed.body):
                if isinstance(field, ast.AnnAssign) and isinstance(said, ast.Expr):
                    found.add(ast.unparse(field.target))
    return found


def test_every_format_says_what_each_of_its_options_is() -> None:
    for kind in map(format_of, FORMATS):
        assert kind.__doc__
        silent = set(kind.Options.model_fields) - documented(kind.Options) - {"format", "label_column"}
        assert silent == set(), kind.name

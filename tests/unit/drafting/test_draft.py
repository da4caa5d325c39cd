"""`ratchet init`: a file that works, of whatever lies there, or one line that says why not."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.data.preprocess import read_dataset_records
from mlratchet.models.data.snapshot import take_snapshot
from mlratchet.models.drafting.delivery import look_at
from mlratchet.models.drafting.draft import draft, name_from
from mlratchet.models.errors import ConfigurationError, DataError
from mlratchet.models.pipeline.checking import check_gates, check_source
from mlratchet.models.pipeline.loading import parse_pipeline
from mlratchet.models.pipeline.spec import PipelineSpec
from mlratchet.models.schema.infer import infer
from mlratchet.models.sources.record import RawObject, Record
from mlratchet.models.workloads.loading import load_workload
from PIL import Image
from sklearn import datasets

ROWS = 60
NAMES = st.lists(
    st.text(st.characters(categories=["L", "N", "P", "Zs"], codec="utf-8"), min_size=1, max_size=8)
    .map(lambda one: one.strip())
    .filter(lambda one: one and not one.startswith("@") and one.isprintable() and '"' not in one),
    min_size=2, max_size=4, unique_by=lambda one: one.casefold(),
)  # fmt: skip


def written(
    path: Path, header: list[str], rows: list[list[Any]], *, delimiter: str = ",", encoding: str = "utf-8"
) -> Path:
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter).writerows([header, *rows])
    path.write_bytes(text.getvalue().encode(encoding))
    return path


def checked(file: Path, **asked: Any) -> tuple[PipelineSpec, list[Record], int]:
    """What `ratchet validate` looks at without training, and the rows as a run reads them."""
    drafted = draft([file], **asked)
    spec = parse_pipeline(drafted.text, where="drafted.yaml")
    workload = load_workload(spec.workload.use, dict(spec.workload.parameters))
    check_gates(spec, workload)
    check_source(spec, workload)
    data = file.read_bytes()
    item = RawObject(key=file.name, size_bytes=len(data), sha256="0" * 64)
    read = list(workload.records([item], lambda _: data, spec.source.model_dump(mode="json")))
    records = [one for one in read if isinstance(one, Record)]
    return spec, records, len(read) - len(records)


@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer", "diabetes"])
def test_tables_of_scikit_learn_are_read_whole(name: str, tmp_path: Path) -> None:
    bunch = getattr(datasets, f"load_{name}")()
    names = [str(one) for one in getattr(bunch, "target_names", [])]
    target = [names[value] if names else value for value in bunch.target.tolist()]
    rows = [[*values, y] for values, y in zip(bunch.data.tolist(), target, strict=True)]
    spec, records, aside = checked(written(tmp_path / f"{name}.csv", [*map(str, bunch.feature_names), "target"], rows))
    assert (len(records), aside) == (len(rows), 0)
    assert list(spec.workload.parameters["columns"]) == [str(one) for one in bunch.feature_names]
    assert spec.example_schema is not None
    assert spec.example_schema.label == "target"
    assert spec.name == name.replace("_", "-")
    floor = next(check for check in spec.gates.candidate if check.kind == "absolute")
    assert floor.subject == ("r2" if name == "diabetes" else "accuracy")
    assert 0.2 < floor.minimum < 0.99  # type: ignore[attr-defined]  # of the kind that was asked for


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=NAMES,
    delimiter=st.sampled_from([",", ";", "\t"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    comma=st.booleans(),
    gaps=st.sampled_from(["", "NA", "?"]),
    regression=st.booleans(),
    seed=st.integers(0, 99),
)
def test_any_small_table_gives_a_file_by_which_it_is_read(
    tmp_path: Path, names: list[str], delimiter: str, encoding: str, comma: bool, gaps: str, regression: bool, seed: int
) -> None:
    random = np.random.default_rng(seed)
    x = random.normal(size=(ROWS, len(names))).round(3)
    cells = [[f"{value:.3f}".replace(".", ",") if comma else f"{value:.3f}" for value in row] for row in x]
    for row in cells[:20]:
        row[-1] = gaps  # a column of which a third is not given
    y = [f"{value:.2f}" for value in x[:, 0] * 3] if regression else random.choice(["nein", "ja"], ROWS).tolist()
    header = [*names, "das Ziel"]
    file = written(
        tmp_path / "t.csv",
        header,
        [[*row, one.replace(".", ",") if comma else one] for row, one in zip(cells, y, strict=True)],
        delimiter=delimiter,
        encoding=encoding,
    )
    try:
        spec, records, aside = checked(file, labels=["das Ziel"])
    except DataError as error:  # the only way out: what is left tells the label
        told = str(error)
    else:
        told = ""
    if told:
        assert regression
        assert "no column to learn from" in told
        return
    assert (len(records), aside) == (ROWS, 0)
    assert spec.example_schema is not None
    inputs = spec.example_schema.inputs.values()
    assert {field.kind for field in inputs} == {"number"}
    assert spec.workload.use.endswith(":SchemaWorkload") == any(field.nullable for field in inputs)


def shop(tmp_path: Path) -> Path:
    random = np.random.default_rng(3)
    rows = [
        [f"B-{n}", f"{1 + n % 28:02d}.{1 + n % 12:02d}.2026 10:{n % 60:02d}", ["DE", "AT", ""][n % 3],
         f"{random.uniform(1, 99):.2f}".replace(".", ","), int(random.integers(1, 6)), "" if n % 9 == 0 else 20 + n % 9,
         ["", "Hinterhof,\n2. Stock"][n % 2], ["ja", "nein"][int(random.integers(2))]]
        for n in range(200)
    ]  # fmt: skip
    header = ["Bestellnr", "Bestelldatum", "Land", "Preis (€)", "Menge", "Alter", "Notiz", "Retoure"]
    return written(tmp_path / "Shop Export 2026.csv", header, rows, encoding="utf-8-sig")


def test_a_shop_table_is_learnt_from_with_its_words_gaps_and_dates(tmp_path: Path) -> None:
    file = shop(tmp_path)
    spec, records, aside = checked(file)
    assert (spec.name, spec.workload.use.rpartition(":")[2]) == ("shop-export-2026", "SchemaWorkload")
    assert (len(records), aside) == (200, 0)
    schema = spec.example_schema
    assert schema is not None
    assert (schema.label, schema.id, schema.time) == ("Retoure", "Bestellnr", "Bestelldatum")
    inputs = {name: one.kind for name, one in schema.inputs.items()}
    assert inputs == {
        "Bestelldatum": "time", "Land": "category", "Preis (€)": "number", "Menge": "number", "Alter": "number",
    }  # fmt: skip
    assert not schema.fields["Notiz"].input, "it never says but one thing"
    assert (schema.fields["Preis (€)"].decimal, schema.fields["Menge"].decimal) == (",", ",")
    assert schema.fields["Bestelldatum"].format == "%d.%m.%Y %H:%M"
    assert {name for name, one in schema.inputs.items() if one.nullable} == {"Land", "Alter"}
    assert schema.fields["Retoure"].values == ("ja", "nein")
    assert "# 2 different words, 33% not given" in draft([file]).text


def test_what_breaks_a_rule_is_told_and_allowed_for(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    rows = [["AB"[n % 2], f"{random.normal():.4f}", "" if n % 10 == 0 else "xy"[n * 7 % 3 % 2]] for n in range(120)]
    file = written(tmp_path / "gaps.csv", ["word", "amount", "class"], rows)
    spec, records, aside = checked(file)
    assert (len(records), aside) == (108, 12)
    words = "12 of 120 rows break a rule of the schema and are set aside: gaps.csv:2: label 'class': empty"
    assert any(one.startswith(words) for one in draft([file]).notes)
    (bound,) = [check for check in spec.gates.data if check.subject == "rejected_fraction"]
    assert bound.maximum == 0.15  # type: ignore[attr-defined]  # of the kind that was asked for


def test_another_label_and_another_name(tmp_path: Path) -> None:
    spec, _, _ = checked(shop(tmp_path), labels=["Menge"], name="menge")
    assert (spec.name, spec.source.prefix) == ("menge", "menge/")
    assert load_workload(spec.workload.use, dict(spec.workload.parameters)).task == "regression"
    with pytest.raises(DataError, match="did you mean 'Menge'"):
        draft([shop(tmp_path)], labels=["Mnege"])
    with pytest.raises(ConfigurationError, match="--name 'Große Menge': expected small letters"):
        draft([shop(tmp_path)], name="Große Menge")


def test_unbalanced_classes_are_judged_by_more_than_accuracy(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=400)
    rows = [[f"{value:.3f}", "1" if value > 1.5 else "0"] for value in x]
    spec, _, _ = checked(written(tmp_path / "rare.csv", ["x", "y"], rows))
    assert {check.subject for check in spec.gates.candidate} == {"roc_auc"}


@pytest.mark.parametrize(("rows", "promised"), [(150, False), (300, True)])
def test_a_number_of_few_rows_is_told_when_its_model_can_be_replaced(rows: int, promised: bool, tmp_path: Path) -> None:
    """The gate is inconclusive below 59 test rows, whatever they show."""
    x = np.random.default_rng(0).normal(size=rows)
    table = [[f"{value:.4f}", f"{3 * value + 1 / (2 + abs(value)):.4f}"] for value in x]
    text = draft([written(tmp_path / "few.csv", ["x", "y"], table)]).text
    assert ("holds every next model below 59 test rows, 197 rows in all" in text) is not promised
    assert ("`ratchet validate` computes what can be shown" in text) is promised


def test_several_files_are_one_delivery_and_have_the_same_columns(tmp_path: Path) -> None:
    rows = [[f"{n * 37 % 101 / 7:.3f}", ["a", "b"][n % 2]] for n in range(ROWS)]
    for name in ("1.csv", "2.csv"):
        written(tmp_path / name, ["x", "y"], rows)
    (tmp_path / "readme.md").write_text("not a table")
    drafted = draft([tmp_path], name="both")
    assert "120 rows" in drafted.text
    assert any("1 files are of another kind" in note for note in drafted.notes)
    written(tmp_path / "3.csv", ["x", "z"], rows)
    with pytest.raises(DataError, match=r"3.csv: has other columns than .*1.csv: y, z"):
        draft([tmp_path], name="both")


def test_a_folder_of_pictures(tmp_path: Path) -> None:
    folder = tmp_path / "Tiere"
    for number in range(50):
        place = folder / ["Hund", "Katze"][number % 2] / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (20, 12), number).save(place)
    (folder / "lose.png").write_bytes(b"none")
    drafted = draft([folder])
    spec = parse_pipeline(drafted.text, where="tiere.yaml")
    workload = load_workload(spec.workload.use, dict(spec.workload.parameters))
    check_gates(spec, workload)
    check_source(spec, workload)
    assert workload.input_spec().shape == (1, 12, 20)
    assert workload.class_names() == ("Hund", "Katze")
    assert "1 pictures lie in no folder: they are set aside" in drafted.notes
    shown = infer(look_at([folder]).table).schema
    assert {name: one.kind for name, one in shown.fields.items()} == {"picture": "image", "label": "category"}
    assert shown.label == "label"
    with pytest.raises(DataError, match="the label of pictures is the folder"):
        draft([folder], labels=["x"])
    with pytest.raises(DataError, match="the pictures lie in 0 folders; expected one per class"):
        draft([folder / "Hund"])


def test_what_nothing_can_be_learnt_from_is_one_line(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [1.0, 2.0]}), tmp_path / "a.parquet")
    (tmp_path / "b.jsonl").write_text('{"x": 1}\n')
    (tmp_path / "c.fasta").write_text(">a one\nACGT\nAC\n")
    for name in ("a.parquet", "b.jsonl"):
        with pytest.raises(DataError, match="no column to learn from: 'x'"):
            draft([tmp_path / name])
    with pytest.raises(DataError, match="no column to learn from: 'id' no input: always 'a'; 'sequence'"):
        draft([tmp_path / "c.fasta"])
    (tmp_path / "f.jsonl").write_text("[1]\n")
    with pytest.raises(DataError, match=r"no row can be used: f.jsonl:1: .*expected a JSON object"):
        draft([tmp_path / "f.jsonl"])
    with pytest.raises(DataError, match="no such file or folder"):
        draft([tmp_path / "none.csv"])
    (tmp_path / "d.docx").write_text("x")
    with pytest.raises(DataError, match=r"nothing that is known; expected files ending in .csv"):
        draft([tmp_path / "d.docx"])


def test_too_few_rows_and_nothing_to_learn_from_are_one_line(tmp_path: Path) -> None:
    ragged = written(tmp_path / "ragged.csv", ["5200", "1", "UniProt"], [["GLW", "1"]] * 3)
    with pytest.raises(DataError, match=r"ragged.csv: no row can be used: ragged.csv:2: got 2 fields, expected 3"):
        draft([ragged])
    few = written(tmp_path / "few.csv", ["x", "y"], [[f"{n}.5", "ab"[n // 3 % 2]] for n in range(10)])
    with pytest.raises(DataError, match="10 rows can be used; expected at least 40"):
        draft([few], labels=["y"])
    words = written(tmp_path / "words.csv", ["a", "y"], [[f"{n % 7}er", ["a", "b"][n % 3 % 2]] for n in range(ROWS)])
    spec, records, _ = checked(words)
    assert len(records) == ROWS
    assert spec.example_schema is not None
    assert [one.kind for one in spec.example_schema.inputs.values()] == ["category"]


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("Übersicht 2026.csv", "ubersicht-2026"),
        ("2026-export.tsv", "data-2026-export"),
        ("日本.csv", "data"),
        ("a.b.csv", "a"),
    ],
)
def test_a_pipeline_is_named_after_its_file(file: str, name: str) -> None:
    assert name_from(Path(file)) == name


def read_as_drafted(drafted: Any, files: dict[str, bytes]) -> tuple[set[Any], int]:
    """Names of the classes of the rows, and how many are set aside."""
    spec = parse_pipeline(drafted.text, where="test")
    raw, store = MemoryStore("raw"), MemoryStore("store")
    for key, data in files.items():
        raw.put(f"{spec.source.prefix}{key}", data)
    workload = load_workload(spec.workload.use, dict(spec.workload.parameters))
    records, rejects = read_dataset_records(
        store, take_snapshot(raw, store, prefix=spec.source.prefix), workload, spec.source
    )
    names = workload.class_names()
    return {names[int(one.y)] for one in records}, len(rejects)  # type: ignore[arg-type]


def numbers_of_classes(kind: str, gap: bool) -> bytes:
    rows = [{"x": number / 7, "b": -float(number), "y": float(number % 3)} for number in range(120)]
    if kind == "csv":
        return ("x,b,y\n" + "".join(f"{one['x']},{one['b']},{one['y']}\n" for one in rows)).encode()
    if gap:
        rows[5]["y"] = None  # type: ignore[assignment]
    if kind == "jsonl":
        return "\n".join(json.dumps(one) for one in rows).encode()
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue()


@pytest.mark.parametrize(("kind", "gap"), [("csv", False), ("jsonl", False), ("parquet", False), ("parquet", True)])
def test_classes_that_are_floats_without_a_fraction_are_read_as_they_are_written(
    tmp_path: Path, kind: str, gap: bool
) -> None:
    data = numbers_of_classes(kind, gap)
    (tmp_path / f"t.{kind}").write_bytes(data)
    drafted = draft([tmp_path / f"t.{kind}"])
    names = {"0.0", "1.0", "2.0"} if kind == "csv" else {"0", "1", "2"}
    assert read_as_drafted(drafted, {f"t.{kind}": data}) == (names, int(gap))


@pytest.mark.parametrize("place", ["{label}/{part}.fa", "{label}/{label}{part}.fasta", "{label}.{part}.fa"])
def test_sequences_are_of_the_class_of_their_folder_or_file(tmp_path: Path, place: str) -> None:
    files = {}
    for number, label in enumerate(("neg", "pos")):
        for part in range(2):
            lines = (f">{label}{part}{n}\n{'ACGT'[n % 4] * (10 + n % 5)}{'GT'[number] * 9}\n" for n in range(40))
            files[place.format(label=label, part=part)] = "".join(lines).encode()
    for key, data in files.items():
        (tmp_path / key).parent.mkdir(exist_ok=True)
        (tmp_path / key).write_bytes(data)
    drafted = draft([tmp_path])
    assert ("label_from: folder" in drafted.text) == ("/" in place)
    assert read_as_drafted(drafted, files) == ({"neg", "pos"}, 0)

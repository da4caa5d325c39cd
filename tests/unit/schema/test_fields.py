"""A schema is read strictly: what it cannot mean is refused, with line and nearest name."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.pipeline.loading import parse_pipeline, read_schema
from mlratchet.models.schema.fields import KINDS, OPTIONS, Field, Schema, bound_us
from pydantic import ValidationError

from tests.conftest import REPOSITORY

ROWS = """name: shop
workload: {use: "mlratchet.models.workloads.tabular:TableClassifier", parameters: {columns: [a], classes: [x, y]}}
source: {prefix: shop/}
gates:
  data: [{kind: data, measure: rows, minimum: 10}]
  candidate: [{kind: absolute, metric: accuracy, minimum: 0.6}]
  staging: [{kind: parity, maximum_difference: 0.001}]
  champion: [{kind: absolute, metric: accuracy, minimum: 0.6}]
"""
SCHEMA = """fields:
  Preis (€): {kind: number, minimum: 0, unit: EUR}
  Land: {kind: category, values: ["NO", DE], nullable: true}
  wann: {kind: time, input: false, dayfirst: true}
  Retoure: {kind: category, values: [ja, nein]}
label: Retoure
id: Bestellnr
time: wann
missing: ["NA", "-"]
"""


def schema_file(folder: Path, text: str) -> Path:
    path = folder / "schema.yaml"
    path.write_text(text)
    return path


def indented(text: str) -> str:
    return "schema:\n" + "".join(f"  {line}\n" for line in text.splitlines())


def refused(text: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        parse_pipeline(ROWS + indented(text), where="shop.yaml")
    return str(caught.value)


def test_a_schema_in_the_pipeline_file_and_beside_it_are_the_same(tmp_path: Path) -> None:
    inside = parse_pipeline(ROWS + indented(SCHEMA), where="shop.yaml")
    schema_file(tmp_path, SCHEMA)
    beside = parse_pipeline(ROWS + "schema: schema.yaml\n", where="shop.yaml", folder=tmp_path)
    assert inside.example_schema is not None
    assert inside.example_schema == beside.example_schema
    assert inside.revision() == beside.revision()
    assert list(inside.example_schema.inputs) == ["Preis (€)", "Land"]
    assert inside.example_schema.missing_in("Land") == ("NA", "-")
    assert inside.example_schema.columns == ("Preis (€)", "Land", "wann", "Retoure", "Bestellnr")


def test_what_is_published_is_read_again_and_a_file_without_a_schema_keeps_its_revision() -> None:
    spec = parse_pipeline(ROWS + indented(SCHEMA), where="shop.yaml")
    document = spec.model_dump(mode="json")
    assert document["schema"]["label"] == "Retoure"
    assert type(spec).model_validate_json(spec.model_dump_json()) == spec
    assert "schema" not in parse_pipeline(ROWS, where="shop.yaml").model_dump(mode="json")


@pytest.mark.parametrize(
    ("before", "after", "line", "words"),
    [
        ("label: Retoure", "label: Retuore", 15, "no field 'Retuore'; did you mean 'Retoure'?"),
        ("time: wann", "time: Land", 17, "field 'Land' is a category, expected kind: time"),
        ("kind: number, minimum", "kind: number, minimun", 11, "unknown key 'minimun'; did you mean 'minimum'?"),
        ("kind: number", "kind: numbers", 11, "got 'numbers'"),
        ("minimum: 0", "maximum: cheap", 11, "expected a number"),
        ('["NO", DE]', "[NO, DE]", 12, 'YAML reads NO as a truth value (False), expected text; write "NO"'),
        ("  Land:", "  NO:", 12, 'YAML reads NO as a truth value (False), expected text; write "NO"'),
        ("id: Bestellnr", "id: 2020-01-01", 16, 'expected text; write "2020-01-01"'),
        ('["NA", "-"]', "[~, 0]", 18, 'YAML reads 0 as a number (0), expected text; write "0"'),
        ("dayfirst: true", "dayfirst: true, format: iso", 13, "leave one of format and dayfirst out"),
        ("dayfirst: true", 'format: "%d.%q.%Y"', 13, "%q is not read"),
        ("kind: time, ", "kind: text, ", 13, "a text has no dayfirst; it has missing"),
        ("Bestellnr", "Retoure", 16, "column 'Retoure' is the label"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_line(before: str, after: str, line: int, words: str) -> None:
    assert before in SCHEMA
    told = refused(SCHEMA.replace(before, after, 1))
    assert words in told
    assert f"shop.yaml:{line}: schema" in told


def test_a_mistake_beside_names_both_files(tmp_path: Path) -> None:
    schema_file(tmp_path, SCHEMA.replace("label: Retoure", "label: Retuore"))
    with pytest.raises(ConfigurationError) as caught:
        parse_pipeline(ROWS + "schema: schema.yaml\n", where="shop.yaml", folder=tmp_path)
    assert str(caught.value).startswith("shop.yaml:9: schema: ")
    assert "schema.yaml:6: label: no field 'Retuore'" in str(caught.value)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_schema(tmp_path / "none.yaml")


def test_names_in_both_unicode_forms_are_one(tmp_path: Path) -> None:
    spec = read_schema(schema_file(tmp_path, "fields: {o\u0308l: {kind: number}}\n"))
    assert list(spec.fields) == ["öl"]


@pytest.mark.parametrize(
    "fields",
    [{}, {"y": Field(kind="number", input=False)}, {" y": Field(kind="number")}, {"@y": Field(kind="number")}],
)
def test_fields_that_cannot_be_are_refused(fields: dict[str, Field]) -> None:
    with pytest.raises(ValidationError):
        Schema(fields=fields)
    with pytest.raises(ValidationError, match="no field is an input"):
        Schema(fields={"y": Field(kind="number")}, label="y")


BESIDE = {"several": {"values": ["a"]}, "separator": {"values": ["a"], "several": True}}  # what an option asks for


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_takes_its_own_options_and_no_other(kind: str) -> None:
    value = {"values": ("a",), "missing": ("?",), "unit": "m", "whole": True, "decimal": ",", "format": "iso",
             "dayfirst": True, "alphabet": "dna", "shape": (2,), "minimum": 1, "maximum": 2,
             "several": True, "separator": ";"}  # fmt: skip
    assert set(value) == set(OPTIONS)
    for option, kinds in OPTIONS.items():
        given = value[option] if not (kind == "time" and option in ("minimum", "maximum")) else "2026-01-01"
        document = (
            {"kind": kind, option: given}
            | BESIDE.get(option, {})
            | ({"shape": (1,)} if kind == "tensor" and option != "shape" else {})
        )
        if kind in kinds:
            Field.model_validate(document)
        else:
            with pytest.raises(ValidationError, match=f"a {kind} has no ({option}|values|several)"):
                Field.model_validate(document)


def test_bounds_of_times_are_iso() -> None:
    assert bound_us("1970-01-02") == 86_400_000_000
    assert bound_us("1970-01-01T01:00+01:00") == 0
    with pytest.raises(ValidationError, match="is below minimum"):
        Field(kind="time", minimum="2026-02-01", maximum="2026-01-01")
    with pytest.raises(ValidationError, match="ISO 8601"):
        Field(kind="time", minimum="01.02.2026")


def test_the_example_of_the_guide_is_one() -> None:
    guide = (REPOSITORY / "docs" / "data.md").read_text()
    example = guide.split("```yaml\n")[1].split("```")[0]
    schema = parse_pipeline(ROWS + example, where="data.md").example_schema
    assert schema is not None
    assert list(schema.inputs) == ["Preis (€)", "Menge", "Land", "Bestelldatum"]
    assert all(f"| `{kind}`" in guide or f"`{kind}`, `" in guide or f", `{kind}` |" in guide for kind in KINDS)
    assert [option for option in Field.model_fields if f"`{option}`" not in guide and option != "kind"] == []

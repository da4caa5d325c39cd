"""Classes, columns and labels are text: what YAML makes of a name that nobody quoted is refused with its line."""

from __future__ import annotations

import sys
import unicodedata
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from mlratchet.flows.check_file import check_pipeline
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.identity.canonical import canonical_json, digest_bytes
from mlratchet.models.pipeline.loading import parse_pipeline
from mlratchet.models.pipeline.reading import Loader
from mlratchet.models.pipeline.spec import PipelineSpec
from mlratchet.models.pipeline.store import load_pipeline
from mlratchet.models.workloads.loading import load_workload
from mlratchet.models.workloads.tabular import TableClassifier

from tests.conftest import REPOSITORY

GATES = (REPOSITORY / "docs" / "examples" / "two_layers" / "two-layers.yaml").read_text().partition("gates:")[2]


def text_of(
    parameters: str, *, source: str = "", use: str = "mlratchet.models.workloads.tabular:TableClassifier"
) -> str:
    head = f"name: p\nworkload:\n  use: '{use}'\n  parameters:\n    {parameters}\nsource:\n  prefix: p/\n{source}gates:"
    return head + GATES


def parsed(parameters: str, *overrides: str, source: str = "") -> PipelineSpec:
    return parse_pipeline(text_of(parameters, source=source), where="p.yaml", overrides=overrides)


@pytest.mark.parametrize(
    ("written", "place", "words"),
    [
        ("[NO, SE, DK]", 0, 'YAML reads NO as a truth value (False), expected text; write "NO"'),
        ("[a, yes]", 1, 'YAML reads yes as a truth value (True), expected text; write "yes"'),
        ("[01, 10]", 0, 'YAML reads 01 as a number (1), expected text; write "01"'),
        ("[a, 1_000]", 1, 'YAML reads 1_000 as a number (1000), expected text; write "1_000"'),
        ("['a', 12:30]", 1, 'YAML reads 12:30 as a number (750), expected text; write "12:30"'),
        ("[a, 1.0]", 1, 'YAML reads 1.0 as a number (1.0), expected text; write "1.0"'),
        ("[a, ~]", 1, 'YAML reads ~ as nothing (None), expected text; write "~"'),
        ("[null, a]", 0, 'YAML reads null as nothing (None), expected text; write "null"'),
        ("[a, 2020-01-01]", 1, "YAML reads 2020-01-01 as a date (datetime.date(2020, 1, 1)), expected text"),
        ("[1, '1']", 0, 'YAML reads 1 as a number (1), expected text; write "1"'),
    ],
)
@pytest.mark.parametrize("name", ["classes", "columns", "labels"])
def test_a_name_that_is_no_text_is_refused_with_its_line(name: str, written: str, place: int, words: str) -> None:
    other = "" if name == "columns" else "\n    columns: [a]"
    with pytest.raises(ConfigurationError) as caught:
        parsed(f"{name}: {written}{other}")
    assert str(caught.value).startswith(f"p.yaml:5: workload.parameters.{name}.{place}: {words}")
    assert caught.value.exit_code == 2


def test_every_such_name_is_told_with_the_line_that_it_stands_on() -> None:
    with pytest.raises(ConfigurationError) as caught:
        parsed("classes:\n    - NO\n    - SE\n    - on")
    lines = str(caught.value).splitlines()
    assert [line.split(": ")[0] for line in lines] == ["p.yaml:6", "p.yaml:8"]


def test_quoted_names_are_the_classes() -> None:
    spec = parsed('columns: [a]\n    classes: ["NO", \'1.0\', "null", "01", "2020-01-01"]')
    workload = load_workload(spec.workload.use, dict(spec.workload.parameters))
    assert workload.class_names() == ("NO", "1.0", "null", "01", "2020-01-01")


@given(
    st.text("NOnoyesYES0123456789.:-_~eEx/ ", min_size=1, max_size=8).filter(lambda t: t.strip() == t and ": " not in t)
)
def test_no_name_becomes_another_one(written: str) -> None:
    """Written without quotes it is the class that stands there, or refused."""
    try:
        value = yaml.load(f"[a, {written}]", Loader=Loader)[1:]
    except yaml.YAMLError:
        return
    if value and isinstance(value[0], str) and value[0] == written:
        assert parsed(f"columns: [a]\n    classes: [a, {written}, z]").workload.parameters["classes"][1] == written
    elif len(value) == 1 and not isinstance(value[0], dict | str):
        with pytest.raises(ConfigurationError, match=r"workload\.parameters\.classes\.1: "):
            parsed(f"columns: [a]\n    classes: [a, {written}]")


def test_a_change_for_one_run_is_refused_too() -> None:
    with pytest.raises(
        ConfigurationError, match=r"classes\.0: expected text, got False \(bool\); put the name in quotes"
    ):
        parsed("columns: [a]\n    classes: [a, b]", "workload.parameters.classes=[NO, SE]")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (
            "  label_column: NO\n",
            "p.yaml:9: source.label_column: input should be a valid string, got False (bool): YAML",
        ),
        ("  slice_columns: [a, 1.0]\n", 'does not read 1.0 as text; write "1.0"'),
        ("  group_column: 2020\n", 'does not read 2020 as text; write "2020"'),
    ],
)
def test_a_column_of_the_source_is_refused_with_what_to_write(source: str, words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parsed("columns: [a]\n    classes: [a, b]", source=source)
    assert words in str(caught.value)


def test_what_was_published_before_is_read_as_it_was() -> None:
    store, spec = MemoryStore(), parsed("columns: [a]\n    classes: [a, b]")
    document = spec.model_dump(mode="json")
    document["workload"]["parameters"]["classes"] = [0, 1]
    body = canonical_json(document)
    store.create(f"pipelines/{digest_bytes(body)}.json", body)
    then = load_pipeline(store, digest_bytes(body)).workload
    assert load_workload(then.use, dict(then.parameters)).class_names() == ("0", "1")


class Streets(TableClassifier):
    """Names under a parameter of its own."""

    def __init__(self, *, columns: list[str], towns: tuple[str, ...] | None = None, width: int = 3) -> None:
        super().__init__(columns=columns, classes=list(towns or ("a", "b")), hidden=width)


@pytest.fixture
def streets(monkeypatch: pytest.MonkeyPatch) -> str:
    module = ModuleType("streets_of_a_test")
    module.Streets = Streets  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "streets_of_a_test", module)
    monkeypatch.setattr("mlratchet.flows.check_file.workload_source", lambda use: None)
    return "streets_of_a_test:Streets"


def test_a_parameter_that_a_workload_wants_as_text_is_held_to_it(streets: str, tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    file.write_text(text_of("columns: [a]\n    towns: [NO, SE]\n    width: 4", use=streets))
    with pytest.raises(
        ConfigurationError, match=r"p\.yaml:6: workload\.parameters\.towns\.0: expected text, got False"
    ):
        check_pipeline(file)
    file.write_text(text_of('columns: [a]\n    towns: ["NO", SE]\n    width: 4', use=streets))
    spec, _ = check_pipeline(file)
    assert spec.workload.parameters["towns"] == ["NO", "SE"]


def test_names_are_read_in_the_composed_form_and_keys_of_objects_as_they_are() -> None:
    decomposed = unicodedata.normalize("NFD", "öl")
    text = text_of(f"columns: [{decomposed}]\n    classes: [{decomposed}, x]").replace(
        "prefix: p/", f"prefix: {decomposed}/"
    )
    spec = parse_pipeline(text, where="p.yaml")
    assert spec.workload.parameters["classes"] == [unicodedata.normalize("NFC", "öl"), "x"]
    assert spec.source.prefix == f"{decomposed}/"

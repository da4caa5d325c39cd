"""A pipeline file is read strictly: every problem with file and line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.pipeline.loading import find_pipeline, parse_pipeline, read_pipeline
from mlratchet.models.pipeline.spec import PipelineSpec

from tests.conftest import REPOSITORY


@pytest.fixture
def text(digits_file: Path) -> str:
    return digits_file.read_text()


def problem(text: str, *overrides: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        parse_pipeline(text, where="p.yaml", overrides=overrides)
    assert caught.value.exit_code == 2
    return str(caught.value)


def line_of(text: str, needle: str) -> int:
    return next(number for number, line in enumerate(text.splitlines(), start=1) if needle in line)


def test_the_pipeline_that_ships_is_valid(digits_spec: PipelineSpec) -> None:
    assert digits_spec.name == "digits"
    assert digits_spec.train.processes == 2


def test_unknown_key_names_line_and_nearest_key(text: str) -> None:
    broken = text.replace("  epochs: 12", "  epocs: 12")
    said = problem(broken)
    assert f"p.yaml:{line_of(broken, 'epocs')}" in said
    assert "unknown key 'epocs'; did you mean 'epochs'?" in said


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("epochs: 12", "epochs: -1", "greater than or equal to 1"),
        ("epochs: 12", "epochs: 0", "greater than or equal to 1"),
        ("epochs: 12", 'epochs: "12"', "got '12' (str)"),
        ("epochs: 12", "epochs: true", "got True (bool)"),
        ("learning_rate: 0.003", "learning_rate: 0", "greater than 0"),
        ("learning_rate: 0.003", "learning_rate: .nan", "finite"),
        ("  processes: 2", "  processes: 3", "needs the processes to divide shards"),
        ("minimum: 500", "minimum: .nan", "finite"),
        ("minimum: 500", "minimum: 500, maximum: 600", "exactly one of minimum and maximum"),
        ("kind: parity", "kind: parityy", "parity"),
        ("name: digits", "name: Digits!", "pattern"),
        ("margin: 0.02", "margin: 0", "greater than 0"),
    ],
)
def test_wrong_values_are_refused_with_their_line(text: str, old: str, new: str, words: str) -> None:
    broken = text.replace(old, new, 1)
    said = problem(broken)
    assert words in said
    assert said.startswith("p.yaml:")
    assert int(said.split(":")[1]) >= 1


def test_several_problems_are_reported_at_once(text: str) -> None:
    said = problem(text.replace("epochs: 12", "epochs: 0").replace("prefix: digits/", "prefx: digits/"))
    assert len(said.splitlines()) >= 2


def test_a_missing_section_is_named(text: str) -> None:
    said = problem(text[: text.index("gates:")])
    assert "gates: field required" in said


def test_an_empty_gate_is_refused(text: str) -> None:
    said = problem(text[: text.index("  champion:\n")] + "  champion: []\n")
    assert "gates.champion" in said
    assert "at least 1" in said


def test_a_secret_is_refused_and_never_echoed(text: str) -> None:
    said = problem(text.replace("source:\n", "source:\n  s3_secret_key: hunter2\n"))
    assert "hunter2" not in said
    assert "secrets come from the environment" in said


def test_the_same_key_twice_is_refused(text: str) -> None:
    assert "given twice" in problem(text + "\nname: other\n")


def test_broken_yaml_names_the_line() -> None:
    said = problem("name: digits\n  workload: [\n")
    assert said.startswith("p.yaml:2")


@pytest.mark.parametrize("value", ["1e-4", "2E-3", "1.5e-4", "0.001"])
def test_scientific_notation_is_a_number(text: str, value: str) -> None:
    spec = parse_pipeline(text.replace("0.003", value), where="p.yaml")
    assert spec.train.optimizer.learning_rate == float(value)


def test_overrides_are_applied_before_validation(text: str) -> None:
    spec = parse_pipeline(text, where="p.yaml", overrides=["train.epochs=3", "train.optimizer.learning_rate=1e-05"])
    assert (spec.train.epochs, spec.train.optimizer.learning_rate) == (3, 1e-05)


@pytest.mark.parametrize("override", ["train.epochs", "=5", "train..epochs=1", "train.epochs.x=1", "train.epocs=5"])
def test_wrong_overrides_are_configuration_errors(text: str, override: str) -> None:
    assert problem(text, override)


def test_revision_changes_with_any_threshold_and_not_with_comments(text: str) -> None:
    base = parse_pipeline(text, where="p")
    assert parse_pipeline(text + "# comment\n", where="p").revision() == base.revision()
    changed = parse_pipeline(text.replace("margin: 0.02", "margin: 0.021"), where="p")
    assert changed.revision() != base.revision()
    assert changed.policy_digest() != base.policy_digest()


@pytest.mark.parametrize(
    "file", sorted((REPOSITORY / "deployments" / "pipelines").rglob("*.yaml")), ids=lambda f: f.stem
)
def test_a_published_revision_is_itself_when_it_is_read_again(file: Path) -> None:
    """Else what a run records of its pipeline is in no bucket, and nobody can look back at its versions."""
    text = file.read_text()
    for overrides in ((), ("train.seed=5",)):
        spec = parse_pipeline(text, where=str(file), overrides=overrides)
        again = parse_pipeline(json.dumps(spec.model_dump(mode="json")), where="published", published=True)
        assert again == spec
        assert again.revision() == spec.revision()


def test_find_pipeline_offers_the_nearest_name(digits_file: Path) -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'digits'"):
        find_pipeline(digits_file.parent, "digitz")


def test_find_pipeline_looks_into_folders_where_the_folder_itself_has_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "fields").mkdir()
    for name in ("digits.yaml", "fields/digits.yaml", "fields/vision.yaml"):
        (tmp_path / name).write_text(text)
    assert find_pipeline(tmp_path, "vision") == tmp_path / "fields" / "vision.yaml"
    assert find_pipeline(tmp_path, "digits") == tmp_path / "digits.yaml"


def test_an_unreadable_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_bytes(b"\xff\xfe\x00bad")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_pipeline(tmp_path / "x.yaml")

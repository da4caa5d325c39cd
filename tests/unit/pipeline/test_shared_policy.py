"""A policy file of an organisation always applies: a pipeline may add to it, never take away."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.pipeline.loading import read_pipeline
from mlratchet.models.pipeline.spec import PipelineSpec
from mlratchet.models.pipeline.store import load_pipeline, publish_pipeline

SHARED = """\
name: house rules
on_inconclusive: fail
holdout: {warn_after: 10, then: stricter}
staging:
  - {kind: memory, maximum_megabytes: 2345}
champion:
  - {kind: absolute, metric: accuracy, minimum: 0.7, compare: interval}
"""


class Project:
    """The digits pipeline, with `policy: ../policies/house.yaml`."""

    def __init__(self, folder: Path, digits: str) -> None:
        self.policy, self.pipeline = folder / "policies" / "house.yaml", folder / "pipelines" / "digits.yaml"
        for path in (self.policy, self.pipeline):
            path.parent.mkdir()
        self.policy.write_text(SHARED)
        self.pipeline.write_text(digits.replace("gates:\n", "gates:\n  policy: ../policies/house.yaml\n"))

    def read(self, *overrides: str) -> PipelineSpec:
        return read_pipeline(self.pipeline, overrides=overrides)

    def problem(self, *overrides: str) -> str:
        with pytest.raises(ConfigurationError) as caught:
            self.read(*overrides)
        return str(caught.value)


@pytest.fixture
def project(tmp_path: Path, digits_file: Path) -> Project:
    return Project(tmp_path, digits_file.read_text())


def test_the_shared_checks_come_first_and_the_pipelines_own_are_added(
    project: Project, digits_spec: PipelineSpec
) -> None:
    gates = project.read().gates
    assert gates.checks("staging")[0].kind == "memory"
    assert gates.checks("staging")[1:] == digits_spec.gates.staging
    assert len(gates.checks("champion")) == 1 + len(digits_spec.gates.champion)
    assert gates.fails_inconclusive
    assert gates.digest() != digits_spec.gates.digest()


def test_a_changed_shared_policy_changes_digest_and_revision(project: Project) -> None:
    before = project.read()
    project.policy.write_text(SHARED.replace("0.7", "0.71"))
    after = project.read()
    assert before.gates.digest() != after.gates.digest()
    assert before.revision() != after.revision()


def test_where_the_file_lies_is_not_part_of_the_policy(project: Project) -> None:
    before = project.read().gates.digest()
    project.policy.rename(project.pipeline.parent / "house.txt")
    project.pipeline.write_text(project.pipeline.read_text().replace("../policies/house.yaml", "house.txt"))
    assert project.read().gates.digest() == before


def test_a_published_pipeline_holds_what_it_was_deployed_with(project: Project) -> None:
    store, spec = MemoryStore("store"), project.read()
    revision = publish_pipeline(store, spec)
    project.policy.unlink()
    again = load_pipeline(store, revision)
    assert again == spec
    assert again.gates.checks("staging")[0].kind == "memory"


def test_the_stricter_rule_of_both_holds(project: Project) -> None:
    own = "gates:\n  on_inconclusive: hold\n  holdout: {warn_after: 3, then: warn}\n"
    lines = [one for one in project.pipeline.read_text().splitlines() if not one.startswith("  holdout:")]
    project.pipeline.write_text("\n".join(lines).replace("gates:\n", own))
    gates = project.read().gates
    assert gates.fails_inconclusive
    assert gates.holdout_rule is not None
    assert (gates.holdout_rule.warn_after, gates.holdout_rule.then) == (3, "stricter")


@pytest.mark.parametrize(
    "override",
    [
        "gates.policy=other.yaml",
        "gates.shared.champion.0.minimum=0.0",
        "gates.shared=null",
        "gates={}",
        " gates.shared.staging=[]",
    ],
)
def test_no_run_weakens_it(project: Project, override: str) -> None:
    store = MemoryStore("store")
    revision = publish_pipeline(store, project.read())
    assert "shared policy holds for every run" in project.problem(override)
    with pytest.raises(ConfigurationError, match="shared policy holds for every run"):
        load_pipeline(store, revision, overrides=[override])
    assert load_pipeline(store, revision, overrides=["gates.candidate.0.minimum=0.5"]).gates.shared is not None


def test_a_pipeline_file_cannot_bring_its_own_shared_policy(project: Project) -> None:
    text = project.pipeline.read_text()
    project.pipeline.write_text(text.replace("gates:\n", "gates:\n  shared: {name: mine}\n"))
    assert "name the file of the shared policy" in project.problem()


def test_a_check_that_both_ask_is_asked_once(project: Project) -> None:
    before = project.read().gates.checks("champion")
    project.policy.write_text(SHARED + "  - {kind: absolute, metric: accuracy, minimum: 0.90}\n")
    after = project.read().gates.checks("champion")
    assert len(after) == len(before)
    assert set(map(repr, after)) == set(map(repr, before))


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("minimum: 0.7,", "minimun: 0.7,", 7, "did you mean 'minimum'"),
        ("maximum_megabytes: 2345", "maximum_megabytes: .nan", 5, "finite"),
        ("kind: memory", "kind: latency, quantile: p42", 5, "p42"),
        ("  - {kind: m", "  - {kind: data, measure: rows, minimum: 1}\n  - {kind: m", 4, "no evidence"),
        (SHARED, "name: empty\n", 1, "at least 1 check"),
        (SHARED, "- a list\n", 1, "expected a mapping"),
        ("name: house rules\n", "", 1, "field required"),
    ],
)  # fmt: skip
def test_its_problems_come_with_file_and_line(project: Project, old: str, new: str, line: int, words: str) -> None:
    project.policy.write_text(SHARED.replace(old, new))
    said = project.problem()
    assert words in said
    assert f"house.yaml:{line}:" in said
    assert "digits.yaml:" in said
    assert "gates.policy" in said


def test_a_missing_file_is_named(project: Project) -> None:
    project.policy.unlink()
    assert "house.yaml: cannot be read" in project.problem()

"""Evaluate measures what the policy asks for, on the same rows, and says what it could not measure."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from mlratchet.models.data.shards import load_split
from mlratchet.models.errors import ConfigurationError, SecurityError
from mlratchet.models.evaluation.score import score
from mlratchet.models.evaluation.seen import SEEN_COLUMN
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.pipeline.checking import check_gates
from mlratchet.models.ports.storage import StorageError
from mlratchet.tasks.steps import evaluate as evaluating
from mlratchet.tasks.steps.evaluate import Evaluation, evaluate
from mlratchet.tasks.steps.validate import validate
from mlratchet.tasks.support.exported_candidate import Exported

from .conftest import Road, program

GOOD, FAIR, OTHER = (1.0, 1.0, 0.0), (1.0, 0.6, 0.0), (0.0, 1.0, 1.0)
NOISE = "{kind: robustness, metric: accuracy, maximum_drop: 0.3, perturbation: {kind: gaussian_noise, sigma: 0.5}}"
MISSING = "{kind: robustness, metric: accuracy, maximum_drop: 0.9, perturbation: {kind: missing_input, columns: [a]}}"
BY_REGION = "{kind: slice, metric: accuracy, by: [region], minimum: 0.5}"
ATTRIBUTION = "{kind: attribution, maximum_shift: 0.5}"


def measure(road: Road, *checks: str, gate: str = "candidate", incumbent: Any = None, more: str = "") -> Evaluation:
    run = road.run(*checks, gate=gate, more=more)
    dataset = road.dataset(run)
    found = evaluate.fn(run, road.work(dataset, incumbent), dataset, road.trained(GOOD))
    assert isinstance(found, Evaluation)
    return found


@pytest.mark.usefixtures("without_pictures")
def test_only_what_the_policy_asks_for_is_measured(road: Road) -> None:
    found = measure(road)
    evidence = found.evidence()
    assert (evidence.perturbed, evidence.versions, evidence.attribution_shift) == ({}, {}, None)
    assert (evidence.anchor_version, evidence.previous_version) == (None, 0)
    assert evidence.champion is None
    assert found.metrics["accuracy"].value > 0.99
    assert evidence.cost["train_seconds"] == 2.0
    assert evidence.holdout_uses == 0
    assert evidence.dataset_id == found.candidate.dataset_id != ""


def test_a_users_metric_is_measured_and_one_that_fails_ends_no_run(
    road: Road, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "of_ours.py").write_text(
        "from mlratchet.models.metrics import Accuracy\n"
        "class Right(Accuracy):\n    tasks = ('classification',)\n"
        "class Broken(Right):\n    def codes(self, rows):\n        raise RuntimeError('no such luck')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    asked = [f"{{kind: absolute, metric: 'of_ours:{name}', minimum: 0.5}}" for name in ("Right", "Broken")]
    found = measure(road, *asked).metrics
    assert found["of_ours:Right"].value == found["accuracy"].value
    assert np.isnan(found["of_ours:Broken"].value)
    assert "no such luck" in found["of_ours:Broken"].reason


@pytest.mark.usefixtures("without_pictures")
def test_the_candidate_is_scored_on_every_declared_perturbation(road: Road) -> None:
    evidence = measure(road, NOISE, MISSING).evidence()
    assert set(evidence.perturbed) == {"gaussian_noise(seed=0,sigma=0.5)", "missing_input(columns=a,fill=mean,seed=0)"}
    clean = evidence.candidate
    assert clean is not None
    for rows in evidence.perturbed.values():
        assert rows.ids == clean.ids
        assert rows.dataset_id == clean.dataset_id
        right = (rows.output.argmax(axis=1) == rows.y).mean()
        assert 0.6 < right < 0.95  # the inputs that count were disturbed


@pytest.mark.usefixtures("without_pictures")
def test_named_versions_are_scored_now_on_the_same_rows(road: Road) -> None:
    road.version(program(FAIR))
    road.version(program(OTHER))
    road.version(program(GOOD), champion=False)
    incumbent = road.version(program(FAIR))
    found = measure(
        road,
        "{kind: relative, metric: accuracy, version: previous, margin: 0.1}",
        "{kind: relative, metric: accuracy, version: 3, margin: 0.1}",
        "{kind: anchor, metric: accuracy, maximum_loss: 0.1}",
        gate="champion",
        incumbent=incumbent,
    )
    evidence = found.evidence()
    assert (evidence.anchor_version, evidence.previous_version) == (1, 2)
    assert set(evidence.versions) == {1, 2, 3}
    assert evidence.candidate is not None
    assert evidence.champion is not None
    assert np.array_equal(evidence.champion.output, evidence.versions[1].output)  # the same program
    assert np.array_equal(evidence.candidate.output, evidence.versions[3].output)
    assert not np.array_equal(evidence.candidate.output, evidence.versions[2].output)
    assert all(rows.ids == evidence.candidate.ids for rows in evidence.versions.values())
    compared = {"champion_rows", "rows of version 1", "rows of version 2", "rows of version 3"}
    assert {"rows", "requests", "program", *compared} == set(found.keys)


@pytest.mark.usefixtures("without_pictures")
def test_gates_judge_the_program_that_would_serve_and_parity_is_over_all_test_rows(
    road: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An export that differs from what was trained, on rows that no sample of 256 holds alone."""
    served = program((1.0, -1.0, 0.0))
    monkeypatch.setattr(
        evaluating, "export_candidate", lambda *_: Exported(program=served, sha256="served", directory=None)
    )
    run = road.run()
    dataset = road.dataset(run, rows=1200)
    found = evaluate.fn(run, road.work(dataset), dataset, road.trained(GOOD))
    rows = load_split(road.store, dataset, "test")
    assert len(rows.ids) > 256
    assert np.array_equal(found.candidate.output, score(served, rows).output)
    assert found.metrics["accuracy"].value < 0.9
    assert found.keys["program"] == "served"
    trained = score(program(GOOD), rows).output
    assert found.parity == pytest.approx(float(np.abs(trained - found.candidate.output).max()))
    staged: Any = SimpleNamespace(
        latency_ms={}, latency_n=0, size_bytes=1, memory_mb=1.0, parity_max_difference=0.0, parity_n=256,
        contract_n=0, contract_failures=(),
    )  # fmt: skip
    evidence = found.evidence(version=1, staged=staged)
    assert (evidence.parity_max_difference, evidence.parity_n) == (found.parity, len(rows.ids))


def test_rows_that_were_not_both_asked_have_no_parity() -> None:
    def outputs(ids: list[str], *values: float) -> RowOutputs:
        return RowOutputs(ids=ids, y=np.zeros(len(ids)), output=np.asarray(values, dtype=np.float32))

    ours = outputs(["a", "b"], 1.0, 2.0)
    assert evaluating.largest_difference(outputs(["b", "a"], 2.5, 1.0), ours) == 0.5
    for other in (outputs(["a"], 1.0), outputs(["a", "c"], 1.0, 2.0), outputs(["a", "b"], 1.0, float("nan"))):
        assert evaluating.largest_difference(other, ours) == float("inf")


@pytest.mark.usefixtures("without_pictures")
def test_a_version_that_cannot_be_compared_with_is_missing_with_the_reason(
    road: Road, caplog: pytest.LogCaptureFixture
) -> None:
    road.version(RuntimeError("operator of another torch"))
    road.version(lambda x: x[:, :7] @ np.zeros((7, 2)))
    relative = "{{kind: relative, metric: accuracy, version: {0}, margin: 0.1}}"
    with caplog.at_level(logging.WARNING):
        found = measure(road, *(relative.format(n) for n in (1, 2, 9)), gate="champion")
    assert found.evidence().versions == {}
    assert set(found.evidence().missing) == {"version 1", "version 2", "version 9"}
    for words in ("operator of another torch", "cannot score rows of shape [3]", "no version 9; there are [1, 2]"):
        assert words in caplog.text


@pytest.mark.usefixtures("without_pictures")
@pytest.mark.parametrize("change", [{"manifest_digest": "weaker"}, {"version": 3}])
def test_a_registration_that_names_other_bytes_than_were_promoted_is_not_compared_with(
    road: Road, change: dict[str, Any]
) -> None:
    incumbent = road.version(program(FAIR))
    with pytest.raises(SecurityError, match="was promoted; the registration was changed"):
        measure(road, gate="champion", incumbent=incumbent.model_copy(update=change))


@pytest.mark.usefixtures("without_pictures")
def test_changed_bytes_and_a_server_that_fails_end_the_step(road: Road, monkeypatch: pytest.MonkeyPatch) -> None:
    incumbent = road.version(SecurityError("artifact file data.pt2 was changed"))
    with pytest.raises(SecurityError, match="was changed"):
        measure(road, incumbent=incumbent)

    def down(*_: object) -> None:
        raise StorageError("503")

    monkeypatch.setattr("mlratchet.tasks.support.open_version.fetch_artifact", down)
    with pytest.raises(StorageError):  # worth another try of the step
        measure(road, incumbent=incumbent)


@pytest.mark.usefixtures("without_pictures")
def test_rows_that_the_champion_or_its_parent_was_trained_on_are_marked_after_another_split(road: Road) -> None:
    """The parent was trained under a third split: its rows are known to the champion too."""
    datasets, seen = {}, {}
    for salt in ("parent's", "champion's", "ours"):
        run = road.run("{kind: non_inferiority, metric: accuracy, margin: 0.1}", gate="champion")
        split = run.spec.data.split.model_copy(update={"salt": salt})
        run.spec = run.spec.model_copy(update={"data": run.spec.data.model_copy(update={"split": split})})
        datasets[salt] = road.dataset(run)
        seen[salt] = {i for side in ("train", "validation") for i in load_split(road.store, datasets[salt], side).ids}
    parent = road.version(program(GOOD), dataset_id=datasets["parent's"].id, revision="0" * 64)
    alone, warm = (
        road.version(program(FAIR), dataset_id=datasets["champion's"].id, revision="0" * 64, parent=begun)
        for begun in (None, parent)
    )
    dataset, trained = datasets["ours"], road.trained(GOOD)
    for incumbent, known in ((alone, seen["champion's"]), (warm, seen["champion's"] | seen["parent's"])):
        champion = evaluate.fn(run, road.work(dataset, incumbent), dataset, trained).evidence().champion
        marked = {i for i, mark in zip(champion.ids, champion.columns[SEEN_COLUMN], strict=True) if mark}
        assert marked == known & set(champion.ids) != set()
        assert marked != set(champion.ids)


@pytest.mark.usefixtures("without_pictures")
def test_a_champions_registration_that_names_another_dataset_than_was_judged_is_refused(road: Road) -> None:
    """Else whoever writes to the bucket says which rows it has seen, and with them what is left out."""
    incumbent = road.version(program(FAIR)).model_copy(update={"dataset_id": "another"})
    with pytest.raises(SecurityError, match="dataset another, but version 1 was judged with d; the registration was"):
        measure(road, incumbent=incumbent)


def test_attributions_move_when_the_model_looks_elsewhere(road: Road) -> None:
    incumbent = road.version(program(OTHER))
    found = measure(road, ATTRIBUTION, BY_REGION, incumbent=incumbent)
    shift = found.attribution_shift
    assert shift is not None
    assert 0.3 < shift.value < 0.7
    assert shift.n == 64
    assert shift.interval is not None
    assert shift.interval[0] < shift.value < shift.interval[1]
    assert "c 0." in shift.detail
    shown = {info.key.split("/", 1)[1] for info in road.artifacts.list()}
    assert {"attributions/importance.png", "attributions/slices.png", "attributions/attributions.json"} <= shown
    assert "plots/slices-accuracy-region.png" in shown
    assert road.store.exists(f"attributions/{found.keys['attributions']}.json")


def test_attributions_can_be_drawn_without_a_check_and_without_a_champion(road: Road) -> None:
    found = measure(road, more="evaluation: {attributions: true, attribution_rows: 8}")
    assert found.attribution_shift is None
    assert any(info.key.endswith("attributions/importance.png") for info in road.artifacts.list())


@pytest.mark.usefixtures("without_pictures")
def test_a_holdout_is_counted_by_work_key(road: Road) -> None:
    first, again = measure(road), measure(road)
    assert (first.holdout_uses, again.holdout_uses) == (0, 0)


@pytest.mark.usefixtures("no_pages")
def test_a_column_that_no_row_has_is_refused_before_anything_trains(road: Road) -> None:
    run = road.run("{kind: slice, metric: accuracy, by: [regoin], minimum: 0.5}")
    dataset = road.dataset(run)
    with pytest.raises(ConfigurationError, match=r"gates.candidate.0: no column 'regoin' .* did you mean 'region'"):
        validate.fn(run, snapshot_of(road, dataset.snapshot_id), road.work(dataset))


def snapshot_of(road: Road, identity: str) -> Any:
    from mlratchet.models.data.snapshot import take_snapshot

    found = take_snapshot(road.raw, road.store, prefix="t/")
    assert found.id == identity
    return found


@pytest.mark.parametrize(
    ("check", "words"),
    [
        (NOISE.replace("gaussian_noise, sigma: 0.5", "brightness, delta: 0.2"), "gates.candidate.0: brightness needs"),
        (BY_REGION.replace("by: [region]", "function: 'json:nothing'"), "gates.candidate.0: json has no function"),
    ],
)
def test_what_cannot_be_measured_is_refused_when_the_run_opens(road: Road, check: str, words: str) -> None:
    run = road.run(check)
    with pytest.raises(ConfigurationError, match=words):
        check_gates(run.spec, run.workload)

"""The card says where a version comes from, how to call it, and what its gate measured."""

from __future__ import annotations

import math

from mlratchet.models.artifact.card import model_card

ABOUT = {
    "name": "digits", "description": "Handwritten digits.", "owner": "vision", "work_key": "w" * 64,
    "snapshot_id": "s" * 64, "dataset_id": "d" * 64, "parent_version": None, "workload": "shop:Digits",
}  # fmt: skip


def test_a_card_has_the_gate_with_intervals_the_pictures_and_the_call() -> None:
    check = {
        "verdict": "pass", "check": "absolute", "metric": "accuracy", "value": "0.9800", "interval": "0.9700 to 0.9900",
        "n": "360", "threshold": "at least 0.9 | always",
    }  # fmt: skip
    metrics = {"accuracy": 0.98, "auc": math.nan, "recall_class_0": 1.0}
    card = model_card(**ABOUT, metrics=metrics, checks=[check], plots="http://mlflow/runs/1/artifacts")  # type: ignore[arg-type]
    for line in (
        "| absolute | accuracy | 0.9800 | 0.9700 to 0.9900 | at least 0.9 / always | pass |",
        "[Pictures of the training and of the test rows](http://mlflow/runs/1/artifacts)",
        "| accuracy | 0.9800 |",
        "| auc | undefined |",
    ):
        assert line in card.splitlines()
    assert "ratchet predict digits FILE" in card
    assert "models:/digits@champion" in card
    assert "recall_class_0" not in card


def test_without_a_gate_nothing_of_one_is_said() -> None:
    assert "gate" not in model_card(**ABOUT, metrics={}).lower().replace("ratchet", "")  # type: ignore[arg-type]


def test_rows_of_the_log_are_told_where_there_are_some() -> None:
    words = "of the inference log 60 trained on, 10 validation, 14 test; each of the log has weight 2 in the loss"
    assert f"- Rows {words}" in model_card(**ABOUT, metrics={}, logged=words).splitlines()  # type: ignore[arg-type]
    assert "inference log" not in model_card(**ABOUT, metrics={})  # type: ignore[arg-type]

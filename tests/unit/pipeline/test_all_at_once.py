"""Every mistake of a file that can be known is told at once, each with its line."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlratchet.flows.check_file import check_pipeline
from mlratchet.models.errors import ConfigurationError

FILE = """\
name: churn
schedule: {cron: "61 * * * *", timezone: Europe/Berlin}
workload:
  use: mlratchet.models.workloads.tabular:TableClassifier
  parameters: {columns: [a, b], classes: ["no", "yes"]}
source: {prefix: c/, label_column: churned, delimeter: ";"}
train: {epochs: many, loss: mae, early_stopping: {metric: acc}}
gates:
  data:
    - {kind: data, measure: rows, minimum: 1}
  candidate:
    - {kind: absolute, metric: accuracy, minimum: "0.8"}
    - {kind: absolute, metric: acuracy, minimum: 0.8}
    - {kind: parity, maximum_difference: 0.1}
    - {kind: absolute, metric: recall_class_maybe, minimum: 0.1}
  staging:
    - {kind: parity, maximum_difference: 0.1}
  champion:
    - {kind: non_inferiority, metric: accuracy, margin: 2}
serving: {defaults: {z: 1}}
"""
ALL = [  # line, words
    (2, "minute 61"),
    (6, "unknown key 'delimeter'"),
    (7, "train.epochs"),
    (7, "train.loss: mae does not fit"),
    (7, "early_stopping.metric: unknown metric 'acc'"),
    (12, "gates.candidate.0.minimum"),
    (13, "gates.candidate.1: unknown metric 'acuracy'"),
    (14, "no evidence at the candidate gate"),
    (15, "gates.candidate.3"),
    (19, "gates.champion.0: margin 2"),
    (20, "serving.defaults"),
]


def told(folder: Path, text: str) -> list[str]:
    file = folder / "p.yaml"
    file.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        check_pipeline(file)
    return str(caught.value).splitlines()


def test_everything_that_is_wrong_is_told_with_its_line(tmp_path: Path) -> None:
    said = told(tmp_path, FILE)
    missing = [
        (line, words)
        for line, words in ALL
        if not any(one.startswith(f"{tmp_path / 'p.yaml'}:{line}: ") and words in one for one in said)
    ]
    assert missing == [], "\n".join(said)
    assert len(said) == len(set(said))
    numbers = [int(one.removeprefix(f"{tmp_path / 'p.yaml'}:").split(":")[0]) for one in said]
    assert numbers == sorted(numbers)


@pytest.mark.parametrize(
    ("old", "new", "count"),
    [
        (FILE, FILE.replace("61 * * * *", "1 * * * *"), None),
        ("source: {prefix: c/, label_column: churned, delimeter", "source: {prefix: c/, delimeter", None),
        ("name: churn\n", "", None),
        ("  use: mlratchet.models.workloads.tabular:TableClassifier\n", "", None),
        ("gates:\n", "gats:\n", None),
        (FILE, "name: x\nworkload: 3\n", None),
    ],
)  # fmt: skip
def test_whatever_is_missing_the_rest_is_told_and_nothing_breaks(
    tmp_path: Path, old: str, new: str, count: int | None
) -> None:
    said = told(tmp_path, FILE.replace(old, new))
    assert all(one.startswith(f"{tmp_path / 'p.yaml'}:") for one in said), said
    assert not any("gates.data" in one and "no checks" in one for one in said)


def test_a_gate_that_lost_its_only_check_to_a_mistake_is_not_called_empty(tmp_path: Path) -> None:
    said = told(tmp_path, FILE.replace("margin: 2", "margin: x"))
    assert not any("no checks" in one for one in said)
    assert any(":19: gates.champion.0.margin" in one for one in said)
    assert any(":13: gates.candidate.1: unknown metric" in one for one in said)


def test_a_class_that_yaml_guessed_is_told_once_and_hides_nothing(tmp_path: Path) -> None:
    said = told(tmp_path, FILE.replace('["no", "yes"]', '[NO, "yes", 1.0]').replace("class_maybe", "class_1.0"))
    assert [one.split(": ", 1)[1] for one in said if "classes" in one] == [
        'workload.parameters.classes.0: YAML reads NO as a truth value (False), expected text; write "NO"',
        'workload.parameters.classes.2: YAML reads 1.0 as a number (1.0), expected text; write "1.0"',
    ]
    assert any(":13: gates.candidate.1: unknown metric" in one for one in said)
    assert not any(":15: gates.candidate.3" in one for one in said)  # a class as it is written has its metrics


def test_validate_says_beside_the_mistakes_what_margins_ask_for(tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    file.write_text(FILE.replace("margin: 2", "margin: 0.03"))
    with pytest.raises(ConfigurationError) as caught:
        check_pipeline(file, rehearsing=True)
    (note,) = [one for one in str(caught.value).splitlines() if one.startswith("note: ")]
    assert note.startswith(f"note: {file}:19: gates.champion.0: ")
    assert "test rows" in note
    assert str(caught.value).splitlines()[-1] == note


def test_an_unknown_parameter_of_the_workload_does_not_hide_the_schedule(tmp_path: Path) -> None:
    said = told(tmp_path, FILE.replace("columns:", "colums:"))
    assert any(":2: schedule.cron" in one for one in said)
    assert any(":4: " in one and "colums" in one for one in said)

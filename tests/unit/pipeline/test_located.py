"""What is wrong with a key is told with the line where the key stands, also when only the workload knows it."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlratchet.flows.check_file import check_pipeline
from mlratchet.models.errors import ConfigurationError

TWO_LAYERS = Path(__file__).parents[3] / "docs" / "examples" / "two_layers" / "two-layers.yaml"
SHARED = "name: ours\nchampion:\n  - {kind: absolute, metric: accuracy, minimum: 0}\n"


def problems(folder: Path, *replacements: tuple[str, str]) -> tuple[list[str], str]:
    text = TWO_LAYERS.read_text().replace("two_layers:TwoLayers", "mlratchet.models.workloads.tabular:TableClassifier")
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new, 1)
    (folder / "p.yaml").write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        check_pipeline(folder / "p.yaml")
    return str(caught.value).splitlines(), text


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("measure: rejected_fraction, maximum: 0.01", "measure: relabelled_fraction, maximum: 2",
         "maximum 2 lies outside relabelled_fraction, which is 0 to 1"),
        ("metric: accuracy, minimum: 0.8", "metric: accuracy, minimum: 0", "minimum 0 always holds"),
        ("margin: 0.03", "margin: 1.5", "margin 1.5 always holds"),
        ("epochs: 20", "loss: mae", "there are: task, cross_entropy"),
        ("epochs: 20", "early_stopping: {metric: acc}", "unknown metric 'acc'"),
    ],
)  # fmt: skip
def test_the_line_of_the_key_is_told(tmp_path: Path, old: str, new: str, words: str) -> None:
    (said,), text = problems(tmp_path, (old, new))
    line = next(number for number, one in enumerate(text.splitlines(), 1) if new in one)
    assert said.startswith(f"{tmp_path / 'p.yaml'}:{line}: ")
    assert words in said


def test_every_problem_has_its_own_line_and_a_shared_files_that_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "ours.yaml").write_text(SHARED)
    found, text = problems(
        tmp_path, ("gates:\n", "gates:\n  policy: ours.yaml\n"), ("margin: 0.03", "margin: 2"),
        ("maximum: 0.01", "maximum: 1"),
    )  # fmt: skip
    lines = [next(n for n, one in enumerate(text.splitlines(), 1) if key in one) for key in ("policy:", "margin: 2")]
    data = next(n for n, one in enumerate(text.splitlines(), 1) if "maximum: 1" in one)
    assert sorted(int(one.split(":")[1]) for one in found) == sorted([*lines, data])

"""`ratchet deploy` over several files: a mistake in one of them is that file's alone."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mlratchet.flows import deployments
from mlratchet.models.pipeline.spec import PipelineSpec

TWO_LAYERS = Path(__file__).parents[3] / "docs" / "examples" / "two_layers" / "two-layers.yaml"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(deployments, "load_settings", lambda: SimpleNamespace(pipelines_dir=tmp_path))
    monkeypatch.setattr(deployments, "Adapters", lambda settings: None)
    monkeypatch.setattr(deployments, "bring_back", lambda adapters, name: None)

    def deployed(spec: PipelineSpec, adapters: Any) -> dict[str, Any]:
        return {"pipeline": spec.name}

    monkeypatch.setattr(deployments, "deploy_spec", deployed)
    return tmp_path


def write(folder: Path, name: str, *replacements: tuple[str, str]) -> None:
    text = TWO_LAYERS.read_text().replace("name: two-layers", f"name: {name}")
    text = text.replace("two_layers:TwoLayers", "mlratchet.models.workloads.tabular:TableClassifier")
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new)
    (folder / f"{name}.yaml").write_text(text)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("train:\n", 'schedule: {cron: "60 * * * *"}\ntrain:\n', "minute 60"),
        ("tabular:TableClassifier", "tabular:TableClasifier", "did you mean 'TableClassifier'?"),
        ("mlratchet.models.workloads.tabular", "of_a_broken_module", "of_a_broken_module.py:2: NameError"),
        ("mlratchet.models.workloads.tabular", "of_no_grammar", "of_no_grammar.py:1: SyntaxError"),
        ("mlratchet.models.workloads.tabular", "that_leaves", "that_leaves.py:1: SystemExit"),
        ("epochs: 20", "epochs: -20", "epochs"),
        ("metric: accuracy", "metric: acuracy", "did you mean 'accuracy'?"),
        ("name: middle", "name: [", "check indentation and quoting"),
    ],
)
def test_one_bad_file_stops_nobody_elses_deployment(
    folder: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, words: str
) -> None:
    monkeypatch.syspath_prepend(str(folder))
    (folder / "of_a_broken_module.py").write_text("import torch\nnothing_of_this_name\n")
    (folder / "of_no_grammar.py").write_text("def (:\n")
    (folder / "that_leaves.py").write_text("raise SystemExit(3)\n")
    write(folder, "first")
    write(folder, "middle", (old, new))
    write(folder, "third")
    made, refused = deployments.deploy_every()
    assert [one["pipeline"] for one in made] == ["first", "third"]
    (error,) = refused
    assert words in str(error)
    assert str(folder / "middle.yaml") in str(error)
    assert error.exit_code == 2

"""What `ratchet new` writes for targets that are no class: read, looked at, trained and answered over stores in memory.

`tests/e2e/test_sets_and_sequences.py` takes the same through a stack.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.data.dataset import DatasetManifest
from mlratchet.models.data.preprocess import read_dataset_records, write_dataset
from mlratchet.models.data.snapshot import take_snapshot
from mlratchet.models.drafting.begin import begin
from mlratchet.models.gates.checks.absolute import AbsoluteCheck
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.objectives.naming import metrics_for
from mlratchet.models.pipeline.loading import parse_pipeline
from mlratchet.models.pipeline.spec import PipelineSpec
from mlratchet.models.profile.layout import layout_of
from mlratchet.models.profile.profile import profile_of
from mlratchet.models.sources.record import Reject
from mlratchet.models.workloads.base import Workload
from mlratchet.models.workloads.loading import load_workload

from tests.training import trained_rows

EPOCHS = {"detector": 16, "ctc": 18}
OF_NO_USE = {"detector": "000.png,bar 1 2 3", "ctc": "000.wav,abx"}  # a row of labels.csv


class Begun:
    """A pipeline of its own, its rows in stores in memory."""

    def __init__(self, like: str, folder: Path) -> None:
        name = f"begun-{like}"
        begun = begin(name, like, pipeline_file=Path(f"{name}.yaml"))
        for file, text in begun.code.items():
            (folder / file).write_text(text)
        importlib.invalidate_caches()
        self.spec: PipelineSpec = parse_pipeline(begun.pipeline, where=f"{name}.yaml")
        self.workload: Workload = load_workload(self.spec.workload.use, dict(self.spec.workload.parameters))
        self.store, raw = MemoryStore("store"), MemoryStore("raw")
        for key, data in begun.data.items():
            changed = data.replace(data.splitlines()[1], OF_NO_USE[like].encode()) if key == "labels.csv" else data
            raw.put(f"{self.spec.source.prefix}{key}", changed)
        snapshot = take_snapshot(raw, self.store, prefix=self.spec.source.prefix)
        records, self.rejects = read_dataset_records(self.store, snapshot, self.workload, self.spec.source)
        self.dataset: DatasetManifest = write_dataset(
            self.store, snapshot, records, "code", self.spec.workload, self.spec.data, self.spec.source,
            class_names=(), tensors=self.workload.tensors(), prepared=True,
        )  # fmt: skip

    def trained(self, epochs: int) -> RowOutputs:
        """The outputs of a training on the test rows."""
        train = self.spec.train.model_copy(update={"epochs": epochs})
        return trained_rows(self.store, self.dataset, self.spec.workload, train)


@pytest.fixture(scope="module", params=["ctc", "detector"])
def begun(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Of one kind."""
    folder = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(folder), *sys.path])
        yield Begun(request.param, folder)


@pytest.mark.slow
def test_it_learns_what_its_own_gate_asks_for_and_answers_it(begun: Begun) -> None:
    like = begun.spec.name.removeprefix("begun-")
    rows, objective = begun.trained(EPOCHS[like]), begun.workload.objective
    (check,) = [one for one in begun.spec.gates.candidate if isinstance(one, AbsoluteCheck)]
    value = metrics_for(begun.workload.task, ())[check.metric].estimate(rows).value
    assert value > check.minimum if check.minimum is not None else value < (check.maximum or 0)
    answers = objective.answers(torch.from_numpy(rows.output), ())
    assert set(answers[0]) == set(objective.answer_schema(()))
    right = objective.badness(rows) == 0
    assert right.mean() > 0.5
    told = [one for one, ok in zip(objective.samples(rows, (), count=len(rows.ids)), right, strict=True) if ok]
    if like == "ctc":
        assert all(wanted == said for _, wanted, said in told)
        assert {len(answer["text"]) for answer in answers} >= {2, 3, 4, 5, 6, 7}


def test_a_label_that_cannot_be_read_is_set_aside(begun: Begun) -> None:
    (one,) = begun.rejects
    assert isinstance(one, Reject)
    assert (one.code, one.field) == ("bad_target", begun.spec.example_schema.label)  # type: ignore[union-attr]
    assert sum(begun.dataset.rows.values()) == 499


def test_what_is_learnt_is_told_in_the_words_of_its_objective(begun: Begun) -> None:
    found = profile_of(begun.store, begun.dataset, layout_of(begun.spec, begun.workload, begun.dataset))
    said = found.label.sides["train"].counts
    assert sum(said.values()) == begun.dataset.rows["train"]
    words = {"ctc": set("abcdef"), "detector": {"bar", "disc"}}[begun.spec.name.removeprefix("begun-")]
    for text in said:
        assert set(text.split(", ") if "," in text or "bar" in text or "disc" in text else text) <= words

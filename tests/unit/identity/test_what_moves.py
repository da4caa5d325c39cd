"""For each identity: what moves it, and what does not.

Edits are made in a copy of Ratchet and in a user's project, both first on the import path.
"""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models import finding
from mlratchet.models.data.dataset import dataset_parts
from mlratchet.models.decisions.gate_run import gate_run_id
from mlratchet.models.errors import ConfigurationError, SecurityError
from mlratchet.models.gates.sources import functions_of, judging_code
from mlratchet.models.identity import product
from mlratchet.models.identity.canonical import digest
from mlratchet.models.identity.closure import Closure, closure_of, source_of
from mlratchet.models.identity.declared import declared_files
from mlratchet.models.identity.product import DATA, reached_through_workloads
from mlratchet.models.pipeline.loading import read_pipeline
from mlratchet.models.pipeline.work_key import training_code, work_key, work_parts
from mlratchet.models.registration.record import MadeOf, Registration, find_registration, publish_registration
from mlratchet.models.registration.why_anew import why_anew
from mlratchet.models.sources.formats import references_of

REPOSITORY = Path(__file__).parents[3]
DATASET, WORK, GATE = "dataset", "work key", "gate run"

PIPELINE = """
name: mine
workload: {use: "mine:Mine", parameters: {columns: [a], classes: ["0", "1"]}}
source: {prefix: mine/, format: "shelf:Shelf"}
train: {optimizer: {factory: "factory:make"}}
gates:
  data: [{kind: data, measure: rows, minimum: 1}]
  candidate:
    - {kind: absolute, metric: accuracy, minimum: 0.5}
    - {kind: custom, function: "judge:judge"}
    - {kind: slice, metric: accuracy, function: "slicing:sides", minimum: 0.5}
    - {kind: robustness, metric: accuracy, perturbation: {kind: custom, function: "noise:shake"}, maximum_drop: 0.5}
    - {kind: "weighing:Weight", metric: "weighing:Heavy"}
  staging: [{kind: custom, function: "elsewhere:judge"}]
  champion: [{kind: absolute, metric: accuracy, minimum: 0.5}]
"""
USER = {
    "mine.py": "from mlratchet.models.workloads.tabular import TableClassifier\nfrom net import build\n"
    "class Mine(TableClassifier):\n    files = ('vocab.json',)\n    build_model = build\n",
    "net.py": "def build(self):\n    from layers import size\n    return size\n",
    "layers.py": "size = 16\n",
    "shelf.py": "import racks\nfrom mlratchet.models.sources.csv import Csv\n"
    "class Shelf(racks.Rack, Csv):\n    name = 'shelf'\n    files = ('shelf.json',)\n",
    "racks.py": "class Rack:\n    files = ('rack.json',)\n",
    "factory.py": "def make(groups, rate, decay):\n    return groups\nmake.files = ('factory.json',)\n",
    "judge.py": "import bounds\ndef judge(evidence):\n    return {'value': bounds.least}\n"
    "judge.files = ['judge.json']\n",
    "bounds.py": "least = 1\n",
    "slicing.py": "from sides import sides\n",
    "sides.py": "FILES = ('sides.json',)\ndef sides(rows):\n    return []\nsides.files = FILES\n",
    "noise.py": "def shake(x, rng):\n    return x\nshake.files = ('noise.json',)\n",
    "weighing.py": "from mlratchet.models.gates.checks.statistical import OnMetric\n"
    "from mlratchet.models.metrics import SumMetric\n"
    "class Heavy(SumMetric):\n    files = ('heavy.json',)\n"
    "class Weight(OnMetric):\n    gates, wears, margins, levels = ('candidate',), True, (), ()\n"
    "    files = ('weight.json',)\n    def judge(self, case): ...\n    def power_of(self, *given): ...\n",
    "elsewhere.py": "def judge(evidence):\n    return {}\n",
    "unrelated.py": "x = 1\n",
    "vocab.json": "[]",
    **{f"{name}.json": "[]" for name in ("shelf", "rack", "factory", "judge", "sides", "noise", "weight", "heavy")},
}


@dataclass
class Place:
    """A project and a copy of Ratchet that may be edited."""

    folder: Path
    workload: str = "mine"
    torch: str = "2.13.0"
    snapshot: str = "s"
    champion: int | None = 1
    overrides: tuple[str, ...] = ()
    evidence: dict[str, str] = field(default_factory=dict)
    before: dict[Path, str] = field(default_factory=dict)  # of the files that were edited

    def read(self, file: str) -> str:
        path = self.folder / file
        return self.before.setdefault(path, path.read_text())

    def edit(self, file: str, old: str, new: str) -> None:
        text = self.read(file)
        assert old in text, f"{old!r} is not in {file}"
        (self.folder / file).write_text(text.replace(old, new))

    def append(self, file: str, text: str) -> None:
        (self.folder / file).write_text(self.read(file) + text)

    def closure(self) -> Closure:
        """As `workload_source` finds it, without importing the class: its edits would stay in this process."""
        files = declared_files(self.workload, ("vocab.json",), "workload") if self.workload == "mine" else {}
        return closure_of([self.workload], follow=reached_through_workloads(), files=files)

    def parts(self) -> MadeOf:
        spec = read_pipeline(self.folder / "mine.yaml", overrides=self.overrides)
        closure = self.closure()
        formats = source_of(*references_of(spec.source), follow=reached_through_workloads())
        rows = dataset_parts(self.snapshot, DATA.code(closure, formats), spec.workload, spec.data, spec.source)
        work = work_parts(
            spec,
            snapshot_id=self.snapshot,
            dataset_id=digest(rows),
            code=training_code(spec, closure),
            torch_version=self.torch,
            world=1,
        )
        return MadeOf(work=work, dataset=rows)

    def identities(self) -> dict[str, str]:
        """The gate run is one over given weights and rows: what moves it by itself."""
        spec = read_pipeline(self.folder / "mine.yaml", overrides=self.overrides)
        work = self.parts().work
        gate = gate_run_id(
            gate="candidate", work_key="w", policy_digest=spec.policy_digest(), champion_version=self.champion,
            dataset_id="d", judged_by=judging_code(spec.gates, "candidate"), evidence=self.evidence,
        )  # fmt: skip
        return {DATASET: work["dataset"], WORK: work_key(work), GATE: gate}


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("copied")
    for room in ("flows", "tasks", "infra", "models"):
        shutil.copytree(REPOSITORY / room, folder / "mlratchet" / room, ignore=shutil.ignore_patterns("__pycache__"))
    for name, text in {**USER, "mine.yaml": PIPELINE}.items():
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def place(copied: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.syspath_prepend(str(copied))
    monkeypatch.setattr(product, "ROOT", copied / "mlratchet")
    monkeypatch.setattr(finding, "ROOT", copied / "mlratchet")
    importlib.invalidate_caches()
    made = Place(copied)
    yield made
    for path, text in made.before.items():
        path.write_text(text)


def code(file: str, more: str = "\nADDED = 1\n") -> Callable[[Place], None]:
    return lambda place: place.append(file, more)


def comment(file: str) -> Callable[[Place], None]:
    return lambda place: place.append(file, '\n# a comment\n"""And a text."""\n')


def setting(*overrides: str) -> Callable[[Place], None]:
    return lambda place: setattr(place, "overrides", overrides)


def fact(name: str, value: Any) -> Callable[[Place], None]:
    return lambda place: setattr(place, name, value)


MODELS = "mlratchet/models"
MOVES: dict[str, tuple[Callable[[Place], None], set[str]]] = {
    # the user's own code
    "the workload": (code("mine.py"), {DATASET, WORK}),
    "a module that it imports": (code("net.py"), {DATASET, WORK}),
    "a module that this one imports, in a function": (code("layers.py"), {DATASET, WORK}),
    "a file that it declares": (code("vocab.json", "[1]"), {DATASET, WORK}),
    "a comment in a module that it imports": (comment("net.py"), set()),
    "formatting": (lambda place: place.edit("net.py", "return size", "return (\n        size\n    )"), set()),
    "a module that nothing imports": (code("unrelated.py"), set()),
    "the optimizer's factory": (code("factory.py"), {WORK}),
    "a custom check": (code("judge.py"), {GATE}),
    "a module that a custom check imports": (code("bounds.py"), {GATE}),
    "a comment in a custom check": (comment("judge.py"), set()),
    "a slice": (code("slicing.py"), {GATE}),
    "a perturbation": (code("noise.py"), {GATE}),
    "a file that a format declares": (code("shelf.json", "[1]"), {DATASET, WORK}),
    "a file that the base of a format declares": (code("rack.json", "[1]"), {DATASET, WORK}),
    "a file that the optimizer's factory declares": (code("factory.json", "[1]"), {WORK}),
    "a file that a custom check declares": (code("judge.json", "[1]"), {GATE}),
    "a file that a check declares": (code("weight.json", "[1]"), {GATE}),
    "a file that a metric declares": (code("heavy.json", "[1]"), {GATE}),
    "a file that a slice declares": (code("sides.json", "[1]"), {GATE}),
    "a file that a perturbation declares": (code("noise.json", "[1]"), {GATE}),
    "a custom check of another gate": (code("elsewhere.py"), set()),
    # Ratchet's own
    "the rule of the split": (code(f"{MODELS}/data/split.py"), {DATASET, WORK, GATE}),  # a measure judges sides
    "making shards": (code(f"{MODELS}/data/preprocess.py"), {DATASET, WORK}),
    "reading CSV": (code(f"{MODELS}/sources/csv.py"), {DATASET, WORK}),
    "the workload's base": (code(f"{MODELS}/workloads/base.py"), {DATASET, WORK}),
    "the built-in workload that it extends": (code(f"{MODELS}/workloads/tabular.py"), {DATASET, WORK}),
    "another built-in workload": (code(f"{MODELS}/workloads/vision.py"), set()),
    "reading pictures, which no table does": (code(f"{MODELS}/sources/images.py"), set()),
    "a comment in another built-in workload": (comment(f"{MODELS}/workloads/vision.py"), set()),
    "a comment in reading CSV": (comment(f"{MODELS}/sources/csv.py"), set()),
    "the training loop": (code(f"{MODELS}/training/loop.py"), {WORK}),
    "a comment in the training loop": (comment(f"{MODELS}/training/loop.py"), set()),
    "what a training cost": (code(f"{MODELS}/training/cost.py"), {GATE}),
    "the profiler": (code(f"{MODELS}/training/profiling.py"), set()),
    "quality of a delivery": (code(f"{MODELS}/data/quality/contents.py"), {GATE}),
    "metrics": (code(f"{MODELS}/metrics/classification.py"), {WORK, GATE}),  # early stopping asks them
    "statistics": (code(f"{MODELS}/evaluation/statistics/bootstrap.py"), {GATE}),
    "the judge": (code(f"{MODELS}/gates/judge.py"), {GATE}),
    "approvals": (code(f"{MODELS}/approval/standing.py"), {GATE}),
    "measuring the artifact": (code("mlratchet/infra/artifact/measure.py"), {GATE}),
    "drawing": (code(f"{MODELS}/evaluation/plots.py"), set()),
    "the command line": (code("mlratchet/flows/cli/runs.py"), set()),
    "the store": (code("mlratchet/infra/storage/s3.py"), set()),
    "the registry": (code("mlratchet/infra/registry/mlflow.py"), set()),
    "promotion": (code(f"{MODELS}/promotion/move.py"), set()),
    # the pipeline file and the world
    "how long it trains": (setting("train.epochs=3"), {WORK}),
    "the seed": (setting("train.seed=8"), {WORK}),
    "processes in mode exact": (setting("train.processes=1"), set()),
    "a parameter of the workload": (setting("workload.parameters.columns=[b]"), {DATASET, WORK}),
    "the shares of the split": (setting("data.split.test=0.5"), {DATASET, WORK}),
    "the label's column": (setting("source.label_column=y"), {DATASET, WORK}),
    "which rows of the log": (setting("source.inference_log={days: 3}"), {DATASET, WORK}),
    "how many rows of the log": (setting("source.inference_log={most_share: 0.3}"), {DATASET, WORK}),
    "a threshold": (setting("gates.candidate.0.minimum=0.6"), {GATE}),
    "the description": (setting("description=other"), set()),
    "the schedule": (setting("schedule.cron='0 3 * * *'"), set()),
    "serving": (setting("serving.threads=2"), set()),
    "the raw objects": (fact("snapshot", "t"), {DATASET, WORK}),
    "the release of torch": (fact("torch", "2.14.0"), {WORK}),
    "the champion": (fact("champion", 2), {GATE}),
    "the evidence": (fact("evidence", {"rows": "other"}), {GATE}),
}


@pytest.fixture(scope="module")
def unedited() -> dict[str, str]:
    """Of the copy as it is, once known: what a test edits is put back."""
    return {}


@pytest.mark.parametrize("what", MOVES)
def test_an_edit_moves_what_it_decides_and_nothing_else(place: Place, unedited: dict[str, str], what: str) -> None:
    edit, moves = MOVES[what]
    before = unedited or place.identities()
    unedited.update(before)
    edit(place)
    after = place.identities()
    assert {name for name in before if before[name] != after[name]} == moves


@pytest.mark.parametrize(
    ("file", "moves"),
    [
        (f"{MODELS}/sources/images.py", {DATASET, WORK}),
        (f"{MODELS}/workloads/vision.py", {DATASET, WORK}),
        (f"{MODELS}/workloads/tabular.py", set()),
    ],
)
def test_of_a_built_in_workload_its_own_modules_count(place: Place, file: str, moves: set[str]) -> None:
    """The resize of a picture, for one."""
    place.workload = "mlratchet.models.workloads.vision"
    before = place.identities()
    place.append(file, "\nADDED = 1\n")
    after = place.identities()
    assert {name for name in before if before[name] != after[name]} == moves


def test_what_a_row_of_the_log_weighs_decides_the_weights_alone(place: Place) -> None:
    found = []
    for weight in (1.0, 2.0):
        place.overrides = (f"source.inference_log={{days: 3, weight: {weight}}}",)
        found.append(place.identities())
    assert {name for name in found[0] if found[0][name] != found[1][name]} == {WORK}


def test_the_functions_of_a_gate_are_its_own(place: Place) -> None:
    spec = read_pipeline(place.folder / "mine.yaml")
    assert functions_of(spec.gates, "candidate") == (
        "judge:judge",
        "noise:shake",
        "slicing:sides",
        "weighing:Heavy",
        "weighing:Weight",
    )
    assert functions_of(spec.gates, "champion") == ()


def champion(place: Place, **changes: Any) -> Registration:
    fields: dict[str, Any] = {
        "name": "mine", "version": 4, "work_key": "w", "run_id": "r", "model_id": None, "source_uri": "s3://b/m",
        "manifest": {}, "manifest_digest": "m", "weights_key": "k", "weights_sha256": "x", "snapshot_id": "s",
        "dataset_id": "d", "rows_key": "rows", "revision": "v", "parent_version": None, "registered_s": 0.0,
        "made_of": place.parts(),
    }  # fmt: skip
    return Registration(**{**fields, **changes})


def test_a_run_says_which_parts_moved(place: Place) -> None:
    before = champion(place)
    for file, more in (
        ("net.py", "\nADDED = 1\n"),
        ("vocab.json", "[1]"),
        (f"{MODELS}/data/split.py", "\nADDED = 1\n"),
    ):
        place.append(file, more)
    place.append("layers.py", "import unrelated\n")
    place.torch, place.overrides = "2.14.0", ("train.epochs=3",)
    assert why_anew(before, place.parts()) == (
        "trains anew, since version 4 was trained from other parts: code of layers; code of net; "
        "code of unrelated (added); file mine/vocab.json; train.epochs 10 -> 3; torch 2.13.0 -> 2.14.0 and 1 more"
    )


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (code(f"{MODELS}/data/split.py"), "Ratchet's own code that makes datasets"),
        (code(f"{MODELS}/training/loop.py"), "Ratchet's own code that trains"),
        (code(f"{MODELS}/sources/csv.py"), "Ratchet's code of mlratchet.models.sources.csv"),
        (setting("data.split.salt=other"), "data.split.salt ratchet -> other"),
        (code("factory.py"), "code of factory"),
    ],
)
def test_each_part_has_its_words(place: Place, edit: Callable[[Place], None], says: str) -> None:
    before = champion(place)
    edit(place)
    assert why_anew(before, place.parts()).endswith(f"was trained from other parts: {says}")


def test_other_raw_objects_and_a_first_model_need_no_reason(place: Place) -> None:
    assert why_anew(None, place.parts()) == ""
    assert why_anew(champion(place, snapshot_id="other"), place.parts()) == ""


def test_the_champion_of_an_earlier_release_is_said_to_be_one(place: Place) -> None:
    assert why_anew(champion(place, made_of=None), place.parts()) == (
        "version 4 was trained by an earlier release, whose identities were over folders: this run trains anew, once"
    )


def test_parts_that_are_not_those_of_the_work_key_are_refused(place: Place, store: MemoryStore) -> None:
    parts = place.parts()
    own = champion(place, work_key=work_key(parts.work), dataset_id=digest(parts.dataset))
    publish_registration(store, own)
    assert find_registration(store, own.work_key) == own
    other = MadeOf(work={**parts.work, "torch": "2.14.0"}, dataset=parts.dataset)
    store.put(
        f"registrations/{own.work_key}.json", own.model_copy(update={"made_of": other}).model_dump_json().encode()
    )
    with pytest.raises(SecurityError, match="are not those of its work key and dataset; it was changed"):
        find_registration(store, own.work_key)


def test_a_declared_file_that_is_gone_is_named(place: Place) -> None:
    place.read("vocab.json")
    (place.folder / "vocab.json").unlink()
    with pytest.raises(ConfigurationError, match=r"files: no file .*vocab\.json"):
        place.identities()

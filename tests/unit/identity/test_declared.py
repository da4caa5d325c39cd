"""Files that code declares: what is named in a pipeline file says them, however it is written; nothing is loaded."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from mlratchet.flows.check_file import check_pipeline
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.gates.checks.case import Case
from mlratchet.models.gates.checks.custom import CustomCheck
from mlratchet.models.gates.evidence import Evidence
from mlratchet.models.identity.closure import source_of
from mlratchet.models.identity.declared import declared_by
from mlratchet.models.preparation.composed import PreparationPlan
from mlratchet.models.preparation.section import PreparationSection
from mlratchet.models.schema.fields import Schema
from mlratchet.models.workloads.loading import workload_source

from tests.conftest import REPOSITORY

Project = Callable[..., Path]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """Writes files; `lists/a.json` and `b.json` are there already."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(**files: str) -> Path:
        for name, text in {"lists__init": "", **files}.items():
            path = tmp_path / f"{name.replace('lists__init', 'lists/__init__').replace('__in_', '/')}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        return tmp_path

    (tmp_path / "lists").mkdir()
    for name in ("b.json", "lists/a.json", "lists/b.json"):
        (tmp_path / name).write_text("[]")
    yield write
    for name, module in list(sys.modules.items()):  # torch, which may be new too, cannot be imported twice
        if str(getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            sys.modules.pop(name)


BASE = "class Base:\n    files = ('a.json',)\n"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("class Shop:\n    files = ('b.json',)", {"shop/b.json"}),
        ("class Shop:\n    files: tuple[str, ...] = ('b.json', 'lists/a.json')", {"shop/b.json", "shop/lists/a.json"}),
        ("B = ('b.json',)\nclass Shop:\n    files = B", {"shop/b.json"}),
        ("def Shop(): ...\nShop.files = ['b.json']", {"shop/b.json"}),
        ("if True:\n    class Shop:\n        files = ('b.json',)\nelse:\n    Shop = None", {"shop/b.json"}),
        ("class Other:\n    files = ('gone.json',)\nclass Shop:\n    pass", set()),
        ("files = ('gone.json',)\ndef Shop():\n    files = ('gone.json',)", set()),
        ("from lists.base import Base\nclass Shop(Base): pass", {"lists.base/a.json"}),
        ("from lists.base import Base\nclass Shop(Base):\n    files = ('b.json',)",
         {"lists.base/a.json", "shop/b.json"}),
        ("import lists.base\nclass Shop(lists.base.Base): pass", {"lists.base/a.json"}),
        ("import lists.base as lb\nclass Shop(lb.Base): pass", {"lists.base/a.json"}),
        ("from lists import base\nclass Shop(base.Base[int]): pass", {"lists.base/a.json"}),
        ("from lists.base import Base as Shop", {"lists.base/a.json"}),
        ("from lists.base import *\nShop = Base", {"lists.base/a.json"}),
        ("class Shop(Shop): pass", set()),
        ("class Shop(not_there.Base, dict, make()): pass", set()),
        ("this is no Python", set()),
    ],
)  # fmt: skip
def test_a_name_leads_to_what_it_declares(project: Project, text: str, found: set[str]) -> None:
    project(shop=text, lists__in_base=BASE)
    assert set(declared_by("shop:Shop", "here")) == found
    assert "shop" not in sys.modules
    assert set(source_of("shop:Shop").files) == found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("class Shop:\n    files = tuple(sorted(NAMES))", r".*: code is read for it and not run"),
        ("def Shop(): ...\nShop.files = 'b.json'", r"files must be a tuple of names, .*, got 'b.json'"),
        ("class Shop:\n    files = ('gone.json',)", r"files: no file .*gone\.json: .*; add it, or do not declare it"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_said_with_its_place(project: Project, text: str, words: str) -> None:
    project(shop=text)
    with pytest.raises(ConfigurationError, match=rf"^gates\.candidate\.0: {words}"):
        declared_by("shop:Shop", "gates.candidate.0")


def test_an_own_objective_and_an_own_preparation_have_theirs(project: Project) -> None:
    folder = project(
        paces="from mlratchet.models.objectives.regression import Regression\n"
        "class Paces(Regression):\n    name, files = 'pace', ()\n    files = ('b.json',)\n",
        runs="from mlratchet.models.workloads.tabular import TableRegressor\n"
        "class Runs(TableRegressor):\n    task = 'paces:Paces'\n",
    )
    schema = Schema.model_validate({"fields": {"a": {"kind": "number"}}})
    own = {"odd": {"use": "lists.base:Base", "fields": ["a"]}}
    project(lists__in_base=BASE)
    plan = PreparationPlan(schema, PreparationSection.model_validate({"own": own}))
    before = workload_source("runs:Runs").digest(), plan.digest()
    for name in ("b.json", "lists/a.json"):
        (folder / name).write_text("[1]")
    after = workload_source("runs:Runs").digest(), plan.digest()
    assert [x != y for x, y in zip(before, after, strict=True)] == [True, True]


def test_a_file_that_is_not_there_is_told_with_its_line_before_a_run(project: Project) -> None:
    folder = project(
        shop="from mlratchet.models.sources.csv import Csv\nclass Shelf(Csv):\n    name = 'shelf'\n"
        "    files = ('shelf.json',)\ndef make(*given): ...\nmake.files = ('rates.json',)\n"
        "def judge(evidence): ...\njudge.files = ('limits.json',)\n"
    )
    document = yaml.safe_load((REPOSITORY / "docs/examples/two_layers/two-layers.yaml").read_text())
    document["workload"]["use"] = "mlratchet.models.workloads.tabular:TableClassifier"
    document["source"]["format"] = "shop:Shelf"
    document.setdefault("train", {})["optimizer"] = {"factory": "shop:make"}
    document["gates"]["candidate"] = [
        *document["gates"]["candidate"],
        {"kind": "custom", "function": "shop:judge"},
    ]
    (folder / "mine.yaml").write_text(yaml.safe_dump(document))
    with pytest.raises(ConfigurationError) as refused:
        check_pipeline(folder / "mine.yaml")
    told = str(refused.value)
    for key, name in (("source.format", "shelf"), ("train.optimizer.factory", "rates"), ("gates.candidate.", "limits")):
        assert any("mine.yaml:" in line and key in line and f"{name}.json" in line for line in told.splitlines()), told


def test_a_check_whose_file_is_gone_passes_nothing(project: Project) -> None:
    project(
        shop="def judge(evidence):\n    return {'value': 1.0, 'verdict': 'pass', 'reason': 'ok'}\n"
        "judge.files = ('gone.json',)\n"
    )
    check = CustomCheck(kind="custom", function="shop:judge")
    result = check.judge(Case(gate="candidate", evidence=Evidence(), metrics={}))
    assert (result.verdict, "gone.json" in result.reason) == ("inconclusive", True)

"""What a workload is made of, from its name in the pipeline file."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlratchet.flows.check_file import check_pipeline
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.workloads.loading import workload_source

MODULES = {
    "own_base.py": "from mlratchet.models.workloads.tabular import TableClassifier\n"
    "class Base(TableClassifier):\n    files = ('words.txt',)\n    build_model = print\n",
    # the base is found by a name made at run time: no import statement leads to it
    "own_workload.py": "import importlib\nclass Own(importlib.import_module('own_' + 'base').Base):\n"
    "    files = ('more.txt',)\n",
}
PIPELINE = """name: own
workload:
  use: own_workload:Own
  parameters: {columns: [a], classes: ["0", "1"]}
source: {prefix: own/}
gates:
  data: [{kind: data, measure: rows, minimum: 1}]
  candidate: [{kind: absolute, metric: accuracy, minimum: 0.5}]
  staging: [{kind: parity, maximum_difference: 0.1}]
  champion: [{kind: absolute, metric: accuracy, minimum: 0.5}]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name, text in {**MODULES, "words.txt": "one", "more.txt": "two", "own.yaml": PIPELINE}.items():
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    yield tmp_path
    for name in MODULES:
        sys.modules.pop(name.removesuffix(".py"), None)


def test_bases_and_what_they_declare_count(folder: Path) -> None:
    found = workload_source("own_workload:Own")
    assert set(found.modules) == {"own_workload", "own_base"}
    assert set(found.files) == {"own_workload/more.txt", "own_base/words.txt"}
    assert {"mlratchet.models.workloads.tabular", "mlratchet.models.workloads.base"} <= set(found.product)
    assert "mlratchet.models.workloads.vision" not in found.product
    (folder / "words.txt").write_text("three")
    assert workload_source("own_workload:Own").digest() != found.digest()


def test_a_declared_file_that_is_missing_is_an_error_of_the_file_with_its_line(folder: Path) -> None:
    check_pipeline(folder / "own.yaml")
    (folder / "words.txt").unlink()
    with pytest.raises(
        ConfigurationError, match=r"own\.yaml:3: workload own_workload:Own: files: no file .*words\.txt"
    ):
        check_pipeline(folder / "own.yaml")

"""`ratchet new`: what it writes can be validated, tested and run at once, and nothing is overwritten."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mlratchet.models.drafting.begin import KINDS
from mlratchet.models.pipeline.loading import read_pipeline

OWN = [name for name, kind in KINDS.items() if kind.use]


@pytest.mark.parametrize("like", list(KINDS))
def test_every_kind_is_a_pipeline_file_and_a_delivery_in_its_format(ratchet: Any, tmp_path: Path, like: str) -> None:
    told = json.loads(ratchet("new", "my-own", "--like", like, "--json"))
    spec = read_pipeline(Path(told["file"]))
    assert (spec.name, spec.source.prefix) == ("my-own", "my-own/")
    assert told["next"][-1] == "ratchet run my-own"
    assert any(path.is_file() for path in (tmp_path / told["data"]).rglob("*"))
    assert (spec.workload.use.partition(":")[0] == "my_own") == (like in OWN)


def test_nothing_is_overwritten_and_nothing_half_written(ratchet: Any, tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text("mine")
    assert "test_mine.py: is there already" in ratchet("new", "mine", "--like", "custom", code=2)
    assert [path.name for path in tmp_path.iterdir()] == ["test_mine.py"]
    assert (tmp_path / "test_mine.py").read_text() == "mine"


def test_a_wrong_word_is_told_with_the_next_step(ratchet: Any) -> None:
    assert "did you mean 'vision'" in ratchet("new", "mine", "--like", "visions", code=2)
    assert "small letters" in ratchet("new", "Mine", "--like", "text", code=2)
    assert "choose another name" in ratchet("new", "json", "--like", "custom", code=2)


@pytest.mark.slow
def test_the_class_is_small_and_its_test_passes(ratchet: Any, tmp_path: Path) -> None:
    for like in OWN:
        ratchet("new", f"my-{like}", "--like", like)
    assert len((tmp_path / "my_custom.py").read_text().splitlines()) < 40
    files = [f"test_my_{like}.py" for like in OWN]
    passed = subprocess.run(  # one process: its imports take longer than the tests
        [sys.executable, "-m", "pytest", "-rp", "-p", "no:schemathesis", "-p", "no:cacheprovider", *files],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert passed.returncode == 0, passed.stdout + passed.stderr
    assert [file for file in files if f"PASSED {file}::" not in passed.stdout] == []

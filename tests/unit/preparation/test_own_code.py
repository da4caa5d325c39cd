"""A version is prepared by the code that it was fitted with: after an edit, after a removal, beside a newer version."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from mlratchet.models import functions
from mlratchet.models.errors import DataError
from mlratchet.models.preparation import own_code
from mlratchet.models.preparation.base import State
from mlratchet.models.preparation.composed import PreparationPlan
from mlratchet.models.preparation.own_code import kept_code, read_code
from mlratchet.models.preparation.section import PreparationSection

from tests.unit.preparation.examples import schema_of, table

MODULES = ("shelf_of_mine", "shelf_of_mine.ages", "shelf_of_mine.scaling")
AGES = """
import numpy as np
from mlratchet.models.preparation.base import Preparation, State
from mlratchet.models.tensors.named import Inputs
from mlratchet.models.tensors.spec import TensorSpec
from shelf_of_mine.scaling import scaled


class Ages(Preparation):
    def fit(self, pieces):
        ages = [age for piece in pieces() for age in piece["age"].drop_null().to_pylist()]
        return State(document={"oldest": max(ages)})

    def apply(self, examples, state):
        from shelf_of_mine.scaling import FACTOR

        ages = np.nan_to_num(examples["age"].to_numpy())
        return Inputs({"share": (FACTOR * scaled(ages, state.document["oldest"])).astype(np.float32)})

    def tensors(self, state):
        return (TensorSpec(name="share", shape=(), dtype="float32"),)
"""
SCALING = "FACTOR = {factor}\n\n\ndef scaled(ages, oldest):\n    return ages / oldest\n"


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package of the user's, without an __init__."""
    folder = tmp_path / "shelf_of_mine"
    folder.mkdir()
    (folder / "ages.py").write_text(AGES)
    (folder / "scaling.py").write_text(SCALING.format(factor=1))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr(own_code, "_kept", {})
    finders = list(sys.meta_path)
    yield folder
    sys.meta_path[:] = finders
    forget()


def forget() -> None:
    """As a process that has just started."""
    for name in MODULES:
        sys.modules.pop(name, None)


def plan() -> PreparationPlan:
    own = {"ages": {"use": "shelf_of_mine.ages:Ages", "fields": ["age"]}}
    return PreparationPlan(schema_of("age", "pay"), PreparationSection.model_validate({"own": own}))


def shares(state: State, rows: pa.Table) -> Any:
    return plan().apply(rows, state).columns["share"]


def test_a_state_is_applied_by_the_code_that_it_was_fitted_with(shelf: Path) -> None:
    rows = table(40)
    first = State.from_bytes(plan().fit(lambda: iter([rows])).to_bytes())
    ones = shares(first, rows)
    (shelf / "scaling.py").write_text(SCALING.format(factor=2))
    forget()
    second = plan().fit(lambda: iter([rows]))
    np.testing.assert_array_equal(shares(second, rows), 2 * ones)
    np.testing.assert_array_equal(shares(State.from_bytes(first.to_bytes()), rows), ones)
    for file in shelf.iterdir():
        file.unlink()
    forget()
    np.testing.assert_array_equal(shares(State.from_bytes(first.to_bytes()), rows), ones)


def test_values_mean_the_same_under_the_same_code_alone(shelf: Path) -> None:
    rows = table(40)
    first = plan().fit(lambda: iter([rows]))
    before = plan().meanings_of_tensors(first)
    assert plan().meanings_of_tensors(State.from_bytes(first.to_bytes())) == before
    (shelf / "scaling.py").write_text(SCALING.format(factor=2))
    forget()
    after = plan().meanings_of_tensors(plan().fit(lambda: iter([rows])))
    assert {name for name in before if before[name] != after[name]} == {"share"}


def test_what_is_installed_is_taken_while_it_is_the_same_but_for_comments(shelf: Path) -> None:
    rows = table(40)
    state = plan().fit(lambda: iter([rows]))
    (shelf / "scaling.py").write_text(SCALING.format(factor=1) + "# a word more\n")
    forget()
    shares(State.from_bytes(state.to_bytes()), rows)
    assert sys.modules["shelf_of_mine.scaling"].__file__ == str(shelf / "scaling.py")


def test_the_whole_closure_is_kept_and_a_plan_without_own_classes_keeps_none(shelf: Path) -> None:
    kept = read_code(kept_code(["shelf_of_mine.ages:Ages"]))
    assert set(kept.modules) == {"shelf_of_mine.ages", "shelf_of_mine.scaling"}
    assert "numpy" in kept.packages
    rows = table(40)
    built_in = PreparationPlan(schema_of("age", "pay"))
    assert set(built_in.fit(lambda: iter([rows])).document) == {"parts"}


def test_kept_code_takes_no_name_in_a_process_that_may_hold_a_key(shelf: Path) -> None:
    """Not even one that is imported only later."""
    rows = table(40)
    state = State.from_bytes(plan().fit(lambda: iter([rows])).to_bytes())
    (shelf / "scaling.py").write_text(SCALING.format(factor=2))
    before, modules = list(sys.meta_path), set(sys.modules)
    functions.keep_out(True)
    try:
        with pytest.raises(functions.KeptOutError, match="may hold a key"):
            shares(state, rows)
    finally:
        functions.keep_out(False)
    assert sys.meta_path == before
    assert modules <= set(sys.modules)


def test_code_that_was_changed_is_refused(shelf: Path) -> None:
    rows = table(40)
    state = plan().fit(lambda: iter([rows]))
    forged = State(document={**state.document, "code": {"modules": {"os": "import sys"}}}, tensors=state.tensors)
    with pytest.raises(DataError, match="its code cannot be read"):
        shares(forged, rows)


@pytest.mark.parametrize("name", ["mlratchet.models.metrics.counts", "json", "json.decoder"])
def test_kept_code_takes_the_place_of_no_module_of_ours_or_of_python(shelf: Path, name: str) -> None:
    kept = kept_code(["shelf_of_mine.ages:Ages"])
    kept["modules"][name] = kept["modules"]["shelf_of_mine.scaling"]
    with pytest.raises(DataError, match="no module of a user's"):
        read_code(kept)

"""A rehearsal finds what would end a training, or worse what would not, and blames the line that has to be mended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.config import WorkloadRef
from mlratchet.models.sources.record import Split
from mlratchet.models.training.config import TrainConfig
from mlratchet.models.training.rehearsal import Rehearsal, rehearse

ODD = Path(__file__).with_name("odd_models.py")
TABLE = {"columns": ["a", "b"], "classes": ["low", "mid", "high"]}
TABLES = "mlratchet.models.workloads.tabular"


def tried(use: str, *, world: int = 1, rows: Split | None = None, **train: Any) -> Rehearsal:
    if ":" not in use:
        use = f"tests.unit.training.odd_models:{use}"
    parameters = train.pop("parameters", TABLE)
    return rehearse(
        MemoryStore("rehearsal"), WorkloadRef(use=use, parameters=parameters), TrainConfig.model_validate(train),
        world=world, rows=rows,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("use", "code", "words", "train"),
    [
        ("Squeeze", ".squeeze()", "float32 [3] for 1 row, expected [1, 3]", {}),
        ("Squeeze", ".squeeze()", "squeeze(-1)", {"mode": "fast"}),
        ("LenView", "view(len(x), -1)", "write x.shape[0]", {}),
        ("Branch", "if x.shape[0] > 3", "no condition on how many rows there are", {}),
        ("DataBranch", "if y.sum() > 0", "data-dependent", {}),
        ("EvalDropout", "dropout(torch.relu", "random in eval", {}),
        ("TooMany", "return self.b(torch.relu(self.a(x)))", "expected [1, 3]: a number for each of 3 classes", {}),
        ("Pairs", "return self.b(self.a(x)), x", "gives a tuple, expected one tensor", {}),
        ("Shapes", "self.b(self.a(x.T))", "RuntimeError: mat1 and mat2", {}),
        ("Extra", "", "_extra_state, a dict", {}),
        ("NonPersistent", "class NonPersistent", "buffer mean is changed by training", {}),
        ("Counter", "class Counted", "layer model keeps calls as an attribute", {}),
        ("NumpyNoise", "class NumpyNoise", "differs after a resume", {}),
        ("LossOfTypo", "target.no_such_thing", "AttributeError", {}),
        ("Builds", "self.no_columns", "AttributeError", {}),
        ("LongName", "", "has 256 characters", {}),
        ("Hyphen", "class Hyphen", "names a part 'per-line'", {}),
        ("Umlaut", "class Umlaut", "names a part 'größe'", {}),
        ("Spaced", "class Spaced", "names a buffer 'two words'", {}),
        ("Unwritten", "torch.empty_strided(y.shape", "calls 'torch.ops.aten.empty_strided.default'", {}),
        ("Remembers", "add_(1e-6)", "writes to its own seen: an answer would hold what others asked before", {}),
        ("Halves", "x.mul_(0.5)", "writes to its input x in place", {"parameters": {**TABLE, "standardise": False}}),
        ("Mapped", "torch.vmap(", "write it with broadcasting and train anew", {}),
        (f"{TABLES}:TableClassifier", "class Tally", "optimizer keeps count as an attribute",
         {"optimizer": {"factory": "tests.unit.training.odd_models:tally"}}),
        (f"{TABLES}:TableClassifier", "", "has no attribute",
         {"optimizer": {"factory": "tests.unit.training.odd_models:no_function"}}),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_line_and_what_to_write(
    use: str, code: str, words: str, train: dict[str, Any]
) -> None:
    said = tried(use, **train).problem
    assert words in said
    if code:
        place = said.split(": ")[0]
        file, _, line = place.rpartition(":")
        assert Path(file).resolve() == ODD, said
        assert code in ODD.read_text().splitlines()[int(line) - 1], said


SCALED = "columns are standardised by default"


def test_a_column_that_is_embedded_says_how_to_leave_it_as_it_is() -> None:
    rows = Split(ids=["1", "2"], x=np.asarray([[0, 0.5], [1, 3.5]], dtype=np.float32), y=np.asarray([0, 1]))
    said = tried("Embeds", rows=rows).problem
    assert "IndexError" in said
    assert SCALED in said
    assert "workload.parameters.standardise: false, or name the columns" in said
    for left in (False, ["b"]):
        assert tried("Embeds", rows=rows, parameters={**TABLE, "standardise": left}) == Rehearsal()
    beyond = Split(ids=rows.ids, x=rows.x.array + 7, y=rows.y)
    for use in ("Embeds", "Squeeze"):  # what is wrong with raw columns, too, is not laid at their scale
        said = tried(use, rows=beyond).problem
        assert said
        assert SCALED not in said


def test_a_layer_that_forward_does_not_use_is_a_mistake_where_processes_wait_for_it() -> None:
    assert "spare.weight, spare.bias of the model takes no part" in tried("Unused", mode="fast", world=2).problem
    assert tried("Unused", mode="fast", world=1) == tried("Unused", world=2) == Rehearsal()
    frozen = {"groups": [{"match": "spare.*", "learning_rate_factor": 0}]}
    assert tried("Unused", mode="fast", world=2, optimizer=frozen) == Rehearsal()


VISION = {"height": 8, "width": 8, "channels": 1, "classes": ["a", "b"], "base_width": 4}


@pytest.mark.parametrize(
    ("use", "parameters"),
    [
        (f"{TABLES}:TableClassifier", TABLE),
        (f"{TABLES}:TableClassifier", {**TABLE, "hidden": [8, 4], "dropout": 0.5}),
        (f"{TABLES}:TableRegressor", {"columns": ["a"]}),
        (f"{TABLES}:TableMultiLabel", {"columns": ["a"], "labels": ["u", "v"]}),
        (f"{TABLES}:TableRanker", {"columns": ["a", "b"]}),
        ("mlratchet.models.workloads.vision:ImageClassifier", VISION),
        ("docs.examples.counts.visits:VisitCounts", {"columns": ["a", "b"]}),
        ("Odd", TABLE),
        ("Root", TABLE),
        ("Halves", TABLE),  # a copy, as its columns are standardised
        ("Words", {"classes": ["x", "y"]}),
    ],
)
@pytest.mark.parametrize(
    "train",
    [
        {},
        pytest.param({"mode": "fast", "accumulation": 4, "global_batch_size": 6}, marks=pytest.mark.slow),
        pytest.param(
            {"ema_decay": 0.9, "early_stopping": {"metric": "loss"}, "optimizer": {"name": "sgd"}, "precision": "bf16"},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_what_is_right_is_left_in_peace(use: str, parameters: dict[str, Any], train: dict[str, Any]) -> None:
    assert tried(use, parameters=parameters, world=2, **train) == Rehearsal()


def test_real_rows_are_taken_where_they_are_given() -> None:
    """Ids of shops beyond what the embedding holds: rows of 0 and 1 would not have shown it."""
    rows = Split(ids=["1", "2"], x=np.full((2, 6), 31, dtype=np.int64), y=np.asarray([0, 1]))
    parameters = {"classes": ["x", "y"]}
    assert tried("Words", parameters=parameters) == Rehearsal()
    assert "IndexError" in tried("Words", parameters=parameters, rows=rows).problem


def test_a_loss_that_is_not_finite_on_a_few_rows_is_no_mistake_of_the_models() -> None:
    rows = Split(ids=["1", "2"], x=np.full((2, 2), np.nan, dtype=np.float32), y=np.asarray([0, 1]))
    report = tried(f"{TABLES}:TableClassifier", rows=rows)
    assert not report.problem
    assert "not finite" in report.notes[0]

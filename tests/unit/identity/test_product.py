"""Every product module that a step imports stands in the list of what it decides, or under nothing with a reason."""

from __future__ import annotations

import pytest
from mlratchet.models.identity.closure import closure_of
from mlratchet.models.identity.normal_form import read_file, read_source
from mlratchet.models.identity.product import DATA, EVERY, JUDGEMENT, ROOT, WEIGHTS, Deciding, files_of, fits

ALL = {name: path for room in ("flows.*", "tasks.*", "infra.*", "models.*") for name, path in files_of(room)}
SAYS_NOTHING = read_source(b"").digest  # of a package that holds nothing but a docstring
STEPS_THAT_DECIDE_NOTHING = {
    "tasks.steps.conclude": "says how a run ended",
    "tasks.steps.deploy": "waits until the server answers",
    "tasks.steps.holds": "stops a run, or lets it go on",
    "tasks.steps.promote": "moves a version that was judged",
    "tasks.steps.recognise": "computes the identities",
    "tasks.steps.register": "packages weights: one version per work key",
    "tasks.steps.score": "asks a version that was judged",
    "tasks.steps.search": "proposes values: what they train has a work key of its own",
    "tasks.steps.study": "proposes values",
    "tasks.steps.trial": "proposes values",
}


def met(one: Deciding) -> set[str]:
    """What the starts import, not going on where nothing is decided."""
    cut = {name for name in ALL if one.says(name) == "nothing"} - set(one.starts)
    closure = closure_of(
        [f"mlratchet.{start}" for start in one.starts], follow=[f"mlratchet.{name}" for name in ALL if name not in cut]
    )
    return {name.removeprefix("mlratchet.") for name, code in closure.product.items() if code != SAYS_NOTHING}


@pytest.mark.parametrize("kind", EVERY)
def test_every_module_that_a_step_meets_is_said_to_decide_or_not(kind: str) -> None:
    unsaid = sorted(name for name in met(EVERY[kind]) if EVERY[kind].says(name) is None)
    assert unsaid == [], f"models/identity/product.py, {kind}: does an edit of these change it? say so"


@pytest.mark.parametrize("kind", EVERY)
def test_what_counts_through_the_workload_is_part_of_every_workload_where_a_step_meets_it(kind: str) -> None:
    """Otherwise it would decide and stand in no identity."""
    one = EVERY[kind]
    base = closure_of(["mlratchet.models.workloads.base"], follow=[f"mlratchet.{name}" for name in ALL]).product
    assert {name for name in met(one) if one.says(name) == "through"} <= {n.removeprefix("mlratchet.") for n in base}


def test_every_step_is_where_something_is_decided_or_decides_nothing_for_a_reason() -> None:
    steps = {name for name in ALL if fits(name, "tasks.steps.*")} - {"tasks.steps"}
    starts = {start for one in EVERY.values() for start in one.starts if fits(start, "tasks.steps.*")}
    assert starts | set(STEPS_THAT_DECIDE_NOTHING) == steps
    assert not starts & set(STEPS_THAT_DECIDE_NOTHING)


@pytest.mark.parametrize("kind", EVERY)
def test_no_name_in_the_lists_is_one_of_nothing(kind: str) -> None:
    one = EVERY[kind]
    patterns = (*one.starts, *one.decides, *one.through, *one.nothing)
    assert [pattern for pattern in patterns if not list(files_of(pattern))] == []
    assert all(why.strip() for why in one.nothing.values())


def test_the_longest_name_wins() -> None:
    assert JUDGEMENT.says("models.metrics.base") == "decides"
    assert JUDGEMENT.says("models.evaluation.plots") == "nothing"
    assert WEIGHTS.says("models.metrics.base") == "decides"
    assert WEIGHTS.says("models.evaluation.score") == "nothing"
    assert DATA.says("models.workloads.tabular") == "through"
    assert DATA.says("models.workloads.loading") == "nothing"
    assert DATA.says("models.serving.app") is None


def test_what_the_lists_hold_is_read_from_the_package_itself() -> None:
    rows = {name for name in ALL if name.startswith("models.data") and not fits(name, "models.data.quality.*")}
    rows -= {"models.data.mapped", "models.data.reading", "models.data.quarantine", "models.data.kept_pieces"}
    rows |= {
        "models.schema.cell_bytes",
        "models.sources.raw_cells",
        "models.sources.record_table",
        "models.sources.stored_examples",
        "models.workloads.guarded",
    }  # name and refuse rows, whatever read them
    rows |= {"models.tensors.named", "models.tensors.spec"}  # what a shard holds
    objectives = {name for name in DATA.modules() if name.startswith("models.objectives")}  # they refuse targets
    assert set(DATA.modules()) - objectives == rows
    assert "models.objectives.answers.ranking" in objectives
    assert not any("losses" in name or "pictures" in name for name in objectives)
    assert ROOT.joinpath("models", "data", "split.py") in DATA.modules().values()
    assert all(read_file(path).digest for path in WEIGHTS.modules().values())

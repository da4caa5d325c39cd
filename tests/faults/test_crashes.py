"""Faults 3 to 8: the flow's process dies at each boundary; running again goes on from there."""

from __future__ import annotations

import json
from typing import Any

import pytest
from mlratchet.infra.machine.scratch import orphaned_runs
from mlratchet.infra.storage.s3 import S3Store
from mlratchet.models.data.snapshot import take_snapshot

pytestmark = [pytest.mark.stack, pytest.mark.slow]

CRASHES = (
    "train.after",
    "evaluate.after",
    "gate.candidate.after_decision",
    "register.before_create",
    "register.after_create",
    "promote.before_ledger",
    "promote.after_ledger",
    "deploy.before",
)


def work_key_of(store: S3Store) -> set[str]:
    return {info.key.split("/")[1] for info in store.list("work/")}


def test_a_run_that_dies_at_every_boundary_ends_with_one_champion(stack: Any, invariants: Any) -> None:
    name = stack.pipeline("crashes", "epochs: 20 -> epochs: 5", "processes: 2 -> processes: 1")
    stack("upload", name, "rows.csv")
    store = stack.adapters.store
    take_snapshot(stack.adapters.raw, store, prefix=f"{name}/")
    before = work_key_of(store)
    key = ""
    for point in CRASHES:
        died = stack("run", name, "--local", code=137, RATCHET_FAULT=f"{point}:crash")
        assert "champion (" not in died.stdout
        new = work_key_of(store) - before
        if new:
            (key,) = new
            invariants.no_process_is_left(key)
            invariants.nothing_half_written(name, key)
    repaired = stack.json("reconcile")
    # of those that Prefect has not declared crashed by itself meanwhile
    assert sum("its process is gone, now Crashed" in line for line in repaired) <= len(CRASHES)
    assert orphaned_runs(stack.home) == []
    invariants.no_run_hangs()
    report = stack.json("run", name, "--local")
    assert report["work_key"] == key
    assert report["version"] == 1
    assert len(stack.adapters.ledger.entries(name)) == 1
    invariants.all_hold(name, report)
    assert stack.json("reconcile") == []
    claims = [json.loads(store.get(i.key)) for i in store.list(f"work/{key}/claim-")]
    assert [claim["epoch"] for claim in claims] == list(range(1, len(claims) + 1))


RAISES = (
    "ingest.after",
    "preprocess.after",
    "train.before",
    "train.after",
    "evaluate.after",
    "gate.data.after_decision",
    "gate.candidate.after_decision",
    "gate.staging.after_decision",
    "gate.champion.after_decision",
    "register.before_create",
    "register.after_create",
    "promote.before_ledger",
    "promote.after_ledger",
    "promote.after_alias_champion",
    "promote.after_alias_previous",
    "deploy.after",
)


@pytest.mark.full
@pytest.mark.parametrize("point", RAISES)
def test_a_step_that_fails_once_is_tried_again_and_the_run_ends_well(stack: Any, invariants: Any, point: str) -> None:
    name = stack.pipeline(f"raise-{point.replace('.', '-').replace('_', '-')}"[:48], "epochs: 20 -> epochs: 3")
    stack("upload", name, "rows.csv")
    report = stack.json("run", name, "--local", RATCHET_FAULT=f"{point}:raise")
    assert (report["outcome"], report["version"]) == ("promoted", 1)
    invariants.all_hold(name, report)

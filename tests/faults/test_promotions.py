"""Faults 12 and 41: sixteen promotions at once, a failure anywhere between the ledger entry and the swap."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from mlratchet.infra.registry.memory import MemoryRegistry
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.infra.storage.s3 import S3Store
from mlratchet.models import fault_points
from mlratchet.models.errors import SecurityError
from mlratchet.models.fault_points import InjectedFault
from mlratchet.models.ledger.entry import LedgerEntry
from mlratchet.models.ports.storage import ObjectStore

from tests.conftest import Stack
from tests.faults.promotions import POINTS, Scene, TinyFollower, at_once
from tests.moto_in_turn import mock_s3

AT_ONCE = 16


@pytest.fixture(params=["memory", "moto", pytest.param("seaweedfs", marks=pytest.mark.stack)])
def bucket(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    """Where conditional creates decide."""
    if request.param == "memory":
        yield MemoryStore("promotions")
    elif request.param == "moto":
        monkeypatch.delenv("AWS_ENDPOINT_URL_S3", raising=False)
        with mock_s3():
            store = S3Store("promotions", endpoint_url=None, region="us-east-1", access_key="a", secret_key="b")
            store.ensure_bucket()
            yield store
    else:
        yield own_bucket(request.getfixturevalue("stack"))


def own_bucket(stack: Stack) -> S3Store:
    """Not the stack's own store: what is reconciled there is none of this. One for all tests of faults: a bucket of
    SeaweedFS takes volumes of its own."""
    store = stack.adapters.bucket("faults")
    store.ensure_bucket()
    return store


def play(scene: Scene, folder: Path, rounds: int) -> None:
    """Every round: a fault somewhere, all promote from one view of the ledger, then a reconcile."""
    follower = TinyFollower(scene, folder)
    scene.register(AT_ONCE + 1)
    for generation in range(rounds):
        point = POINTS[generation % len(POINTS)]
        champion = scene.head().version if generation else None
        records = [record for record in scene.records if record.version != champion][:AT_ONCE]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            decided = list(pool.map(partial(scene.decide, champion=champion), records))
        decisions = dict(zip([record.version for record in records], decided, strict=True))
        fault_points.arm(point, "raise")

        def promote(record: Any, expected: int = generation, decisions: dict[int, str] = decisions) -> LedgerEntry:
            entry = scene.promote(record, expected, decisions[record.version])
            try:
                follower.follow()
            except InjectedFault:  # as `Follower.run`: the old one serves on, the next poll tries again
                assert follower.version != entry.version
            return entry

        came_of, losers = at_once(records, promote)
        fault_points.disarm()
        entries = [entry for entry in came_of if isinstance(entry, LedgerEntry)]
        failed = [one for one in came_of if isinstance(one, str) and one.startswith("failed")]
        assert len(failed) == (point != "serve.before_swap")
        assert len(entries) <= 1
        assert len(entries) + len(failed) + len(losers) == AT_ONCE
        winner = scene.head()
        assert all(f"version {winner.version} by {winner.actor} (generation {generation + 1})" in w for w in losers)
        assert [entry.version for entry in entries] in ([], [winner.version])
        scene.reconcile()
        follower.follow()
        assert follower.version == winner.version
        scene.check(folder / f"check-{generation}", generation + 1)


def test_of_sixteen_promotions_at_once_one_wins_whatever_fails(bucket: ObjectStore, tmp_path: Path) -> None:
    play(Scene(f"race-{uuid.uuid4().hex[:8]}", bucket, MemoryRegistry()), tmp_path, len(POINTS))


@pytest.mark.full
@pytest.mark.timeout(3600)
def test_two_hundred_rounds_of_sixteen_promotions(bucket: ObjectStore, tmp_path: Path) -> None:
    play(Scene(f"race-{uuid.uuid4().hex[:8]}", bucket, MemoryRegistry()), tmp_path, 200)


@pytest.mark.stack
def test_a_process_that_dies_at_each_point_of_a_promotion_is_repaired(stack: Any, tmp_path: Path) -> None:
    """Real processes, real MLflow, real S3; the last round has sixteen of them at once."""
    store = own_bucket(stack)
    name = f"race-{uuid.uuid4().hex[:8]}"
    run_id = stack.adapters.tracker.open_run(name, work_key=name, flow_run="f", name="n", tags={})
    stack.adapters.tracker.end_run(run_id, status="FINISHED")
    scene = Scene(name, store, stack.adapters.registry, run_id, keys=stack.adapters.keys)
    scene.register(AT_ONCE)
    script = Path(__file__).with_name("promoter.py")
    with subprocess.Popen(
        [sys.executable, str(script), name, run_id, store.bucket], env=stack.environment(), cwd=stack.project,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as promoter:  # fmt: skip
        assert promoter.stdin is not None
        assert promoter.stdout is not None

        def start(*lines: str) -> list[int]:
            promoter.stdin.write("\n".join([*lines, "start"]) + "\n")  # type: ignore[union-attr]
            promoter.stdin.flush()  # type: ignore[union-attr]
            return [int(code) for code in promoter.stdout.readline().split()]  # type: ignore[union-attr]

        generation = 0
        for version, point in enumerate(POINTS, start=1):
            assert start(f"{point} {version} {generation}") == [137], point
            generation += point != "promote.before_ledger"
            if generation:
                scene.reconcile()
                scene.check(tmp_path / point, generation)
        codes = start(*(f"none {version} {generation}" for version in range(1, AT_ONCE + 1)))
        assert sorted(codes) == [0] + [9] * (AT_ONCE - 1)
        children = psutil.Process(promoter.pid).children()
        assert children == []
        promoter.stdin.close()
    scene.reconcile()
    scene.check(tmp_path / "end", generation + 1)


def test_the_server_does_not_follow_a_cut_ledger_and_refuses_changed_bytes(store: MemoryStore, tmp_path: Path) -> None:
    """Fault 44, at the server."""
    scene = Scene("served", store, MemoryRegistry())
    first, second, third = scene.register(3)
    scene.promote(first, 0)
    scene.promote(second, 1)
    follower = TinyFollower(scene, tmp_path)
    follower.follow()
    assert follower.version == 2
    newest = store.get("ledger/served/00000002.json")
    store.delete("ledger/served/00000002.json")
    with pytest.raises(SecurityError, match="ends with generation 1, but 2 is served"):
        follower.follow()
    assert follower.version == 2
    store.put("ledger/served/00000002.json", newest)
    scene.promote(third, 2)
    store.put("artifacts/served/3/data/model.pt2", b"other bytes")
    with pytest.raises(SecurityError, match="it was changed"):
        follower.follow()
    assert follower.version == 2

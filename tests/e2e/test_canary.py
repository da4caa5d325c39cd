"""A version in its canary, on the real stack: the shadow, a share of real clients, and the promotion."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from mlratchet.models.decisions.decision import load_decision
from mlratchet.models.promotion.canary.chain import read_entry

from tests.conftest import Stack

pytestmark = [pytest.mark.stack, pytest.mark.slow]
FAST = ("epochs: 20 -> epochs: 3", "processes: 2 -> processes: 1", "minimum: 0.8} -> minimum: 0.5}")
LIVE = (
    "gates:\n -> serving:\n  read_seconds: 10\n  log: {flush_seconds: 2}\n  canary: {shadow_requests: 20, "
    "steps: [0.3, 0.6], minimum_requests: 60, maximum_hours: 0.2}\n\ngates:\n"
)
CHECK = "{kind: non_inferiority, metric: accuracy, margin: 0.03} -> {kind: live_errors, margin: 0.2}"


@contextmanager
def clients(url: str, body: dict[str, Any]) -> Iterator[list[tuple[int, str]]]:
    """Two of them ask all the time, each request as another client; what they got: status and version."""
    stopping, got = threading.Event(), list[tuple[int, str]]()

    def ask(who: int) -> None:
        number = 0
        with httpx.Client(timeout=120) as client:
            while not stopping.wait(0.03):
                number += 1
                reply = client.post(f"{url}/predict", json=body, headers={"x-client-key": f"{who}-{number}"})
                got.append((reply.status_code, reply.headers.get("x-model-version", "")))

    threads = [threading.Thread(target=ask, args=(who,)) for who in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield got
    finally:
        stopping.set()
        for thread in threads:
            thread.join()


def test_a_version_stands_its_canary_on_real_requests(stack: Stack) -> None:
    name = stack.pipeline("canaried", *FAST, LIVE, CHECK)
    stack("upload", name, "rows.csv")
    first = stack.json("run", name)
    assert (first["outcome"], first["version"]) == ("promoted", 1), "without a champion there is no canary"
    rows = (stack.project / "rows.csv").read_text().splitlines()
    body = {"instances": [instance(rows)]}
    with clients(first["url"], body) as got:
        process = stack.start("run", name, "--set=train.seed=1", "--json")
        out, err = process.communicate(timeout=400)
    assert process.returncode == 0, out + err
    report = json.loads(out)
    assert (report["outcome"], report["version"]) == ("promoted", 2)
    assert {status for status, _ in got} == {200}
    assert {version for _, version in got} == {"1", "2"}

    store = stack.adapters.store
    keys = sorted(info.key for info in store.list(f"canary/{name}/"))
    entries = [read_entry(store, name, key) for key in keys]
    assert [(one.phase, one.share) for one in entries] == [
        ("shadow", 0.0), ("share", 0.3), ("share", 0.6), ("settled", 0.6),
    ]  # fmt: skip
    judged = load_decision(store, report["gates"][-1]["decision"])
    (live,) = [check for check in judged["checks"] if check["kind"] == "live_errors"]
    assert (live["verdict"], judged["digests"]["canary"]) == ("pass", entries[-1].evidence)
    assert live["n"] >= 60
    assert "over" in stack.json("canary", name)
    assert stack.json("audit", name)["passed"]


def instance(rows: list[str]) -> dict[str, float]:
    """The first row as a client would send it."""
    names, cells = rows[0].split(","), rows[1].split(",")
    return {one: float(cell) for one, cell in zip(names, cells, strict=True) if one.startswith("x")}

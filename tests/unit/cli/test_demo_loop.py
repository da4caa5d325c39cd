"""The world of the demo of the loop, its pipeline file, and its timeline, without a stack."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from mlratchet.flows.cli.demo_loop_timeline import Event, told_by_records
from mlratchet.flows.cli.demo_loop_world import AFTER, AT_FIRST, as_delivery, loans
from mlratchet.infra.registry.memory import MemoryRegistry
from mlratchet.models.identity.signed_records import RecordStore
from mlratchet.models.monitoring.actions import ActionRule, decide
from mlratchet.models.monitoring.answers import publish_answer
from mlratchet.models.monitoring.finding import publish_finding
from mlratchet.models.monitoring.retraining import request_retrain
from mlratchet.models.pipeline.loading import find_pipeline, parse_pipeline
from mlratchet.models.promotion.holds import HoldBook

from tests.unit.audit.conftest import World
from tests.unit.monitoring.findings import finding

PIPELINES = Path(__file__).parents[3] / "deployments" / "pipelines"


def test_the_world_is_the_same_by_its_seed_and_the_eu_has_a_rule_of_its_own() -> None:
    then, now = loans(2000, eu=AT_FIRST, seed=1), loans(2000, eu=AFTER, seed=2)
    assert then == loans(2000, eu=AT_FIRST, seed=1)
    shares = [np.mean([row["region"] == "eu" for row in rows.instances]) for rows in (then, now)]
    assert shares[0] < 0.05
    assert 0.6 < shares[1] < 0.8
    agrees = {"eu": [], "else": []}  # type: ignore[var-annotated]
    for row, truth in zip(now.instances, now.truths, strict=True):
        agrees["eu" if row["region"] == "eu" else "else"].append((row["income"] > row["owed"]) == (truth == "yes"))
    assert np.mean(agrees["eu"]) < 0.1
    assert np.mean(agrees["else"]) > 0.9
    assert 0.3 < np.mean([truth == "yes" for truth in now.truths]) < 0.7


def test_a_wrong_delivery_has_every_label_turned_around() -> None:
    rows = loans(20, eu=0.5, seed=1)
    right, wrong = (as_delivery(rows, wrong=one).decode().splitlines()[1:] for one in (False, True))
    assert [line.rpartition(",")[0] for line in right] == [line.rpartition(",")[0] for line in wrong]
    assert all(a.rpartition(",")[2] != b.rpartition(",")[2] for a, b in zip(right, wrong, strict=True))


def test_its_pipeline_is_found_and_acts() -> None:
    spec = parse_pipeline(find_pipeline(PIPELINES, "loans").read_text(), where="loans.yaml")
    assert spec.monitoring is not None
    assert {rule.do for rule in spec.monitoring.actions} == {"retrain", "hold", "notify"}
    assert spec.monitoring.probation is not None
    assert spec.serving.labels is not None


def test_the_timeline_tells_what_the_records_say_in_their_order(world: World) -> None:
    store = RecordStore(world.store, world.keys)
    publish_finding(store, finding())
    publish_finding(store, finding(2, severity="warning"))
    (answer,) = decide([finding()], [ActionRule(when="quality", do="retrain")], (), now_s=8000.0)
    publish_answer(store, answer)
    request_retrain(store, finding(), champion=4, actor="monitoring", at_s=8001.0)
    HoldBook(store).place("digits", finding="f" * 64, kind="data", words="half is empty", actor="m", at_s=8002.0)
    settings = SimpleNamespace(prefect_api_url="http://p/api")
    adapters: Any = SimpleNamespace(store=store, ledger=world.ledger, settings=settings, registry=MemoryRegistry())
    events = told_by_records(adapters, "digits")
    assert [one.what for one in events] == ["finding", "answer", "retrain", "hold", *["ledger"] * 4]
    assert events == sorted(events)
    assert events[0] == Event(
        at_s=7200.0,
        what="finding",
        words="alarm: accuracy on eu fell below 0.90",
        link=f"ratchet finding {finding().id[:12]}",
    )
    assert [one.at_s for one in events[4:]] == [entry.at_s for entry in world.ledger.entries("digits")]

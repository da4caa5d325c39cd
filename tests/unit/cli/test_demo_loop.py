"""The world of the demo of the loop, its pipeline file, and its timeline, without a stack."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from mlratchet.flows.cli.demo_loop import WORLDS, refuse_to_play_again, world_of
from mlratchet.flows.cli.demo_loop_shop import Shop
from mlratchet.flows.cli.demo_loop_timeline import Event, lines_of, told_by_records
from mlratchet.flows.cli.demo_loop_world import AFTER, AT_FIRST, as_delivery, loans
from mlratchet.infra.registry.memory import MemoryRegistry
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.identity.signed_records import RecordStore
from mlratchet.models.monitoring.actions import ActionRule, decide
from mlratchet.models.monitoring.answers import publish_answer
from mlratchet.models.monitoring.finding import publish_finding
from mlratchet.models.monitoring.retraining import request_retrain
from mlratchet.models.monitoring.traffic import traffic
from mlratchet.models.pipeline.loading import find_pipeline, parse_pipeline
from mlratchet.models.promotion.holds import HoldBook
from mlratchet.tasks.actions.simulate import TrafficPlan
from mlratchet.tasks.showing.prefect_page import run_url
from rich.console import Console

from tests.unit.audit.conftest import World
from tests.unit.monitoring.findings import finding
from tests.unit.promotion.canaries import Canary

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


@pytest.mark.parametrize("name", sorted(WORLDS))
def test_its_pipeline_is_found_and_acts(name: str) -> None:
    spec = parse_pipeline(find_pipeline(PIPELINES, name).read_text(), where=f"{name}.yaml")
    assert spec.serving.canary is not None
    assert spec.monitoring is not None
    assert {rule.do for rule in spec.monitoring.actions} == {"retrain", "hold", "notify"}
    assert spec.monitoring.probation is not None
    assert spec.serving.labels is not None


def test_the_shop_is_written_as_an_export_writes_it_and_read_back_by_its_pipeline() -> None:
    shop, spec = Shop(), parse_pipeline(find_pipeline(PIPELINES, "shop").read_text(), where="shop.yaml")
    then, now = (shop.rows(2000, changed=one, seed=3) for one in (False, True))
    assert then == shop.rows(2000, changed=False, seed=3)
    assert np.mean([row.get("Land") == "CH" for row in then.instances]) < 0.05
    assert 0.6 < np.mean([row.get("Land") == "CH" for row in now.instances]) < 0.8
    assert 0.2 < np.mean([truth == "ja" for truth in now.truths]) < 0.8
    right, wrong = (shop.delivery(now, "d", wrong=one) for one in (False, True))
    assert right.startswith(b"\xef\xbb\xbf")
    header, *rows = csv.reader(io.StringIO(right.decode("utf-8-sig"), newline=""))
    turned = [row[-1] for row in list(csv.reader(io.StringIO(wrong.decode("utf-8-sig"), newline="")))[1:]]
    assert spec.example_schema is not None
    assert set(spec.example_schema.fields) | {spec.example_schema.id} == set(header)
    assert [row[-1] for row in rows] == list(now.truths)
    assert all(a != b for a, b in zip(turned, now.truths, strict=True))
    assert any("\n" in row[9] for row in rows)
    assert all(
        re.fullmatch(r"\d+,\d\d", row[5]) and re.fullmatch(r"\d\d\.\d\d\.\d{4} \d\d:\d\d", row[1]) for row in rows
    )


def test_the_demo_is_of_a_world_that_there_is() -> None:
    with pytest.raises(ConfigurationError, match="expected loans or shop"):
        world_of("digits")


def test_the_drift_is_not_played_twice_in_one_home(world: World) -> None:
    adapters: Any = SimpleNamespace(ledger=world.ledger)
    refuse_to_play_again(adapters, "loans")
    with pytest.raises(ConfigurationError, match="played here already: digits has version"):
        refuse_to_play_again(adapters, "digits")


def test_the_timeline_has_each_link_whole_on_a_line_of_its_own() -> None:
    link = "http://127.0.0.1:20870/runs/flow-run/8a5699e6-fdc7-4885-ae08-f9db41f509f3"
    console = Console(width=60, soft_wrap=True, color_system=None, file=io.StringIO())
    for line in lines_of([Event(at_s=5.0, what="canary", words="[b]version[/b] 4: shadow", link=link)]):
        console.print(line)
    said = console.file.getvalue().splitlines()  # type: ignore[attr-defined]  # of StringIO
    assert said == ["00:00:05  canary   [b]version[/b] 4: shadow", f"{'':19}{link}"]


def test_each_request_of_simulated_traffic_is_of_another_client() -> None:
    plan = TrafficPlan(drift="none", rate=40.0, seconds=4.0)
    sent = traffic(loans(50, eu=0.1, seed=1), "none", rate=40.0, seconds=4.0)
    assert len({plan.client_of(one) for one in sent}) == 160


def test_the_timeline_tells_what_the_records_say_in_their_order(world: World) -> None:
    store = RecordStore(world.store, world.keys)
    publish_finding(store, finding())
    publish_finding(store, finding(2, severity="warning"))
    (answer,) = decide([finding()], [ActionRule(when="quality", do="retrain")], (), now_s=8000.0)
    publish_answer(store, answer)
    request_retrain(store, finding(), champion=4, actor="monitoring", at_s=8001.0)
    HoldBook(store).place("digits", finding="f" * 64, kind="data", words="half is empty", actor="m", at_s=8002.0)
    Canary(world).put("share")
    settings: Any = SimpleNamespace(prefect_api_url="http://p/api")
    adapters: Any = SimpleNamespace(store=store, ledger=world.ledger, settings=settings, registry=MemoryRegistry())
    events = told_by_records(adapters, "digits")
    assert [one.what for one in events] == ["finding", "answer", "retrain", "hold", *["ledger"] * 4, "canary"]
    assert (events[-1].words, events[-1].link) == (
        "version 4: share, 25 % of the clients: why",
        run_url(settings, "run"),
    )
    assert events == sorted(events)
    assert events[0] == Event(
        at_s=7200.0,
        what="finding",
        words="alarm: accuracy on eu fell below 0.90",
        link=f"ratchet finding {finding().id[:12]}",
    )
    assert [one.at_s for one in events[4:-1]] == [entry.at_s for entry in world.ledger.entries("digits")]

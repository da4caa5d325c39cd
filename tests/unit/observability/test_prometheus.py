"""Prometheus reads what a server tells: every query of the dashboard and every rule is asked of it, promtool tests the
rules, and names follow its conventions."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import mlratchet.infra.observability
import pytest
import yaml
from mlratchet.infra.machine.free_ports import find_port
from mlratchet.infra.observability.gpu import GpuCollector, register_gpus
from mlratchet.models.monitoring.config import MonitoringConfig
from mlratchet.models.monitoring.gauges import gauges_text
from mlratchet.models.monitoring.window import windows_of
from mlratchet.models.serving.app import ServingApp
from mlratchet.models.serving.config import ServingConfig
from mlratchet.models.serving.endpoint import Endpoint
from mlratchet.models.serving.metrics import MOST_CLASSES, Metrics, PipelineMetrics
from mlratchet.models.serving.slot import Slot
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from tests.listening import listening
from tests.unit.monitoring.site import CONFIG, Site, Traffic
from tests.unit.monitoring.test_asking_again import asked as asked_again
from tests.unit.serving.conftest import IMAGE, TABLE, app_of, sum_of

FOLDER = Path(mlratchet.infra.observability.__file__).parent
PROMETHEUS, PROMTOOL = shutil.which("prometheus"), shutil.which("promtool")
needs_prometheus = pytest.mark.skipif(
    PROMETHEUS is None or PROMTOOL is None, reason="needs Debian's prometheus (apt-get install prometheus)"
)
PATIENCE_S = 120.0
ONLY_WITH_A_GPU = "ratchet_gpu_"


def queries() -> list[str]:
    """Of the dashboard, its variables filled in."""
    board = json.loads((FOLDER / "dashboard.json").read_text())
    found = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    return [one.replace("$__rate_interval", "1m").replace("$pipeline", ".*") for one in found]


def app_of_two() -> ServingApp:
    app = app_of(served(IMAGE), name="pictures")
    app.take_up(Endpoint("prices", served(TABLE), ServingConfig(), metrics=app.metrics))
    return app


def served(signature: Any) -> Slot:
    slot = Slot()
    slot.swap(sum_of(3, signature))
    return slot


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Of a server of a classifier and a regression."""
    app = app_of_two()
    app.metrics.lacks("prices", lambda: 2)
    with listening(app) as place:
        yield place


@cache
def of_windows() -> bytes:
    """What the monitor of a shop writes: a window in which a price drifted."""
    site = Site(MonitoringConfig.model_validate({**CONFIG.model_dump(mode="json"), "sample": {"rows": 60}}))
    site.ask = asked_again
    site.serve(Traffic(0), Traffic(1, accuracy=0.6, shift=3.0))
    site.look()
    return gauges_text([(windows_of(site.store, "shop")[-1], site.reference)])


@pytest.fixture(scope="module")
def told_by_the_monitor() -> Iterator[str]:
    """As a collector of text files tells it."""
    text = of_windows()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: Any) -> None:
            """Nobody reads it."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def prometheus(url: str, told_by_the_monitor: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Scrapes it as the shipped configuration says, only more often."""
    folder = tmp_path_factory.mktemp("prometheus")
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "200ms", "evaluation_interval": "200ms"}
    config["rule_files"] = [str(FOLDER / "rules.yml")]
    for job, place in zip(config["scrape_configs"], (url, told_by_the_monitor), strict=True):
        job["static_configs"] = [{"targets": [place]}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    port = find_port(set())  # none that the kernel gives to a program which asks for any in the meantime
    command = [str(PROMETHEUS), f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
               f"--web.listen-address=127.0.0.1:{port}"]  # fmt: skip
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1", timeout=120) as client:
            yield client
    finally:
        process.terminate()
        process.wait(120)


def asked(client: httpx.Client, query: str) -> list[Any]:
    """What it finds, as soon as it finds something."""
    end_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < end_s:
        try:
            reply = client.get("/query", params={"query": query})
        except httpx.TransportError:  # it starts
            continue
        if reply.status_code == 503:  # likewise
            continue
        told = reply.json()
        assert told.get("status") == "success", f"{query}: {told}"
        if told["data"]["result"]:
            return list(told["data"]["result"])
    return []


def send(url: str) -> None:
    """Traffic of every kind that is counted."""
    with httpx.Client(base_url=f"http://{url}", timeout=120) as client:
        assert client.post("/pictures/predict", json=[[[1, 1], [1, 0]]]).status_code == 200
        assert client.post("/prices/predict", json=[3, 4]).status_code == 200
        assert client.post("/prices/predict", content=b"{").status_code == 400


@pytest.mark.slow
@needs_prometheus
def test_every_query_of_the_dashboard_finds_what_a_server_tells(url: str, prometheus: httpx.Client) -> None:
    send(url)
    assert asked(prometheus, 'ratchet_requests_total{pipeline="prices",status="200"}'), "it was not scraped"
    send(url)  # a rate needs a change between two scrapes
    rates = 'rate(ratchet_requests_total{pipeline="prices",status="200"}[1m]) > 0'
    assert asked(prometheus, rates)
    assert asked(prometheus, 'ratchet_quality{pipeline="shop"}')
    empty = [query for query in queries() if ONLY_WITH_A_GPU not in query and not found(prometheus, query)]
    assert empty == []
    for query in queries():
        assert prometheus.get("/query", params={"query": query}).json()["status"] == "success", query


def found(client: httpx.Client, query: str) -> bool:
    return bool(client.get("/query", params={"query": query}).json()["data"]["result"])


@pytest.mark.slow
@needs_prometheus
def test_every_rule_is_evaluated_without_an_error(url: str, prometheus: httpx.Client) -> None:
    assert asked(prometheus, 'up{job="ratchet"} == 1')
    groups = prometheus.get("/rules").json()["data"]["groups"]
    assert sum(len(group["rules"]) for group in groups) == sum(
        len(group["rules"]) for group in yaml.safe_load((FOLDER / "rules.yml").read_text())["groups"]
    )
    assert {rule["health"] for group in groups for rule in group["rules"]} <= {"ok", "unknown"}


@needs_prometheus
def test_the_rules_do_what_they_say() -> None:
    for command in (["test", "rules", "rules_test.yml"], ["check", "config", "prometheus.yml"]):
        done = subprocess.run([str(PROMTOOL), *command], cwd=FOLDER, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@needs_prometheus
def test_promtool_finds_nothing_in_the_names() -> None:
    text = app_of_two().metrics.text() + of_windows()
    done = subprocess.run([str(PROMTOOL), "check", "metrics"], input=text, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_rules_and_queries_ask_for_what_a_server_tells() -> None:
    """Also where there is no Prometheus."""
    registry = app_of_two().metrics
    told = {family.name for family in text_string_to_metric_families(registry.text().decode())}
    told |= {family.name for family in text_string_to_metric_families(of_windows().decode())}
    told |= {f"ratchet_gpu_{name}" for name in ("utilization_ratio", "memory_used_bytes", "memory_bytes")}
    rules = [
        one["expr"] for group in yaml.safe_load((FOLDER / "rules.yml").read_text())["groups"] for one in group["rules"]
    ]
    for query in (*queries(), *rules):
        for name in re.findall(r"\b(?:ratchet|process)_\w+", query):
            assert re.sub(r"_(total|bucket|sum|count)$", "", name) in told or name in told, name


def test_classes_that_are_counted_by_name_are_bounded() -> None:
    metrics = Metrics()
    counts = PipelineMetrics(metrics, "m")
    for number in range(2 * MOST_CLASSES):
        counts.answered([{"class": f"c{number}", "probability": 0.7}], "3", "champion", 0.01)
    families = text_string_to_metric_families(metrics.text().decode())
    samples = [one for family in families if family.name == "ratchet_predictions" for one in family.samples]
    totals = {one.labels["class"]: one.value for one in samples if one.name.endswith("_total")}
    assert (len(totals), totals["(other)"], sum(totals.values())) == (MOST_CLASSES + 1, MOST_CLASSES, 2 * MOST_CLASSES)


def test_what_a_gpu_does_is_asked_once_in_a_while() -> None:
    calls: list[int] = []

    def ask() -> str:
        calls.append(1)
        return "0, 37, 2048, 81559, 312.50\n1, 0, 3, 81559, [N/A]\nno row\n"

    now = [0.0]
    registry = CollectorRegistry()
    registry.register(GpuCollector(ask, lambda: now[0]))
    for now[0] in (1.0, 2.0, 20.0):
        told = generate_latest(registry).decode()
    assert 'ratchet_gpu_utilization_ratio{gpu="0"} 0.37' in told
    assert 'ratchet_gpu_memory_used_bytes{gpu="0"} 2.147483648e+09' in told
    assert 'ratchet_gpu_power_watts{gpu="0"} 312.5' in told
    assert 'ratchet_gpu_power_watts{gpu="1"}' not in told
    assert len(calls) == 2


def test_a_tool_that_fails_stops_no_scrape(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask() -> str:
        raise OSError("no such device")

    registry = CollectorRegistry()
    registry.register(GpuCollector(ask))
    assert "gpu=" not in generate_latest(registry).decode()
    monkeypatch.setattr("shutil.which", lambda _: None)
    empty = CollectorRegistry()
    register_gpus(empty)
    assert generate_latest(empty) == b""

"""One process, several pipelines: each below its name, taken up and dropped while others are served."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from mlratchet.models.serving.app import ServingApp
from mlratchet.models.serving.config import ServingConfig
from mlratchet.models.serving.endpoint import Endpoint
from mlratchet.models.serving.metrics import Metrics
from mlratchet.models.serving.observing import Answered, Observer
from mlratchet.models.serving.slot import Slot
from starlette.testclient import TestClient

from tests.unit.serving.conftest import IMAGE, TABLE, app_of, served, sum_of

ROOT = "http://localhost"


def table(version: int, factor: float = 1.0) -> Slot:
    slot = Slot()
    slot.swap(sum_of(version, TABLE, factor))
    return slot


def test_each_pipeline_answers_below_its_name() -> None:
    app = app_of(table(3), name="one")
    app.take_up(Endpoint("two", table(8, 10.0), ServingConfig(), metrics=app.metrics))
    with TestClient(app, base_url=ROOT) as client:
        replies = [client.post(f"/{name}/predict", json={"instances": [[1, 2]]}).json() for name in ("one", "two")]
        assert [reply["version"] for reply in replies] == [3, 8]
        assert [reply["predictions"][0]["value"] for reply in replies] == [3.0, 30.0]
        assert client.get("/two/ready").headers["x-model-version"] == "8"
        assert client.get("/two/openapi.json").json()["servers"] == [{"url": "/two"}]
        assert set(client.get("/health").json()["pipelines"]) == {"one", "two"}
        assert client.get("/ready").json() == {"ready": True}
        told = client.get("/metrics").text
    for name, version in (("one", 3), ("two", 8)):
        assert (
            f'ratchet_requests_total{{pipeline="{name}",status="200",variant="champion",version="{version}"}} 1.0'
            in told
        )


def test_one_that_is_not_ready_is_named_and_the_others_answer() -> None:
    empty = Slot()
    empty.load_error = "SECURITY: changed"
    app = app_of(table(3), name="one")
    app.take_up(Endpoint("two", empty, ServingConfig(), metrics=app.metrics))
    with TestClient(app, base_url=ROOT) as client:
        reply = client.get("/ready")
        assert (reply.status_code, reply.json()["reason"]) == (503, "two: SECURITY: changed")
        assert client.get("/one/ready").status_code == 200
        assert client.post("/two/predict", json={"instances": [[1, 2]]}).status_code == 503
        assert client.post("/one/predict", json={"instances": [[1, 2]]}).status_code == 200


def test_a_pipeline_that_is_dropped_is_not_there_and_its_figures_are_gone() -> None:
    app = app_of(table(3), name="one")
    app.take_up(Endpoint("two", table(8), ServingConfig(), metrics=app.metrics))

    async def drop() -> list[int]:
        async with served(app, ROOT) as client:
            found = [(await client.post("/two/predict", json={"instances": [[1, 2]]})).status_code]
            dropped = app.drop("two")
            assert dropped is not None
            await app.ended(dropped)
            assert app.drop("two") is None
            found += [(await client.post("/two/predict", json={"instances": [[1, 2]]})).status_code]
            found += [(await client.get("/two/health")).status_code]
            found += [(await client.post("/one/predict", json={"instances": [[1, 2]]})).status_code]
            assert 'pipeline="two"' not in (await client.get("/metrics")).text
            return found

    assert asyncio.run(drop()) == [200, 404, 404, 200]


def test_a_page_asked_for_its_head_alone_sends_no_body() -> None:
    with TestClient(app_of(table(3)), base_url=ROOT) as client:
        reply = client.head("/m/health")
        assert (reply.status_code, reply.content) == (200, b"")
        assert int(reply.headers["content-length"]) > 10


def test_a_request_under_way_is_answered_by_who_is_dropped() -> None:
    app = app_of(table(3, 1.0), name="one")

    async def both() -> int:
        async with served(app, ROOT) as client:
            under_way = asyncio.create_task(client.post("/one/predict", json={"instances": [[1, 2]]}))
            while not app.endpoints["one"].waiting:
                await asyncio.sleep(0)
            dropped = app.drop("one")
            assert dropped is not None
            await app.ended(dropped)
            return (await under_way).status_code

    assert asyncio.run(both()) == 200


def test_pictures_and_tables_side_by_side() -> None:
    pictures = Slot()
    pictures.swap(sum_of(4, IMAGE))
    app = app_of(pictures, name="pictures")
    app.take_up(Endpoint("table", table(3), ServingConfig(), metrics=app.metrics))
    with TestClient(app, base_url=ROOT) as client:
        assert client.post("/pictures/predict", json={"instances": [[[[0, 1], [1, 1]]]]}).json()["version"] == 4
        assert client.post("/table/predict", json={"instances": [[0, 1]]}).json()["version"] == 3


def test_until_it_is_known_what_is_served_nobody_is_told_that_it_is_not() -> None:
    app = app_of(table(3))
    app.starting = True
    with TestClient(app, base_url=ROOT) as client:
        reply = client.post("/other/predict", json={"instances": [[0, 1]]})
        assert (reply.status_code, reply.headers["retry-after"]) == (503, "1")
        assert client.get("/health").status_code == 200
        app.starting = False
        assert client.post("/other/predict", json={"instances": [[0, 1]]}).status_code == 404


def test_an_answer_is_offered_to_the_log_before_the_client_has_it() -> None:
    order: list[str] = []

    class Told(Observer):
        def answered(self, answered: Answered) -> None:
            order.append(f"logged {answered.status}")

    app = ServingApp(Metrics())
    app.take_up(Endpoint("m", table(3), ServingConfig(), metrics=app.metrics, observer=Told()))

    async def ask() -> None:
        body = iter([{"type": "http.request", "body": b'{"instances": [[1, 2]]}'}])

        async def receive() -> dict[str, Any]:
            return next(body)

        async def send(message: dict[str, Any]) -> None:
            order.append(message["type"])

        scope = {"type": "http", "method": "POST", "path": "/m/predict", "headers": [(b"host", b"localhost")]}
        await app(scope, receive, send)
        await app.close()

    asyncio.run(ask())
    assert order == ["logged 200", "http.response.start", "http.response.body"]


def test_a_browser_gets_a_page_of_what_is_served_and_a_script_gets_json() -> None:
    app = app_of(table(3), name="one")
    app.take_up(Endpoint("two", Slot(), ServingConfig(), metrics=app.metrics))
    app.endpoints["two"].slot.load_error = "SECURITY: <b>changed</b>"
    with TestClient(app, base_url=ROOT) as client:
        page = client.get("/", headers={"accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
        assert page.headers["content-type"].startswith("text/html")
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert '<a href="one/">try it</a>' in page.text
        assert "version 3" in page.text
        assert "not served: SECURITY: &lt;b&gt;changed" in page.text
        loaded = set(re.findall(r'(?:src|href)="([^"]+)"', page.text))
        assert not any("//" in one for one in loaded), "nothing is from elsewhere"
        assert all(client.get(f"/{one}", follow_redirects=True).status_code == 200 for one in loaded)
        assert set(client.get("/").json()["pipelines"]) == {"one", "two"}
        nothing = TestClient(ServingApp(Metrics()), base_url=ROOT).get("/", headers={"accept": "text/html"})
        assert "None yet" in nothing.text

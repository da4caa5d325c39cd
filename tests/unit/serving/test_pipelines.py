"""What a server process serves: asked for by files, taken up, changed and dropped while the others answer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from mlratchet.infra.serving.local import LocalServers, model_servers
from mlratchet.infra.serving.pipelines import ServedPipelines
from mlratchet.infra.serving.requests import ServingRequests
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.ledger.notice import Notices, give_notice, notice_key
from mlratchet.models.ports.storage import ObjectInfo, StorageError
from mlratchet.models.serving.app import ServingApp
from mlratchet.models.serving.config import ServingConfig
from mlratchet.models.serving.metrics import Metrics
from mlratchet.models.serving.slot import Slot
from mlratchet.models.serving.watch import LOOK_EVERY, ChainWatch

from tests.unit.serving.conftest import TABLE, served, sum_of
from tests.unit.serving.test_server import settings_of

BODY = {"instances": [[1, 2]]}


class Followed:
    """Serves version `versions[name]` as soon as it runs, and counts how often it is woken."""

    versions: dict[str, int]

    def __init__(self, name: str, slot: Slot, versions: dict[str, int], hangs: set[str]) -> None:
        self.name, self.slot, self.versions, self.hangs = name, slot, versions, hangs
        self.woken, self.stopped = 0, threading.Event()
        self.served = threading.Event()

    def run(self) -> None:
        if self.name in self.hangs:
            self.stopped.wait(60)
            return
        self.slot.swap(sum_of(self.versions[self.name], TABLE))
        self.served.set()

    def wake(self) -> None:
        self.woken += 1

    retry = wake

    def stop(self) -> None:
        self.stopped.set()


class Process:
    """A server process without a port."""

    def __init__(self, home: Path, *, service: str = "serve", hangs: tuple[str, ...] = ()) -> None:
        self.home, self.app, self.made = home, ServingApp(Metrics()), dict[str, Followed]()
        self.store = MemoryStore("store")
        versions = {name: at for at, name in enumerate(("one", "two", "three"), 1)}

        def follow(name: str, slot: Slot) -> Any:
            self.made[name] = Followed(name, slot, versions, set(hangs))
            return self.made[name]

        self.pipelines = ServedPipelines(
            self.app, ServingRequests(home), service=service, follow=follow, watch=ChainWatch(self.store)
        )

    async def look(self) -> None:
        await asyncio.to_thread(self.pipelines.look, asyncio.get_running_loop())
        for one in self.made.values():
            if one.name not in one.hangs and not one.stopped.is_set():
                await asyncio.to_thread(one.served.wait, 30)


@asynccontextmanager
async def answering(process: Process) -> AsyncIterator[Callable[[str], Any]]:
    async with served(process.app, "http://localhost") as client:

        async def ask(name: str) -> int | None:
            reply: httpx.Response = await client.post(f"/{name}/predict", json=BODY)
            return reply.json()["version"] if reply.status_code == 200 else None

        yield ask


def test_pipelines_come_and_go_while_the_others_answer(tmp_path: Path) -> None:
    servers, process = LocalServers(tmp_path), Process(tmp_path)

    async def scenario() -> list[Any]:
        found: list[Any] = []
        async with answering(process) as ask:
            servers.request("one", ServingConfig())
            await process.look()
            found.append([await ask("one"), await ask("two")])
            servers.request("two", ServingConfig())
            await process.look()
            found.append([await ask("one"), await ask("two")])
            servers.withdraw("one", "stopped")
            await process.look()
            found.append([await ask("one"), await ask("two")])
        return found

    assert asyncio.run(scenario()) == [[1, None], [1, 2], [None, 2]]
    assert process.made["one"].stopped.is_set()
    assert not process.made["two"].stopped.is_set()


def test_a_champion_that_never_loads_holds_no_other_pipeline_up(tmp_path: Path) -> None:
    servers, process = LocalServers(tmp_path), Process(tmp_path, hangs=("one",))
    for name in ("one", "two"):
        servers.request(name, ServingConfig())

    async def scenario() -> list[Any]:
        async with answering(process) as ask:
            await process.look()
            return [await ask("one"), await ask("two")]

    assert asyncio.run(scenario()) == [None, 2]
    process.made["one"].stop()


def test_who_asks_for_it_has_a_pipeline_looked_at_now(tmp_path: Path) -> None:
    process = Process(tmp_path)
    LocalServers(tmp_path).request("one", ServingConfig())

    async def scenario() -> tuple[int, Any]:
        async with served(process.app, "http://localhost") as client:
            await process.look()
            reply = await client.post("/one/reload")
            return reply.status_code, reply.json()

    assert asyncio.run(scenario()) == (202, {"version": 1, "looking": True})
    assert process.made["one"].woken == 1


def test_another_configuration_holds_without_another_load(tmp_path: Path) -> None:
    servers, process = LocalServers(tmp_path), Process(tmp_path)

    async def scenario() -> None:
        async with answering(process) as ask:
            servers.request("one", ServingConfig())
            await process.look()
            before = process.app.endpoints["one"]
            servers.request("one", ServingConfig(max_request_bytes=2000, read_seconds=90.0))
            await process.look()
            after = process.app.endpoints["one"]
            assert await ask("one") == 1
            assert (after.config.max_request_bytes, process.app.longest_read_s) == (2000, 90.0)
            assert after is not before
            assert len(process.made) == 1

    asyncio.run(scenario())


@asynccontextmanager
async def sending_slowly(process: Process, name: str) -> AsyncIterator[None]:
    """A client of a pipeline that has begun to send a body, and ends it no sooner than this does."""
    left, first = asyncio.Event(), iter([{"type": "http.request", "body": b"[", "more_body": True}])

    async def receive() -> Any:
        for message in first:
            return message
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(_: Any) -> None:
        """Nobody reads it."""

    scope = {"type": "http", "method": "POST", "path": f"/{name}/predict", "headers": []}
    asked = asyncio.create_task(process.app(scope, receive, send))
    await asyncio.sleep(0)
    assert not asked.done()
    try:
        yield
    finally:
        left.set()
        await asked


@pytest.mark.parametrize("then", ["changed", "dropped"])
def test_a_client_that_sends_slowly_keeps_no_pipeline_from_being_followed(tmp_path: Path, then: str) -> None:
    """Whose configuration changes, or that is dropped, has others beside it: they come and go meanwhile."""
    servers, process = LocalServers(tmp_path), Process(tmp_path)

    async def scenario() -> None:
        async with answering(process) as ask:
            servers.request("one", ServingConfig())
            await process.look()
            async with sending_slowly(process, "one"):
                if then == "changed":
                    servers.request("one", ServingConfig(max_request_bytes=2000))
                else:
                    servers.withdraw("one", "stopped")
                servers.request("two", ServingConfig())
                looking = asyncio.create_task(process.look())
                async with asyncio.timeout(60):
                    await looking
                assert await ask("one") == (1 if then == "changed" else None)
                assert await ask("two") == 2
                assert process.pipelines.ending == ("one",)
            while process.pipelines.ending:
                await process.look()

    asyncio.run(scenario())


def test_one_that_comes_back_before_it_has_ended_is_counted_on(tmp_path: Path) -> None:
    servers, process = LocalServers(tmp_path), Process(tmp_path)

    def counted() -> bool:
        return 'ratchet_requests_total{pipeline="one",status="200"' in process.app.metrics.text().decode()

    async def scenario() -> None:
        async with answering(process) as ask:
            servers.request("one", ServingConfig())
            await process.look()
            async with sending_slowly(process, "one"):
                servers.withdraw("one", "stopped")
                await process.look()
                servers.request("one", ServingConfig())
                await process.look()
                assert await ask("one") == 1
            while process.pipelines.ending:
                await process.look()
            assert counted()
            servers.withdraw("one", "stopped")
            await process.look()
            while process.pipelines.ending:
                await process.look()
            assert not counted()

    asyncio.run(scenario())


def test_a_request_that_cannot_be_read_is_that_pipelines_affair(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    servers = LocalServers(tmp_path)
    servers.request("one", ServingConfig())
    for name, text in {"two": "{", "three": '{"pipeline": "three", "serving": {"poll": 1}}'}.items():
        (tmp_path / "serving" / f"{name}.json").write_text(text)
    requests = ServingRequests(tmp_path)
    for _ in range(3):
        assert [one.pipeline for one in requests] == ["one"]
    assert [record.getMessage().count("is not served") for record in caplog.records] == [1, 1]


def test_a_process_of_its_own_is_a_setting(tmp_path: Path) -> None:
    servers = LocalServers(tmp_path)
    servers.request("one", ServingConfig())
    servers.request("two", ServingConfig(process="own"))
    servers.request("three", ServingConfig())
    names = [service.name for service in model_servers(settings_of(tmp_path), tmp_path)]
    assert names == ["serve", "serve-two"]
    urls = [servers.url(name) for name in ("one", "two", "three")]
    assert None not in urls
    ports = [str(url).split("/")[2] for url in urls]
    assert ports[0] == ports[2] != ports[1]
    assert [str(url).rsplit("/", 1)[1] for url in urls] == ["one", "two", "three"]
    shared, own = Process(tmp_path), Process(tmp_path, service="serve-two")

    async def scenario() -> list[Any]:
        found = []
        for process in (shared, own):
            async with answering(process) as ask:
                await process.look()
                found.append([await ask(name) for name in ("one", "two", "three")])
        return found

    assert asyncio.run(scenario()) == [[1, None, 3], [None, 2, None]]


def test_the_process_of_all_is_not_started_anew_for_another_pipeline(tmp_path: Path) -> None:
    servers = LocalServers(tmp_path)
    assert model_servers(settings_of(tmp_path), tmp_path) == []
    servers.request("one", ServingConfig())
    before = model_servers(settings_of(tmp_path), tmp_path)
    servers.request("two", ServingConfig(threads=2))
    assert model_servers(settings_of(tmp_path), tmp_path) == before


class Listed(MemoryStore):
    """Counts requests."""

    def __init__(self) -> None:
        super().__init__("store")
        self.listed: list[str] = []
        self.fails = False

    def list(self, prefix: str = "", *, after: str = "") -> Any:
        self.listed.append(prefix)
        if self.fails:
            raise StorageError("away")
        return super().list(prefix, after=after)


def test_one_request_a_tick_tells_what_moved_of_a_hundred_pipelines() -> None:
    store, names = Listed(), [f"p{at}" for at in range(100)]
    for name in names:
        give_notice(store, name, "ledger", "a")
    watch = ChainWatch(store)
    assert watch.tick(names) == set(names)
    assert watch.tick(names) == set()
    give_notice(store, "p7", "ledger", "b")
    give_notice(store, "p9", "canary", "a")
    give_notice(store, "another", "ledger", "a")
    assert watch.tick(names) == {"p7", "p9"}
    store.delete(notice_key("p7", "ledger"))
    assert watch.tick(names) == {"p7"}
    assert store.listed == ["notices/"] * 4


def test_without_any_notice_every_pipeline_is_looked_at_in_turn() -> None:
    store, names = Listed(), ["a", "b", "c"]
    watch = ChainWatch(store)
    woken = [watch.tick(names) for _ in range(3 * LOOK_EVERY)]
    assert sorted(name for one in woken for name in one) == names
    assert len(store.listed) == 3 * (LOOK_EVERY - 1)  # its own look is the request of the other ticks
    assert ChainWatch(store).tick([]) == set()


def test_a_store_that_does_not_answer_is_told_by_one_pipeline_after_the_other() -> None:
    store, names = Listed(), ["a", "b"]
    store.fails = True
    watch = ChainWatch(store)
    assert [watch.tick(names) for _ in range(4)] == [{"b"}, {"a"}, {"b"}, {"a"}]


def test_notices_of_others_shape_are_no_trouble() -> None:
    strange = [
        ObjectInfo(key=key, size_bytes=1, etag="e", modified_s=0.0) for key in ("notices/", "notices/a/b/c", "x")
    ]
    assert Notices().moved(strange) <= {""}


def test_a_lost_notice_does_not_fail_a_promotion(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore("store")
    monkeypatch.setattr(store, "put", lambda *_: (_ for _ in ()).throw(StorageError("away")))
    give_notice(store, "digits", "ledger", "a")


def test_who_is_woken_looks(tmp_path: Path) -> None:
    servers, process = LocalServers(tmp_path), Process(tmp_path)
    for name in ("one", "two"):
        servers.request(name, ServingConfig(poll_seconds=0.5 if name == "two" else 1.0))

    async def scenario() -> None:
        async with answering(process):
            await process.look()
            process.pipelines.wake()
            give_notice(process.store, "two", "ledger", "a")
            process.pipelines.wake()
            process.pipelines.wake()

    asyncio.run(scenario())
    assert [process.made[name].woken for name in ("one", "two")] == [0, 1]
    assert process.pipelines._every_s() == 0.5


def test_a_promotion_gives_notice(world: Any) -> None:
    watch = ChainWatch(world.store)
    watch.tick(["digits"])
    world.promote(4)
    assert watch.tick(["digits"]) == {"digits"}

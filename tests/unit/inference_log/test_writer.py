"""The log writer over a store in memory: nothing is lost that is not counted, whatever dies or is full."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from mlratchet.infra.inference_log.buffers import Buffer
from mlratchet.infra.inference_log.client import LogClient
from mlratchet.infra.inference_log.pipeline_log import MOST_ANSWERS, PipelineLog
from mlratchet.infra.inference_log.process import LogProcess
from mlratchet.infra.inference_log.socket import connect
from mlratchet.infra.inference_log.spool import LogSpool
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models import fault_points
from mlratchet.models.inference_log.config import LogConfig
from mlratchet.models.inference_log.frames import (
    count_frame,
    hello_frame,
    pack,
)
from mlratchet.models.inference_log.reading import LogStretch, read_log
from mlratchet.models.ports.storage import StorageError

from tests.unit.inference_log.logs import Log
from tests.unit.inference_log.test_frames import SCHEMA, answered

SOON_S = 120.0


class Outage(MemoryStore):
    """A store that can be away."""

    away = False

    def create(self, key: str, data: bytes | bytearray) -> None:
        if self.away:
            raise StorageError("create: no route to S3")
        super().create(key, data)


class Home:
    """A home with a store, keys, and whichever writer lives there now."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = Outage()
        self.log = Log(store=self.store)

    @contextmanager
    def writer(self, *, spool_bytes: int = 50_000_000) -> Iterator[LogProcess]:
        """Ends as SIGTERM ends it."""
        process = LogProcess(self.folder, self.store, self.log.writer_keys, spool_bytes=spool_bytes)
        thread = threading.Thread(target=process.run)
        thread.start()
        try:
            yield process
        finally:
            process.stopping.set()
            thread.join(SOON_S)
            assert not thread.is_alive()

    def read(self, holds: str = "answers") -> LogStretch:
        return read_log(self.store, self.log.keys, "plant", since_s=0.0, until_s=9e9, holds=holds)  # type: ignore[arg-type]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    yield Home(tmp_path)
    fault_points.disarm()


def opened(home: Home, **config: Any) -> tuple[LogClient, PipelineLog]:
    client = LogClient(home.folder)
    log = client.take_up("plant", LogConfig(**config), lambda version: SCHEMA.model_dump_json(), read_s=30.0)
    client.start()
    return client, log


def eventually(true: Callable[[], bool]) -> None:
    until_s = time.monotonic() + SOON_S
    while not true():
        assert time.monotonic() < until_s
        time.sleep(0.01)


def test_what_is_offered_is_in_the_log_when_server_and_writer_have_ended(home: Home) -> None:
    with home.writer():
        client, log = opened(home)
        assert all(log.offer(answered(number)) for number in range(1000))
        assert log.offer(answered(1000, status=422, error="instances[0].speed: got text", rows=None))
        client.close(SOON_S)

    found = home.read()

    assert found.whole
    assert (found.dropped, found.unclosed) == (0, 0)
    assert sorted(found.table["request_id"].to_pylist()) == sorted(f"r{number}" for number in range(1001))
    assert found.table["field.speed"].to_pylist()[0] == 0.0
    assert sum(one.statuses.get("422", 0) for one in found.files) == 1


def test_files_come_by_size_and_by_time(home: Home) -> None:
    with home.writer():
        client, log = opened(home, flush_rows=50, flush_seconds=3600)
        for number in range(60):
            log.offer(answered(number))
        eventually(lambda: home.read().table.num_rows >= 50)
        client.close(SOON_S)
        second, later = opened(home, flush_seconds=0.1)
        later.offer(answered(99))
        eventually(lambda: "r99" in home.read().table["request_id"].to_pylist())
        second.close()


def test_without_a_writer_nothing_waits_and_what_finds_no_room_is_counted(home: Home) -> None:
    client, log = opened(home)
    taken = [log.offer(answered(number)) for number in range(MOST_ANSWERS)]
    errors = log.offer(answered(MOST_ANSWERS, status=500, error="x", rows=None))

    assert taken.count(False) == MOST_ANSWERS // 10
    assert errors  # the last tenth of the room is theirs
    assert log.facts()["dropped"] == MOST_ANSWERS // 10
    with home.writer():
        client.close(SOON_S)

    found = home.read()
    assert found.table.num_rows == MOST_ANSWERS * 9 // 10 + 1
    assert found.dropped == MOST_ANSWERS // 10
    assert found.whole


def test_an_answer_too_large_for_the_room_is_dropped_and_not_the_others(home: Home) -> None:
    _, log = opened(home)

    assert not log.offer(answered(instances=[{"photo": "x" * 70_000_000}]))
    assert log.offer(answered(1))


def killed(client: LogClient) -> None:
    """As kill -9 of a server: its connection ends without a word before."""
    client._is_connected = lambda: False  # type: ignore[method-assign]
    client._forget_connection = lambda: None  # type: ignore[method-assign]
    client._stopping.set()
    client._thread.join(SOON_S)
    assert client._connection is not None
    client._connection.close()


def test_what_a_server_held_that_is_killed_is_counted(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlratchet.infra.inference_log.writer.GONE_S", 0.1)
    monkeypatch.setattr("mlratchet.infra.inference_log.client.LAST_WORDS_S", 0.1)
    with home.writer():
        client, log = opened(home, flush_seconds=0.1)
        log.offer(answered(1))
        eventually(lambda: home.read().table.num_rows == 1)
        client._send_waiting = lambda: None  # type: ignore[method-assign]  # killed before its next look
        for number in range(2, 7):
            log.offer(answered(number))
        killed(client)
        eventually(lambda: home.read().dropped == 5)

    found = home.read()
    assert found.whole
    assert found.unclosed == 0


def test_a_server_that_is_killed_before_its_first_word_of_a_pipeline_is_counted(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlratchet.infra.inference_log.writer.GONE_S", 0.1)
    monkeypatch.setattr("mlratchet.infra.inference_log.client.LAST_WORDS_S", 0.1)
    with home.writer() as process:
        client, log = opened(home)
        eventually(lambda: "plant" in process.writer.facts(""))
        client._send_waiting = lambda: None  # type: ignore[method-assign]
        assert log.offer(answered(1))
        assert log.offer_labels([["r1", 0, "yes", 5.0, "clinic"]])
        killed(client)
        eventually(lambda: process.writer.facts("")["plant"]["dropped"] == 1)

    assert (home.read().dropped, home.read("feedback").dropped) == (1, 1)


@pytest.mark.slow
def test_of_a_server_that_is_killed_with_its_writer_nobody_knows_what_it_held(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlratchet.infra.inference_log.writer.GONE_S", 0.1)
    monkeypatch.setattr("mlratchet.infra.inference_log.client.LAST_WORDS_S", 0.1)
    process, thread = started(home)
    client, log = opened(home, flush_seconds=0.1)
    log.offer(answered(1))
    eventually(lambda: home.read().table.num_rows == 1)
    killed(client)
    kill(process, thread)
    with home.writer():
        eventually(lambda: home.read().unclosed == 1)

    assert home.read().whole


def test_a_count_that_is_none_ends_the_connection(home: Home, tmp_path: Path) -> None:
    with home.writer(), (tmp_path / "other").open("w+b") as file:
        for descriptors in ([file.fileno()], []):
            stranger = connect(home.folder, timeout_s=SOON_S)
            stranger.sendall(b"".join(hello_frame("x")))
            socket.send_fds(stranger, [b"".join(count_frame("plant"))], descriptors)
            while stranger.recv(4096):
                pass
            stranger.close()


def kill(process: LogProcess, thread: threading.Thread) -> None:
    """As kill -9 leaves it: memory is gone, the disk is as it was, connections are closed."""
    process.writer.flush_all = lambda wall_s: False  # type: ignore[method-assign]
    process.uploader.upload_all = lambda: True  # type: ignore[method-assign]
    process.stopping.set()
    thread.join(SOON_S)


def started(home: Home, *, uploads: bool = True) -> tuple[LogProcess, threading.Thread]:
    process = LogProcess(home.folder, home.store, home.log.writer_keys, spool_bytes=50_000_000)
    if not uploads:
        process.uploader.run = lambda stopping, work: None  # type: ignore[method-assign]
    thread = threading.Thread(target=process.run)
    thread.start()
    return process, thread


def test_a_writer_that_was_killed_resumes_its_chain_and_counts_what_it_held(home: Home) -> None:
    process, thread = started(home)
    client, log = opened(home, flush_rows=10, flush_seconds=3600)
    for number in range(10):
        log.offer(answered(number))
    eventually(lambda: home.read().table.num_rows == 10)
    for number in range(10, 17):  # these are in its memory
        log.offer(answered(number))
    eventually(lambda: process.writer.facts("")["plant"]["waiting"] == 7)
    kill(process, thread)

    with home.writer():
        for number in range(17, 20):
            log.offer(answered(number))
        client.close(SOON_S)

    found = home.read()
    assert found.whole
    assert found.dropped == 7
    assert found.table.num_rows == 13
    assert {one.writer for one in found.files} == {process.name}
    assert [one.number for one in found.files] == [1, 2]


@pytest.mark.parametrize("point", ["log.after_object", "log.after_record", "log.after_head"])
def test_what_was_uploaded_and_not_recorded_is_found(home: Home, point: str) -> None:
    process, thread = started(home, uploads=False)
    fault_points.arm(point, "raise")
    client, log = opened(home, flush_rows=5, flush_seconds=3600)
    for number in range(5):
        log.offer(answered(number))
    eventually(lambda: process._spool.size_bytes > 0)
    with pytest.raises(fault_points.InjectedFault):
        type(process.uploader).upload_all(process.uploader)
    kill(process, thread)

    with home.writer():
        client.close(SOON_S)

    found = home.read()
    assert found.whole
    assert (found.table.num_rows, found.dropped) == (5, 0)
    assert [one.number for one in found.files] == [1]


def test_while_s3_is_away_files_wait_on_the_disk_and_nothing_is_lost(home: Home) -> None:
    home.store.away = True
    with home.writer() as process:
        client, log = opened(home, flush_rows=20, flush_seconds=0.1)
        for number in range(100):
            log.offer(answered(number))
        eventually(lambda: "no route" in str(log.facts()["writer"]))  # the server can tell
        eventually(lambda: process.writer.facts("")["plant"]["waiting"] == 0)
        home.store.away = False
        eventually(lambda: home.read().table.num_rows == 100)
        client.close(SOON_S)

    assert home.read().dropped == 0


def test_once_the_disk_is_full_errors_are_kept_and_the_rest_is_counted(home: Home) -> None:
    home.store.away = True
    with home.writer(spool_bytes=30_000) as process:
        client, log = opened(home, flush_rows=50, flush_seconds=0.05)
        for number in range(2000):
            log.offer(answered(number, status=500 if number % 100 == 99 else 200))
        client.close(SOON_S)
        eventually(lambda: process.writer.facts("")["plant"]["dropped"] > 1000)
        home.store.away = False

    found = home.read()
    assert found.whole
    assert found.dropped + found.table.num_rows == 2000
    assert found.table["status"].to_pylist().count(500) >= 5


def test_labels_take_the_same_road(home: Home) -> None:
    with home.writer():
        client, log = opened(home)
        assert log.offer_labels([["r1", 0, "yes", 5.0, "clinic"], ["r2", 3, "0.5", 6.0, "clinic"]])
        client.close(SOON_S)

    assert home.read("feedback").table.to_pylist() == [
        {"request_id": "r1", "row": 0, "label": "yes", "label_s": 5.0, "writer": "clinic"},
        {"request_id": "r2", "row": 3, "label": "0.5", "label_s": 6.0, "writer": "clinic"},
    ]


def test_pictures_of_the_sample_lie_beside_the_log(home: Home) -> None:
    with home.writer():
        client, log = opened(home, sample=1.0)
        log.offer(answered(instances=[{"speed": 1, "photo": "aGVsbG8="}]))
        client.close(SOON_S)

    (digest,) = home.read().table["field.photo"].to_pylist()
    assert home.store.get(f"log/plant/media/{digest}", sha256=digest) == b"hello"


@pytest.mark.parametrize(
    "said",
    [
        {"k": "answers", "p": "plant", "last": 1, "blocks": [{"answers": [[1, 2]]}]},
        {"k": "answers", "p": "../x", "last": 1, "blocks": []},
        {"k": "plan", "p": "plant", "v": 1, "schema": "{", "log": "{}"},
        {"k": "feedback", "p": "plant", "last": 1, "labels": [["r1", "a", 3]]},
        {"k": "end", "p": "plant", "holds": "what", "last": 1},
        {"k": "nothing", "p": "plant"},
    ],
)
def test_a_connection_that_talks_nonsense_is_ended_and_others_are_not(home: Home, said: dict[str, Any]) -> None:
    with home.writer():
        stranger = connect(home.folder, timeout_s=SOON_S)
        stranger.sendall(b"".join([*hello_frame("x"), *pack(said)]))
        while stranger.recv(4096):  # words about the log may come before the end
            pass
        stranger.close()
        client, log = opened(home)
        log.offer(answered(1))
        client.close(SOON_S)

    assert home.read().table.num_rows == 1


def test_a_frame_that_comes_twice_counts_once(home: Home, tmp_path: Path) -> None:
    buffer = Buffer("plant", "answers", LogSpool(tmp_path / "s", most_bytes=1000), {})

    assert buffer.arrived("s", 5, 5, 0.0)
    assert not buffer.arrived("s", 5, 5, 0.0)
    assert buffer.arrived("s", 9, 2, 0.0)
    assert buffer.dropped == 2

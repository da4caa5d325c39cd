"""What another pipeline costs those who ask the first: its answers, errors and latency, in one process and in two.

    python benchmarks/neighbours.py [--seconds 8] [--rounds 3]

The first is the MLP of `serving.py`, asked 200 times a second over eight connections, whatever the other does. Beside
it stand, in turns: nobody; a CNN of about 20 ms with four requests under way, in a process of its own (what its share
of the CPU costs anyway) and in the same one; a model that raises for every row; bodies of one MB that are not JSON; and
pictures of 12 million pixels, which are decoded. `same`: whether each answer of the first is the one it gives alone.
Who asks the other has a process of its own: to send a gigabyte a second takes a client more than to be answered.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import io
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import uvicorn
from mlratchet.infra.machine.free_ports import find_port
from mlratchet.infra.machine.interpreter import collect_seldom
from mlratchet.infra.serving.connections import configured, run_loop
from mlratchet.infra.serving.memory import settle_imports
from mlratchet.models.serving.app import ServingApp
from mlratchet.models.serving.config import ServingConfig
from mlratchet.models.serving.endpoint import Endpoint
from mlratchet.models.serving.metrics import Metrics
from mlratchet.models.serving.predictor import Predictor
from mlratchet.models.serving.slot import Slot
from PIL import Image
from serving import is_whole, picture, served, wait_for_port

RESULTS = Path(__file__).parent / "results"
PER_S, CONNECTIONS, UNDER_WAY = 200, 8, 4
SIDES = ("nobody", "cnn, own process", "cnn", "raises", "not JSON", "large pictures")


def raises(*_: Any) -> torch.Tensor:
    """A model that nobody should have deployed."""
    raise RuntimeError("no row is good enough")


def serve(names: list[str], port: int) -> None:
    """One process with these pipelines, until it is ended; its memory is looked after as the product's server does."""
    collect_seldom()
    torch.set_num_threads(1)
    settle_imports()
    app = ServingApp(Metrics())
    for name in names:
        signature, model, _ = served("mlp" if name == "raises" else name)
        slot = Slot()
        asked = raises if name == "raises" else model
        slot.swap(Predictor(version=1, generation=1, signature=signature, model=asked))  # type: ignore[arg-type]
        app.take_up(Endpoint(name, slot, ServingConfig(), metrics=app.metrics))
    config = configured(app, host="127.0.0.1", port=port, header_s=lambda: app.longest_read_s / 3)
    run_loop(uvicorn.Server(config).serve())


@dataclass(frozen=True, kw_only=True)
class Side:
    """Whom the first stands beside."""

    port: int
    first: bytes
    other_port: int
    other: bytes | None  # None: nobody


@dataclass
class Seen:
    """By those who asked."""

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    bodies: Counter[str] = field(default_factory=Counter)


def as_told(body: bytes) -> str:
    """To five digits: the last bits of a sum hang on how many rows are asked together."""
    return json.dumps(json.loads(body, parse_float=lambda text: round(float(text), 5)))


class Connection(asyncio.Protocol):
    """Asks again when it is answered, and not sooner than `every_s` after it asked last."""

    def __init__(self, request: bytes, every_s: float, seen: Seen, *, bodies: bool) -> None:
        self._request, self._every_s, self._seen, self._bodies = request, every_s, seen, bodies
        self._held, self._due, self.stopped = b"", 0.0, False
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._due = time.perf_counter()
        self._ask()

    def _ask(self) -> None:
        if self.stopped:
            self._transport.close()
            return
        self._began = max(
            self._due, time.perf_counter() - 1.0
        )  # latency from when it was due: none hides behind another
        self._due += self._every_s
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._held += data
        head, blank, body = self._held.partition(b"\r\n\r\n")
        if not blank or not is_whole(head.lower(), body):
            return
        now = time.perf_counter()
        self._seen.seconds.append(now - self._began)
        self._seen.statuses[int(head[9:12])] += 1
        if self._bodies:
            self._seen.bodies[as_told(body)] += 1
        self._held = b""
        asyncio.get_running_loop().call_later(max(0.0, self._due - now), self._ask)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        if not self.closed.done():
            self.closed.set_result(None)


async def asked(port: int, request: bytes, until: Awaitable[object], *, first: bool) -> Seen:
    """What was answered until then, to the first pipeline's clients or to the other's."""
    seen, connections = Seen(), []
    loop = asyncio.get_running_loop()
    for _ in range(CONNECTIONS if first else UNDER_WAY):
        one = Connection(request, CONNECTIONS / PER_S if first else 0.0, seen, bodies=first)
        await loop.create_connection(lambda one=one: one, "127.0.0.1", port)
        connections.append(one)
        await asyncio.sleep(1 / PER_S)  # they do not ask in step
    await until
    for one in connections:
        one.stopped = True
    await asyncio.wait_for(asyncio.gather(*(one.closed for one in connections)), 60)
    return seen


def ask_the_other(port: int) -> None:
    """In a process of its own: the request that it is given, a number of bytes before it, until there is a line more.
    Says when it has begun, and at the end what it was answered."""
    given = sys.stdin.buffer
    request = given.read(int(given.readline()))

    async def run() -> Seen:
        loop = asyncio.get_running_loop()
        print("begun", flush=True)
        return await asked(port, request, loop.run_in_executor(None, given.readline), first=False)

    began = time.monotonic()
    seen = asyncio.run(run())
    per_s = len(seen.seconds) / (time.monotonic() - began)
    print(json.dumps({"other_per_s": per_s, "other_statuses": sorted(seen.statuses)}), flush=True)


@contextmanager
def asking_the_other(port: int, request: bytes | None) -> Iterator[dict[str, Any]]:
    """Its other clients, as long as this lasts; then what they were answered. None: there are none."""
    told: dict[str, Any] = {"other_per_s": 0.0, "other_statuses": []}
    if request is None:
        yield told
        return
    command = [sys.executable, __file__, "--ask", "--port", str(port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"%d\n%b" % (len(request), request))
        process.stdin.flush()
        assert process.stdout.readline() == b"begun\n"
        yield told
        process.stdin.write(b"\n")
        process.stdin.flush()
        told |= json.loads(process.stdout.readline())


def measured(side: Side, seconds: float) -> tuple[Seen, dict[str, Any]]:
    """What the first was answered beside the other, and what the other was."""

    async def run() -> Seen:
        return await asked(side.port, side.first, asyncio.sleep(seconds), first=True)

    with asking_the_other(side.other_port, side.other) as told:
        seen = asyncio.run(run())
    return seen, told


def request(path: str, body: bytes, media: str = "application/json") -> bytes:
    """As it goes over the wire."""
    head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: {media}\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


@contextmanager
def running(*names: str) -> Iterator[int]:
    """The port of a process with these pipelines."""
    port = find_port(taken=set())
    with tempfile.TemporaryFile() as said:
        command = [sys.executable, __file__, "--serve", *names, "--port", str(port)]
        process = subprocess.Popen(command, stdout=said, stderr=said, start_new_session=True)
        try:
            wait_for_port(port, process)
            yield port
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(15)
            process.kill()
            process.wait(20)


def sides_of(instance: Any, together: int, apart: int) -> dict[str, Side]:
    """By name. `together`, `apart`: ports of the process with all, and of the one with the CNN alone."""
    body = json.dumps({"instances": [instance]}).encode()
    first = request("/mlp/predict", body)
    large = io.BytesIO()
    Image.fromarray(np.zeros((3000, 4000, 3), dtype=np.uint8)).save(large, "PNG")
    others = {
        "nobody": None,
        "cnn, own process": request("/cnn/predict", picture(), "image/png"),
        "cnn": request("/cnn/predict", picture(), "image/png"),
        "raises": request("/raises/predict", body),
        "not JSON": request("/cnn/predict", b'{"instances": [' + b"[1, " * 250_000),
        "large pictures": request("/cnn/predict", large.getvalue(), "image/png"),
    }
    return {
        name: Side(port=together, first=first, other_port=apart if "own" in name else together, other=others[name])
        for name in SIDES
    }


def measure(rounds: int, seconds: float) -> list[dict[str, Any]]:
    """A row a side."""
    _, _, instance = served("mlp")
    found: dict[str, list[dict[str, Any]]] = {}
    with ExitStack() as stack:
        together = stack.enter_context(running("mlp", "cnn", "raises"))
        apart = stack.enter_context(running("cnn"))
        sides = sides_of(instance, together, apart)
        alone = set(measured(sides["nobody"], 1.0)[0].bodies)
        for side in sides.values():
            measured(side, 0.5)  # a warm-up
        for _ in range(rounds):
            for name, side in sides.items():
                mine, told = measured(side, seconds)
                p50, p99 = np.percentile(mine.seconds, (50, 99)) * 1000
                found.setdefault(name, []).append({
                    "p50_ms": p50, "p99_ms": p99, "per_s": len(mine.seconds) / seconds,
                    "errors": sum(mine.statuses.values()) - mine.statuses[200], "same": set(mine.bodies) <= alone,
                    **told,
                })  # fmt: skip
    return [together_row(name, rows) for name, rows in found.items()]


def together_row(name: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The medians of the rounds; errors of all."""
    middles = {key: round(statistics.median(one[key] for one in rounds_of), 3)
               for key, rounds_of in ((key, rows) for key in ("p50_ms", "p99_ms", "per_s", "other_per_s"))}  # fmt: skip
    statuses = sorted({status for one in rows for status in one["other_statuses"]})
    errors, same = sum(one["errors"] for one in rows), all(one["same"] for one in rows)
    return {"beside": name, **middles, "errors": errors, "same": same, "other_statuses": statuses}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each side and round")
    parser.add_argument("--serve", nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--ask", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.port)
        return
    if options.ask:
        ask_the_other(options.port)
        return
    row = {
        "claim": "neighbours", "sides": measure(options.rounds, options.seconds), "asked_per_s": PER_S,
        "under_way": UNDER_WAY, "date": dt.datetime.now(dt.UTC).date().isoformat(), "torch": torch.__version__,
        "cores": os.cpu_count(), "load": os.getloadavg()[0], "python": platform.python_version(),
    }  # fmt: skip
    print(json.dumps(row, indent=1))
    with (RESULTS / "neighbours.jsonl").open("a") as sink:
        sink.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()

"""CPU time of an answer: the model server beside a bare uvicorn that answers a constant, plus the forward itself.

    python benchmarks/serving.py [--seconds 4] [--rounds 3] [--peers FOLDER]

Three models: an MLP 64-512-512-10 on rows of numbers, a table with words and gaps (six numbers, three categories),
prepared by the version that answers, and a CNN of about 20 ms on a picture of 64 x 64, sent as the PNG that it is. The
server is the product's own application over a program that was exported and read back, with the product's settings of
uvicorn, one thread; clients keep 1, 8 and 64 requests of one row under way from a process of their own. CPU is that of
the server's process and of those that it started. The limit beside it is what uvicorn takes for the same request and a
constant answer of the same size, plus one forward of as many rows as were under way, by the row: of the program as the
product asks it, and, as a second limit, as torch does. `--peers`: a folder
with a virtual environment of the name of each peer (`litserve`, `bentoml`, `mlserver`, `ray`: that package, torch and
numpy); mlflow is this environment's. They serve the MLP, in the same turns.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import datetime as dt
import io
import itertools
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import serving_peers
import torch
import uvicorn
from mlratchet.infra.serving.connections import configured, run_loop
from mlratchet.models.artifact.signature import Signature, signature_of
from mlratchet.models.preparation.composed import PreparationPlan
from mlratchet.models.schema.fields import Schema
from mlratchet.models.schema.request import parse_examples
from mlratchet.models.serving.app import ServingApp
from mlratchet.models.serving.config import ServingConfig
from mlratchet.models.serving.endpoint import Endpoint
from mlratchet.models.serving.metrics import Metrics
from mlratchet.models.serving.predictor import Predictor
from mlratchet.models.serving.schema import rows_of
from mlratchet.models.serving.slot import Slot
from mlratchet.models.sources.record import InputSpec, Record
from mlratchet.models.tensors.batch import Model, batch_of, export_program, program_model
from mlratchet.models.tensors.checked_once import checked_once
from mlratchet.models.tensors.named import Inputs
from mlratchet.models.workloads.base import Workload
from mlratchet.models.workloads.fields import SchemaWorkload
from PIL import Image
from torch import nn

RESULTS = Path(__file__).parent / "results"
PIPELINE = "benchmark"
AT_ONCE = (1, 8, 64)
MODELS = ("mlp", "words", "cnn")
BARE = {"constant": {"http": "h11", "loop": "asyncio"}, "constant fast": {"http": "httptools", "loop": "uvloop"}}
WARM_UP_S = 1.0
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Mlp(Workload):
    """64-512-512-10."""

    task = "classification"

    def class_names(self) -> tuple[str, ...]:
        """Ten."""
        return tuple(map(str, range(10)))

    def input_spec(self) -> InputSpec:
        """64 numbers."""
        return InputSpec(kind="tensor", shape=(64,), dtype="float32")

    def records(self, *_: Any) -> Iterator[Record]:  # type: ignore[override]  # nothing is read here
        """None."""
        return iter(())

    def build_model(self) -> nn.Module:
        """Fresh."""
        return nn.Sequential(
            nn.Linear(64, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)
        )  # fmt: skip


class Cnn(Workload):
    """1.1 billion multiplications a picture."""

    task = "classification"

    def class_names(self) -> tuple[str, ...]:
        """Ten."""
        return tuple(map(str, range(10)))

    def input_spec(self) -> InputSpec:
        """A picture in colour."""
        return InputSpec(kind="image", shape=(3, 64, 64), dtype="float32", value_range=(0.0, 1.0))

    def records(self, *_: Any) -> Iterator[Record]:  # type: ignore[override]  # nothing is read here
        """None."""
        return iter(())

    def build_model(self) -> nn.Module:
        """Fresh."""
        sides = itertools.pairwise((3, 64, 128, 128))
        convolutions = [one for a, b in sides for one in (nn.Conv2d(a, b, 3, padding=1), nn.ReLU())]
        last = nn.MaxPool2d(2), nn.Conv2d(128, 128, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        return nn.Sequential(*convolutions, *last, nn.Linear(128, 10))


def picture() -> bytes:
    """A PNG, smooth as a photograph is."""
    coarse = np.random.default_rng(0).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    sink = io.BytesIO()
    Image.fromarray(coarse).resize((64, 64), Image.Resampling.BICUBIC).save(sink, "PNG")
    return sink.getvalue()


NUMBERS = tuple(f"number{at}" for at in range(6))
TOWNS = tuple(f"town {at}" for at in range(40))


def person(at: int) -> dict[str, Any]:
    """A row with words, and a gap now and then."""
    rng = np.random.default_rng(at)
    numbers = {name: None if rng.random() < 0.1 else round(float(rng.normal()), 4) for name in NUMBERS}
    return numbers | {"town": TOWNS[at % 40], "job": f"job {at % 12}", "paid": ("card", "cash", None)[at % 3]}


def words_workload() -> SchemaWorkload:
    """The table with words, its preparation fitted on 2,000 rows."""
    fields: dict[str, Any] = {name: {"kind": "number", "nullable": True} for name in NUMBERS}
    fields |= {name: {"kind": "category", "nullable": name == "paid"} for name in ("town", "job", "paid")}
    schema = {"fields": fields | {"left": {"kind": "category", "values": ["no", "yes"]}}, "label": "left"}
    known = Schema.model_validate(schema)
    table = parse_examples([person(at) for at in range(2000)], known)
    fitted = base64.b64encode(PreparationPlan(known).fit(lambda: iter([table])).to_bytes()).decode()
    return SchemaWorkload(schema=schema, fitted=fitted)


def served(name: str) -> tuple[Signature, Model, Any]:
    """Signature, exported program as the product asks it, and an instance as a client sends it."""
    signature, program, instance = exported(name)
    return signature, checked_once(program), instance


def exported(name: str) -> tuple[Signature, Model, Any]:
    """The same, with the program as torch asks it."""
    torch.manual_seed(0)
    workload: Workload = {"mlp": Mlp, "words": words_workload, "cnn": Cnn}[name]()
    signature = signature_of(workload)
    instance: Any = np.random.default_rng(0).normal(size=64).round(4).tolist()
    if name != "mlp":
        instance = person(3) if name == "words" else {"image_base64": base64.b64encode(picture()).decode()}
    rows = rows_of([instance, instance], signature)
    program = export_program(workload.prepared_model().eval(), batch_of(rows), signature.tensors)
    return signature, program_model(program), instance


def serve(side: str, name: str, port: int) -> None:
    """A side's server, until it is ended."""
    torch.set_num_threads(1)
    if side in BARE:
        uvicorn.run(constant(), host="127.0.0.1", port=port, log_level="warning", access_log=False, **BARE[side])
        return
    signature, model, _ = served(name)
    slot = Slot()
    slot.swap(Predictor(version=1, generation=1, signature=signature, model=model))
    app = ServingApp(Metrics())
    app.take_up(Endpoint(PIPELINE, slot, ServingConfig(), metrics=app.metrics))
    config = configured(app, host="127.0.0.1", port=port, header_s=lambda: app.longest_read_s / 3)
    run_loop(uvicorn.Server(config).serve())


def constant() -> Callable[[dict[str, Any], Receive, Send], Awaitable[None]]:
    """An application that reads the request and answers the same, as long as an answer of ten classes."""
    body = json.dumps({"predictions": [{"class": "3", "probabilities": [0.1] * 10}], "version": 1}).encode()
    start = {
        "type": "http.response.start", "status": 200,
        "headers": [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())],
    }  # fmt: skip

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        while (await receive()).get("more_body"):
            pass
        await send(start)
        await send({"type": "http.response.body", "body": body})

    return app


def is_whole(head: bytes, body: bytes) -> bool:
    """Whether an answer has come to its end, by its length or in chunks. `head` in small letters."""
    if b"\r\ntransfer-encoding: chunked" in head:
        return body.endswith(b"\r\n0\r\n\r\n")
    return len(body) >= int(head.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0])


class Asking(asyncio.Protocol):
    """One connection that asks again as soon as it is answered."""

    def __init__(self, request: bytes, seconds: list[float]) -> None:
        self._request, self._seconds = request, seconds
        self._held, self._stopping = b"", False
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._ask()

    def _ask(self) -> None:
        self._began = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._held += data
        head, blank, body = self._held.partition(b"\r\n\r\n")
        if not blank:
            return
        if not head.startswith(b"HTTP/1.1 200"):
            self.closed.set_exception(RuntimeError(f"answered {self._held[:300]!r}"))
            self._transport.close()
        elif is_whole(head.lower(), body):
            self._seconds.append(time.perf_counter() - self._began)
            self._held = b""
            if self._stopping:
                self._transport.close()
            else:
                self._ask()

    def stop(self) -> None:
        """After the answer that is awaited."""
        self._stopping = True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        if not self.closed.done():
            self.closed.set_result(None)


@dataclass(frozen=True)
class Side:
    """A server that runs, and a request of one row as it takes it."""

    name: str
    port: int
    pid: int
    path: str
    body: bytes
    media: str = "application/json"


async def asked(side: Side, at_once: int, seconds: float) -> list[float]:
    """Seconds of each answer, with so many requests under way."""
    head = f"POST {side.path} HTTP/1.1\r\nhost: 127.0.0.1:{side.port}\r\ncontent-type: {side.media}\r\n"
    request = f"{head}content-length: {len(side.body)}\r\n\r\n".encode() + side.body
    found: list[float] = []
    loop = asyncio.get_running_loop()
    made = [
        await loop.create_connection(lambda: Asking(request, found), "127.0.0.1", side.port) for _ in range(at_once)
    ]
    await asyncio.sleep(seconds)
    for _, one in made:
        one.stop()
    await asyncio.wait_for(asyncio.gather(*(one.closed for _, one in made)), 60)
    return found


@contextmanager
def running(name: str, model: str, instance: Any, peers: str | None) -> Iterator[Side]:
    """A server of that side, until it has answered once; ended, with all that it started, at the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    path, body, media = f"/{PIPELINE}/predict", json.dumps({"instances": [instance]}).encode(), "application/json"
    if model == "cnn":
        body, media = picture(), "image/png"
    command = [sys.executable, __file__, "--side", name, "--model", model, "--port", str(port)]
    if name in serving_peers.PATHS:
        python = sys.executable if name == "mlflow" else f"{peers}/{name}/bin/python"
        command = [python, serving_peers.__file__, "--side", name, "--port", str(port)]
        path, body = serving_peers.PATHS[name], serving_peers.body(name, instance)
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdout=said, stderr=said, start_new_session=True)
        try:
            wait_for_port(port, process)
            side = Side(name, port, process.pid, path, body, media)
            wait_for_answer(side)
            yield side
        finally:
            theirs = psutil.Process(process.pid).children(recursive=True)
            process.terminate()
            psutil.wait_procs([psutil.Process(process.pid), *theirs], timeout=15)
            for one in theirs:
                with suppress(psutil.NoSuchProcess):
                    one.kill()
            process.kill()
            process.wait(20)


def wait_for_answer(side: Side) -> None:
    """Until it answers one request: some listen before their model is there."""
    until = time.monotonic() + 120
    while True:
        try:
            asyncio.run(asked(side, 1, 0))
        except (RuntimeError, OSError, TimeoutError):
            if time.monotonic() > until:
                raise
            time.sleep(0.5)
        else:
            return


def wait_for_port(port: int, process: subprocess.Popen[Any]) -> None:
    """Until somebody listens there."""
    while True:
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process.poll() is not None:
            raise RuntimeError(f"{process.args} ended with {process.returncode}")
        time.sleep(0.05)


def cpu_s(pid: int) -> float:
    """User and system time of a process and of those below it, s."""
    process = psutil.Process(pid)
    times = [one.cpu_times() for one in (process, *process.children(recursive=True))]
    return float(sum(one.user + one.system for one in times))


def forward_ms(model: Model, rows: Inputs, at_once: int) -> float:
    """CPU time of a forward by the row, of as many rows as are under way."""
    batch = batch_of(Inputs.concat([rows] * at_once))
    with torch.inference_mode():
        for _ in range(20):
            model(batch)
        began, count = time.process_time(), 0
        while time.process_time() - began < 0.5:
            model(batch)
            count += 1
    return (time.process_time() - began) * 1000 / count / at_once


def measure(name: str, rounds: int, seconds: float, peers: str | None) -> list[dict[str, Any]]:
    """A row per number of requests under way; the sides take turns."""
    signature, plain, instance = exported(name)
    model, rows = checked_once(plain), rows_of([instance], signature)
    names = ("ratchet", "constant", *(serving_peers.PATHS if peers and name == "mlp" else ()))
    found: dict[tuple[str, int], list[dict[str, float]]] = {}
    with ExitStack() as stack:
        sides = [stack.enter_context(running(side, name, instance, peers)) for side in names]
        for side in sides:
            asyncio.run(asked(side, 8, WARM_UP_S))
        for _ in range(rounds):
            for at_once in AT_ONCE:
                for side in sides:
                    before, began = cpu_s(side.pid), time.perf_counter()
                    took = asyncio.run(asked(side, at_once, seconds))
                    spent, passed = cpu_s(side.pid) - before, time.perf_counter() - began
                    low, high = np.percentile(took, (50, 99))
                    one = {"cpu_ms": spent * 1000 / len(took), "per_s": len(took) / passed}
                    found.setdefault((side.name, at_once), []).append(
                        one | {"p50_ms": low * 1000, "p99_ms": high * 1000}
                    )
    answers = []
    for at_once in AT_ONCE:
        middles = {side: middle(found[side, at_once]) for side in names}
        alone, as_torch = forward_ms(model, rows, at_once), forward_ms(plain, rows, at_once)
        limit = middles["constant"]["cpu_ms"] + alone
        loose, ours = middles["constant"]["cpu_ms"] + as_torch, middles["ratchet"]["cpu_ms"]
        answers.append({
            "model": name, "at_once": at_once, "sides": middles, "forward_cpu_ms": round(alone, 4),
            "limit_cpu_ms": round(limit, 3), "ratio": round(ours / limit, 2),
            "torch_forward_cpu_ms": round(as_torch, 4), "torch_ratio": round(ours / loose, 2),
        })  # fmt: skip
    return answers


def middle(rounds: list[dict[str, float]]) -> dict[str, float]:
    """The median of every figure."""
    return {key: round(statistics.median(one[key] for one in rounds), 3) for key in rounds[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each side, model and number of requests")
    parser.add_argument("--peers", help="folder of their environments")
    parser.add_argument("--side", choices=("ratchet", *BARE), help=argparse.SUPPRESS)
    parser.add_argument("--model", choices=MODELS, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        serve(options.side, options.model, options.port)
        return
    torch.set_num_threads(1)
    about = {
        "claim": "serving", "date": dt.date.today().isoformat(), "torch": torch.__version__,
        "machine": platform.machine(), "cores": len(os.sched_getaffinity(0)), "load": os.getloadavg()[0],
        "rounds": options.rounds,
    }  # fmt: skip
    for name in MODELS:
        for row in measure(name, options.rounds, options.seconds, options.peers):
            print(json.dumps(row))
            with (RESULTS / "serving.jsonl").open("a") as sink:
                sink.write(json.dumps(about | row) + "\n")


if __name__ == "__main__":
    main()

"""What the inference log costs a server at its highest rate: the same server over HTTP, with its log and without.

    python benchmarks/inference_log.py [--rounds 7] [--seconds 4]

Both servers are the product's own application (`serving.py`), one thread; 64 requests of one row are under way from a
process of their own, at one server and then at the other, in turns. The log writer is a process beside them that writes
into a folder. CPU is that of the server's process, by the request; the goal is at most 3 % more with the log. Beside it
stand the CPU of the writer's process, by the request as well, and what the two halves of the server's part take by
themselves: to take an answer and pack it with others, and to make frames of what is packed.

A third turn is that of the server without its log, beside a process that takes as much of a core as the writer took
and has nothing to do with it: what its presence alone costs a server on a machine with few cores.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import gc
import hashlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import torch
from mlratchet.infra.inference_log.client import LogClient
from mlratchet.infra.inference_log.process import LogProcess
from mlratchet.infra.keys.files import MemoryKeys, public_half
from mlratchet.infra.machine.free_ports import find_port
from mlratchet.infra.machine.interpreter import collect_seldom
from mlratchet.infra.serving.connections import configured, run_loop
from mlratchet.infra.serving.server import Listener, until_one_ends
from mlratchet.infra.storage.folder import FolderStore
from mlratchet.models.identity.signing import Signer, TrustedKeys
from mlratchet.models.inference_log.config import LogConfig
from mlratchet.models.schema.fields import Field, Schema
from mlratchet.models.serving.app import ServingApp
from mlratchet.models.serving.config import ServingConfig
from mlratchet.models.serving.endpoint import Endpoint
from mlratchet.models.serving.metrics import Metrics
from mlratchet.models.serving.observing import AnsweredTogether
from mlratchet.models.serving.predictor import Predictor
from mlratchet.models.serving.slot import Slot
from mlratchet.models.tensors.named import Inputs
from serving import MODELS, PIPELINE, Side, asked, cpu_s, served, wait_for_port

RESULTS = Path(__file__).parent / "results"
COLUMNS = [f"x{number}" for number in range(64)]
FORWARDS = 16  # of what the halves take by themselves
AT_ONCE = 64
SIDES = ("off", "on", "beside")  # in turns; the last: without, beside a process that is as busy as the writer
SERVERS = ("off", "on")
SLICE_S = 0.01  # of which that process is busy for a part


def serve(side: str, name: str, port: int, home: Path) -> None:
    """A side's server, until it is ended; Python's collector comes by as seldom as in the product's."""
    collect_seldom()
    torch.set_num_threads(1)
    signature, model, _ = served(name)
    slot = Slot()
    slot.swap(Predictor(version=1, generation=1, signature=signature, model=model))
    app = ServingApp(Metrics())
    client = LogClient(home)
    example = signature.input.example
    schema = example.schema if example is not None else None
    log = client.take_up(PIPELINE, LogConfig(), lambda _: schema, read_s=30.0)
    observer = log if side == "on" else None
    app.take_up(Endpoint(PIPELINE, slot, ServingConfig(), metrics=app.metrics, observer=observer, log=observer))
    client.start()
    gc.collect()
    gc.freeze()
    config = configured(app, host="127.0.0.1", port=port, header_s=lambda: app.longest_read_s / 3)
    run_loop(until_one_ends([Listener(config)]))
    client.close()
    if side == "on":
        print(json.dumps({"dropped": log.lost}), flush=True)


def write(home: Path) -> None:
    """The log writer, until it is ended."""
    signer = Signer.generate()
    keys = MemoryKeys(signer, TrustedKeys([public_half(signer, "log", "benchmark")]))
    process = LogProcess(home, FolderStore(home / "s3"), keys, spool_bytes=500_000_000)
    signal.signal(signal.SIGTERM, lambda *_: process.stopping.set())
    process.run()


def be_busy() -> None:
    """With what a writer does, JSON and digests. A line of standard input says for which part of each slice of time and
    for how many seconds."""
    body = orjson.dumps({"instances": [dict.fromkeys(COLUMNS, 0.123456)] * 16})
    for line in sys.stdin:
        part, seconds = map(float, line.split())
        end = time.perf_counter() + seconds
        while (began := time.perf_counter()) < end:
            spent = time.process_time()
            while time.process_time() - spent < part * SLICE_S:
                hashlib.sha256(orjson.dumps(orjson.loads(body))).digest()
            time.sleep(max(0.0, began + SLICE_S - time.perf_counter()))


@contextmanager
def running(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """This script as another process, which is asked to end."""
    command = [sys.executable, __file__, *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()


def measure(name: str, rounds: int, seconds: float, home: Path) -> dict[str, Any]:
    """CPU-ms by the request and requests a second of the sides, which take turns, and their ratios by the round."""
    *_, instance = served(name)
    body = json.dumps({"instances": [instance]}).encode()
    found: dict[str, list[tuple[float, float]]] = {side: [] for side in SIDES}
    ports = {side: find_port(set()) for side in SERVERS}
    with (
        running("--write", "--home", str(home)) as writer,
        running("--busy") as beside,
        running("--side", "off", "--model", name, "--port", str(ports["off"]), "--home", str(home)) as off,
        running("--side", "on", "--model", name, "--port", str(ports["on"]), "--home", str(home)) as on,
    ):
        sides = {}
        assert beside.stdin is not None
        for side, process in {"off": off, "on": on}.items():
            wait_for_port(ports[side], process)
            sides[side] = Side(side, ports[side], process.pid, f"/{PIPELINE}/predict", body)
            asyncio.run(asked(sides[side], AT_ONCE, 1.0))
        written_s, logged, part = cpu_s(writer.pid), 0, 0.0
        for at in range(rounds):
            for side in SIDES if at % 2 == 0 else SIDES[::-1]:
                if side == "beside":
                    beside.stdin.write(f"{part} {seconds}\n")
                    beside.stdin.flush()
                server = sides["on" if side == "on" else "off"]
                before, wrote, began = cpu_s(server.pid), cpu_s(writer.pid), time.perf_counter()
                took = asyncio.run(asked(server, AT_ONCE, seconds))
                passed = time.perf_counter() - began
                time.sleep(0.3)  # what waits is sent
                spent = cpu_s(server.pid) - before
                if side == "on":
                    part, logged = (cpu_s(writer.pid) - wrote) / passed, logged + len(took)
                found[side].append((spent * 1000 / len(took), len(took) / passed))
        written_s = cpu_s(writer.pid) - written_s
        on.terminate()
        dropped = json.loads(on.communicate(timeout=60)[0].splitlines()[-1])["dropped"]
    middle = {
        side: [round(statistics.median(column), 4) for column in zip(*found[side], strict=True)] for side in SIDES
    }
    more = {
        side: [ms / off_ms - 1 for (off_ms, _), (ms, _) in zip(found["off"], found[side], strict=True)]
        for side in SIDES[1:]
    }
    return {
        "model": name, "cpu_ms_off": middle["off"][0], "cpu_ms_on": middle["on"][0], "per_s_off": middle["off"][1],
        "per_s_on": middle["on"][1], "cpu_more": round(statistics.median(more["on"]), 4),
        "cpu_more_from": round(min(more["on"]), 4), "cpu_more_to": round(max(more["on"]), 4), "dropped": dropped,
        "cpu_ms_beside": middle["beside"][0], "per_s_beside": middle["beside"][1],
        "beside_more": round(statistics.median(more["beside"]), 4),
        "beside_more_from": round(min(more["beside"]), 4), "beside_more_to": round(max(more["beside"]), 4),
        "writer_cpu_ms": round(written_s * 1000 / logged, 4),
    }  # fmt: skip


def answers() -> AnsweredTogether:
    """Of one forward, as a server of a table of 64 numbers and ten classes makes them."""
    row = dict.fromkeys(COLUMNS, 0.123456)
    said = [{"class": "1", "probabilities": {str(one): 0.1 for one in range(10)}}]
    bodies = orjson.dumps({"instances": [row]}), orjson.dumps({"predictions": said, "version": 1})
    rows = Inputs({"x": np.zeros((AT_ONCE, 64), np.float32)})
    return AnsweredTogether(
        pipeline="m", version=1, generation=1, variant="champion", rows=rows,
        output=np.zeros((AT_ONCE, 10), np.float32), counts=[1] * AT_ONCE,
        request_ids=[f"{number:032x}" for number in range(AT_ONCE)], received_s=[time.time()] * AT_ONCE,
        latency_ms=[1.0] * AT_ONCE, client_keys=["c"] * AT_ONCE, replayed=[False] * AT_ONCE,
        instances=[[row]] * AT_ONCE, predictions=[said] * AT_ONCE, written=[bodies[0]] * AT_ONCE,
        said=[bodies[1]] * AT_ONCE,
    )  # fmt: skip


def halves(home: Path) -> dict[str, float]:
    """Microseconds of CPU by the answer: to take and pack it, and to make frames of what is packed."""
    schema = Schema(fields={name: Field(kind="number") for name in COLUMNS}).model_dump_json()
    log = LogClient(home).take_up("tried", LogConfig(), lambda _: schema, read_s=30.0)
    made = answers()
    began = time.thread_time()
    for _ in range(FORWARDS):
        log.answered_together(made)
    taken = time.thread_time()
    while log.waiting(log.newest):
        pass
    return {
        "offer_us": round((taken - began) / FORWARDS / AT_ONCE * 1e6, 2),
        "frames_us": round((time.thread_time() - taken) / FORWARDS / AT_ONCE * 1e6, 2),
    }


def main() -> None:
    """A row per model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each side, model and round")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--model", choices=MODELS, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--home", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--write", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--busy", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.busy:
        be_busy()
        return
    if options.write:
        write(options.home)
        return
    if options.side:
        serve(options.side, options.model, options.port, options.home)
        return
    torch.set_num_threads(1)
    about = {
        "claim": "inference log", "date": dt.date.today().isoformat(), "torch": torch.__version__,
        "cores": len(os.sched_getaffinity(0)),
        "load": os.getloadavg()[0], "rounds": options.rounds,
    }  # fmt: skip
    for name in MODELS:
        with tempfile.TemporaryDirectory() as folder:
            row = about | measure(name, options.rounds, options.seconds, Path(folder)) | halves(Path(folder))
        print(json.dumps(row))
        with (RESULTS / "inference_log.jsonl").open("a") as sink:
            sink.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()

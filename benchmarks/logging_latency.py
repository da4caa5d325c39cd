"""What logging every step costs when MLflow takes 50 ms longer to answer, on the running stack.

    RATCHET_HOME=... python benchmarks/logging_latency.py [--delay-ms 50] [--rounds 5] [--steps 60]

Sides, interleaved: no logging; Ratchet (events to a file, sent by another process, as in a run); `mlflow.log_metrics`
in the loop. MLflow is the stack's own server behind a proxy, a process of its own, that holds every request back. The
limit is the loop without logging.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch
from engine import prepare, trainer
from mlratchet.infra.launch.local import Tail
from mlratchet.infra.launch.rank import Spool
from mlratchet.infra.settings import apply_environment, load_settings
from mlratchet.models.training.observers import Surroundings

RESULTS = Path(__file__).parent / "results"
BATCH, SIDES = 128, 3


def slow_proxy(host: str, port: int, delay_s: float, announce: Path) -> None:
    """Bytes both ways; what a client sends waits `delay_s` first, and names MLflow, which looks at the host."""
    server = socket.create_server(("127.0.0.1", 0))
    mine, theirs = f"Host: 127.0.0.1:{server.getsockname()[1]}".encode(), f"Host: {host}:{port}".encode()
    announce.write_text(str(server.getsockname()[1]))

    def pump(source: socket.socket, sink: socket.socket, wait_s: float) -> None:
        while data := source.recv(1 << 16):
            time.sleep(wait_s)
            sink.sendall(data.replace(mine, theirs))
        sink.shutdown(socket.SHUT_WR)

    while True:
        client, _ = server.accept()
        upstream = socket.create_connection((host, port))
        threading.Thread(target=pump, args=(client, upstream, delay_s), daemon=True).start()
        threading.Thread(target=pump, args=(upstream, client, 0.0), daemon=True).start()


def follow(file: Path, run_id: str) -> None:
    """The flow's side: each event to MLflow through the spool, until the file says that it is over."""
    from mlratchet.infra.tracking.mlflow import MlflowTracker
    from mlratchet.infra.tracking.spool import MetricSpool
    from mlratchet.tasks.showing.training_events import points

    spool = MetricSpool(MlflowTracker(os.environ["MLFLOW_TRACKING_URI"]), run_id, file.parent / "spool")
    ended: list[Any] = []

    def hear(event: dict[str, Any]) -> None:
        if event["event"] == "step":
            spool.add(points(event, "training/", int(event["step"])))
        ended.extend([event] if event["event"] == "note" else [])

    tail = Tail(file, hear)
    while not ended:
        tail.read()
        time.sleep(0.1)
    print(spool.close(60.0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--delay-ms", type=float, default=50.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=60)
    options = parser.parse_args()
    settings = load_settings()
    apply_environment(settings)
    torch.set_num_threads(1)
    where = urlsplit(settings.mlflow_tracking_uri)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        words = [str(where.hostname), str(where.port), str(options.delay_ms / 1000), str(folder / "port")]
        proxy = subprocess.Popen([sys.executable, __file__, "--proxy", *words])
        try:
            while not (folder / "port").is_file() or not (folder / "port").read_text():
                time.sleep(0.05)
            os.environ["MLFLOW_TRACKING_URI"] = f"http://127.0.0.1:{(folder / 'port').read_text()}"
            found = measure(folder, options.rounds, options.steps)
        finally:
            proxy.kill()
            proxy.wait()
    base = found.pop("no logging")
    row: dict[str, Any] = {
        "claim": "logging", "date": dt.date.today().isoformat(), "torch": torch.__version__,
        "machine": platform.machine(), "cores": len(os.sched_getaffinity(0)), "load": os.getloadavg()[0],
        "delay_ms": options.delay_ms, "steps": options.steps, "ms_per_step": {}, "ratio": {},
    }  # fmt: skip
    row["ms_per_step"]["no logging"] = round(1000 * statistics.median(base) / options.steps, 2)
    for side, seconds in found.items():
        row["ms_per_step"][side] = round(1000 * statistics.median(seconds) / options.steps, 2)
        row["ratio"][side] = round(statistics.median(s / b for s, b in zip(seconds, base, strict=True)), 3)
    RESULTS.mkdir(exist_ok=True)
    with (RESULTS / "logging.jsonl").open("a") as sink:
        sink.write(json.dumps(row) + "\n")
    print(json.dumps(row, indent=2))


def measure(folder: Path, rounds: int, steps: int) -> dict[str, list[float]]:
    """Seconds of `steps` steps, per side and round; one round to warm up."""
    import mlflow

    mlflow.set_experiment("benchmark-logging")
    run_id = mlflow.start_run().info.run_id
    events = folder / "events.jsonl"
    store, dataset = prepare(int(1.1 * SIDES * BATCH * steps * (rounds + 1)) + 1000)  # no epoch ends
    made = trainer("exact", BATCH, 0, 1, store, dataset)
    made.config = made.config.model_copy(update={"log_every_steps": 1})

    def take(emit: Callable[[dict[str, Any]], None]) -> float:
        made.around = Surroundings(emit=emit)
        made.total = made.step + steps
        began = time.perf_counter()
        made._steps(None)
        return time.perf_counter() - began

    def in_the_loop(event: dict[str, Any]) -> None:
        if event["event"] == "step":
            mlflow.log_metrics({"loss": event["loss"], "rate": event["learning_rate"]}, step=event["step"])

    def nothing(_: dict[str, Any]) -> None:
        return None

    def ours() -> float:
        events.unlink(missing_ok=True)
        sender = subprocess.Popen([sys.executable, __file__, "--follow", str(events), run_id])
        time.sleep(8.0)  # it imports MLflow: not what is measured
        seconds = take(Spool(events))
        Spool(events)({"event": "note", "step": 0, "text": "over"})
        sender.wait(120)
        return seconds

    sides: dict[str, Callable[[], float]] = {
        "no logging": lambda: take(nothing),
        "ratchet": ours,
        "mlflow.log_metrics in the loop": lambda: take(in_the_loop),
    }
    found: dict[str, list[float]] = {name: [] for name in sides}
    for counted in range(-1, rounds):
        for name, side in sides.items():
            seconds = side()
            if counted >= 0:
                found[name].append(seconds)
    mlflow.end_run()
    return found


if __name__ == "__main__":
    if sys.argv[1:2] == ["--proxy"]:
        slow_proxy(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), Path(sys.argv[5]))
    elif sys.argv[1:2] == ["--follow"]:
        follow(Path(sys.argv[2]), sys.argv[3])
    else:
        main()

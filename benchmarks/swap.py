"""What a swap costs those who ask meanwhile, how fast the way back is, and what a server of many pipelines holds.

    python benchmarks/swap.py [--swaps 100] [--pipelines 1 20]

A server process follows the ledger of a history in memory (real gates, signatures, manifests; an MLP 64-512-512-10
exported and read back for every swap) with the product's application, follower, loader and uvicorn. Clients keep 8
requests under way from another process and hold every answer against what its version has to say. First the champion
moves among three versions, so that each swap loads a program; then back and forth between two, where the version before
is still there. "Way back" is from the ledger's entry being seen to the new champion answering, verified as any other
(the store is memory: add some milliseconds for each of the requests to S3, which are counted).
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import gc
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import torch
import uvicorn

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

from mlratchet.infra.artifact.exported import load_exported  # noqa: E402
from mlratchet.infra.artifact.measure import resident_mb  # noqa: E402
from mlratchet.infra.artifact.package import complete, export  # noqa: E402
from mlratchet.infra.machine.free_ports import find_port  # noqa: E402
from mlratchet.infra.machine.interpreter import collect_seldom  # noqa: E402
from mlratchet.infra.serving.connections import configured, run_loop  # noqa: E402
from mlratchet.infra.serving.loading import ArtifactLoader  # noqa: E402
from mlratchet.infra.serving.memory import give_back, settle_imports  # noqa: E402
from mlratchet.models.artifact.signature import Signature, signature_of  # noqa: E402
from mlratchet.models.metrics.rows import RowOutputs  # noqa: E402
from mlratchet.models.serving.app import ServingApp  # noqa: E402
from mlratchet.models.serving.config import ServingConfig  # noqa: E402
from mlratchet.models.serving.endpoint import Endpoint  # noqa: E402
from mlratchet.models.serving.follower import ChampionFollower  # noqa: E402
from mlratchet.models.serving.metrics import Metrics  # noqa: E402
from mlratchet.models.serving.predictor import Predictor  # noqa: E402
from mlratchet.models.serving.slot import Slot  # noqa: E402
from mlratchet.models.tensors.named import Inputs  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from serving import Mlp  # noqa: E402

from tests.unit.audit.conftest import World  # noqa: E402

RESULTS = HERE / "results"
VERSIONS = (1, 2, 3)
AT_ONCE = 8
ROW = np.linspace(-1, 1, 64).round(4)


def package(folder: Path, version: int) -> dict[str, bytes]:
    """The files of a version that answers by itself alone."""
    torch.manual_seed(version)
    module, workload = Mlp().prepared_model().eval(), Mlp()
    example = Inputs({"x": np.zeros((2, 64), dtype=np.float32)})
    save_file(module.state_dict(), folder / "w.safetensors")
    export(module, example, folder / "model")
    complete(folder / "model", signature_of(workload), example, card="card", weights_file=folder / "w.safetensors")
    return {
        str(file.relative_to(folder / "model")): file.read_bytes()
        for file in (folder / "model").rglob("*")
        if file.is_file()
    }


def rows(seed: int) -> RowOutputs:
    """What a gate judges: classifiers of which all are good."""
    rng = np.random.default_rng(seed)
    y = np.arange(60) % 3
    output = rng.normal(0, 0.1, (60, 3)).astype(np.float32)
    output[np.arange(60), y] += 3.0
    return RowOutputs(ids=[f"r{at}" for at in range(60)], y=y.astype(np.int64), output=output, dataset_id="d")


def history(files: dict[int, dict[str, bytes]]) -> World:
    """Three versions, promoted one after the other."""
    world = World(rows)
    for version in VERSIONS:
        world.files = files[version]
        world.promote(version)
    return world


class Served:
    """The server's process: takes words on its standard input, says what it took."""

    def __init__(self, files: dict[int, dict[str, bytes]]) -> None:
        self.world, self.slot = history(files), Slot()
        self.app = ServingApp(Metrics())
        self.app.take_up(Endpoint("m", self.slot, ServingConfig(), metrics=self.app.metrics))
        self.follower = ChampionFollower(
            "digits", self.slot, ledger=self.world.ledger, keys=self.world.keys, store=self.world.store,
            loader=ArtifactLoader(self.world.bucket), give_back=give_back,
        )  # fmt: skip

    def obey(self) -> None:
        """`VERSION`: make it champion, and serve it; `memory`: say how much is held."""
        settle_imports()
        self.follower.follow()
        for line in sys.stdin:
            if line.strip() == "memory":
                give_back()
                print(json.dumps({"mb": resident_mb("VmRSS")}), flush=True)
                continue
            version, requests = int(line), 0
            self.world.roll_back(version)
            get = self.world.store.get

            def counted(*args: Any, get: Any = get, **more: Any) -> bytes:
                nonlocal requests
                requests += 1
                return get(*args, **more)

            self.world.store.get = counted  # type: ignore[method-assign]
            began = time.perf_counter()
            self.follower.follow()
            seconds = time.perf_counter() - began
            self.world.store.get = get  # type: ignore[method-assign]
            self.follower.tidy()
            assert self.slot.version == str(version)
            print(json.dumps({"s": seconds, "requests": requests}), flush=True)


def serve(port: int, packages: Path) -> None:
    """Until the end of the standard input."""
    collect_seldom()
    torch.set_num_threads(1)
    served = Served(read_packages(packages))
    threading.Thread(target=served.obey, daemon=True).start()
    config = configured(served.app, host="127.0.0.1", port=port, header_s=lambda: 10.0)
    run_loop(uvicorn.Server(config).serve())


def held(pipelines: int, packages: Path) -> None:
    """Say what a process with so many pipelines holds, each with a program of its own."""
    collect_seldom()
    torch.set_num_threads(1)
    settle_imports()
    app = ServingApp(Metrics())
    for at in range(pipelines):
        folder = packages / str(VERSIONS[at % 3])
        signature = Signature.from_json((folder / "signature.json").read_text())
        slot = Slot()
        slot.swap(Predictor(version=1, generation=1, signature=signature, model=load_exported(folder)))
        app.take_up(Endpoint(f"p{at}", slot, ServingConfig(), metrics=app.metrics))
    give_back()
    gc.collect()
    print(json.dumps({"mb": resident_mb("VmRSS")}))


def write_packages(folder: Path) -> dict[int, np.ndarray[Any, Any]]:
    """The versions' files, and what each has to answer to `ROW`."""
    expected = {}
    for version in VERSIONS:
        with tempfile.TemporaryDirectory() as made:
            for name, data in package(Path(made), version).items():
                file = folder / str(version) / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(data)
        with torch.inference_mode():
            logits = load_exported(folder / str(version))(torch.from_numpy(ROW.astype(np.float32))[None])
        expected[version] = logits.softmax(1)[0].numpy()
    return expected


def read_packages(folder: Path) -> dict[int, dict[str, bytes]]:
    """By version."""
    return {
        version: {
            str(file.relative_to(folder / str(version))): file.read_bytes()
            for file in (folder / str(version)).rglob("*")
            if file.is_file()
        }
        for version in VERSIONS
    }


class Clients:
    """Ask without a pause, and hold every answer against its version."""

    def __init__(self, port: int, expected: dict[int, np.ndarray[Any, Any]]) -> None:
        self._port, self._expected = port, expected
        self.seconds: list[float] = []
        self.lost, self.mixed = 0, 0
        self.versions: set[int] = set()
        self.stopping = False

    async def run(self) -> None:
        """Until stopped."""
        await asyncio.gather(*(self._one() for _ in range(AT_ONCE)))

    async def _one(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        body = json.dumps({"instances": [ROW.tolist()]}).encode()
        head = f"POST /m/predict HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n\r\n"
        while not self.stopping:
            began = time.perf_counter()
            writer.write(head.encode() + body)
            try:
                header = await reader.readuntil(b"\r\n\r\n")
                fields = dict(line.split(b": ", 1) for line in header.split(b"\r\n")[1:] if line)
                answer = await reader.readexactly(int(fields[b"content-length"]))
            except (asyncio.IncompleteReadError, ConnectionError):
                self.lost += 1
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
                continue
            self.seconds.append(time.perf_counter() - began)
            self._hold(header, fields, answer)
        writer.close()

    def _hold(self, header: bytes, fields: dict[bytes, bytes], answer: bytes) -> None:
        if not header.startswith(b"HTTP/1.1 200"):
            self.lost += 1
            return
        told = orjson.loads(answer)
        version = told["version"]
        self.versions.add(version)
        got = list(told["predictions"][0]["probabilities"].values())
        right = np.allclose(got, self._expected[version], atol=1e-4) and int(fields[b"x-model-version"]) == version
        self.mixed += not right


def measure(swaps: int, packages: Path, expected: dict[int, np.ndarray[Any, Any]]) -> dict[str, Any]:
    """Swaps under load, then ways back."""
    port = find_port(set())
    command = [sys.executable, __file__, "--serve", str(port), "--packages", str(packages)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None and server.stdout is not None  # noqa: PT018 - for the types

        def say(words: str) -> dict[str, Any]:
            assert server.stdin is not None and server.stdout is not None  # noqa: PT018 - for the types
            server.stdin.write(f"{words}\n")
            server.stdin.flush()
            answer: dict[str, Any] = json.loads(server.stdout.readline())
            return answer

        say("memory")  # it serves by then
        clients = Clients(port, expected)
        thread = threading.Thread(target=lambda: asyncio.run(clients.run()))
        thread.start()
        time.sleep(5.0)
        quiet = list(clients.seconds)
        clients.seconds.clear()
        for at in range(6):
            say(str(VERSIONS[at % 3]))
        before = say("memory")["mb"]
        clients.seconds.clear()
        loads = [say(str(VERSIONS[at % 3])) for at in range(swaps)]
        during = list(clients.seconds)
        after = say("memory")["mb"]
        newest = VERSIONS[(swaps - 1) % 3]
        other = next(version for version in VERSIONS if version != newest)
        say(str(other))
        backs = [say(str((newest, other)[at % 2])) for at in range(20)]
        clients.stopping = True
        thread.join(30)
        server.stdin.close()
        server.terminate()
    return {
        "swaps": swaps, "answers": len(during), "lost": clients.lost, "mixed": clients.mixed,
        "versions": sorted(clients.versions),
        "longest_ms": round(max(during) * 1e3, 1), "p99_ms": round(float(np.quantile(during, 0.99)) * 1e3, 2),
        "quiet_longest_ms": round(max(quiet) * 1e3, 1),
        "quiet_p99_ms": round(float(np.quantile(quiet, 0.99)) * 1e3, 2),
        "load_ms": round(statistics.median(one["s"] for one in loads) * 1e3, 1),
        "back_ms": round(statistics.median(one["s"] for one in backs) * 1e3, 2),
        "back_most_ms": round(max(one["s"] for one in backs) * 1e3, 2),
        "back_requests": max(one["requests"] for one in backs),
        "memory_before_mb": round(before, 1), "memory_after_mb": round(after, 1),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--swaps", type=int, default=100)
    parser.add_argument("--pipelines", type=int, nargs="*", default=[1, 20])
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--held", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--packages", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.packages)
        return
    if options.held:
        held(options.held, options.packages)
        return
    about = {
        "date": dt.date.today().isoformat(), "torch": torch.__version__, "machine": platform.machine(),
        "cores": len(os.sched_getaffinity(0)), "load": os.getloadavg()[0],
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder, (RESULTS / "swap.jsonl").open("a") as sink:
        expected = write_packages(Path(folder))
        row = {"claim": "swap", **about, **measure(options.swaps, Path(folder), expected)}
        print(json.dumps(row))
        sink.write(json.dumps(row) + "\n")
        for pipelines in options.pipelines:
            command = [sys.executable, __file__, "--held", str(pipelines), "--packages", folder]
            told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
            row = {"claim": "serving memory", **about, "pipelines": pipelines, "resident_mb": round(told["mb"], 1)}
            print(json.dumps(row))
            sink.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()

"""A whole retrain and an unchanged re-run, wall and CPU, beside the bare script and other orchestrators.

    python benchmarks/retrain.py [--rounds 5]

A stack of its own is started in a temporary folder, below this process: whatever the stack starts and leaves behind is
waited for here (PR_SET_CHILD_SUBREAPER), so that no CPU second is lost. Sides interleaved, after a round of warm-up:
`ratchet run` with another seed, the same again (nothing to do), the bare script, and with the extra `bench` Metaflow;
bare Prefect runs against the stack's own server. The wall time of a retrain is cut by Prefect's times of the steps, its
CPU time by who used it.
"""

from __future__ import annotations

import argparse
import ctypes
import datetime as dt
import importlib.util
import json
import os
import platform
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import psutil
import torch
from mlratchet.infra.machine.processes import STACK_MARK, marked_processes
from mlratchet.infra.settings import child_environment, load_settings
from mlratchet.infra.stack.control import status
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

RESULTS, SIDES = Path(__file__).parent / "results", Path(__file__).parent / "retrain_sides"
EXAMPLE = Path(__file__).parents[1] / "docs" / "examples" / "two_layers"
RATCHET = str(Path(sys.executable).with_name("ratchet"))
PR_SET_CHILD_SUBREAPER = 36
ROWS, EPOCHS, SETTLE_S = 8000, 20, 1.5
STEPS = {
    "Train": "train", "Measure": "measure", "Register": "register", "Deploy": "deploy", "Evaluate": "evaluate",
    "Gate": "gates",
}  # fmt: skip


class Stack:
    """A stack in a folder, and the CPU seconds of everything that descends from this process."""

    def __init__(self, folder: Path) -> None:
        self.home, self.project = folder / "home", folder / "project"
        (self.project / "deployments" / "pipelines").mkdir(parents=True)
        file = (EXAMPLE / "two-layers.yaml").read_text()
        file = file.replace("processes: 2", "processes: 1").replace("epochs: 20", f"epochs: {EPOCHS}")
        (self.project / "deployments" / "pipelines" / "two-layers.yaml").write_text(file)
        shutil.copy(EXAMPLE / "two_layers.py", self.project)
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("RATCHET_")}
        self.environment |= {"RATCHET_HOME": str(self.home)}
        self.python(str(EXAMPLE / "make_rows.py"), str(ROWS))

    def python(self, *command: str, environment: dict[str, str] | None = None) -> None:
        subprocess.run(
            [sys.executable, *command],
            cwd=self.project, env=environment or self.environment, check=True, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def ratchet(self, *arguments: str) -> str:
        done = subprocess.run(
            [RATCHET, *arguments], cwd=self.project, env=self.environment, check=False, capture_output=True, text=True
        )
        if done.returncode:
            sys.exit(f"ratchet {' '.join(arguments)} ended with {done.returncode}: {done.stderr}")
        return done.stdout

    def cpu(self) -> dict[str, float]:
        """CPU seconds so far: by service, and of all that ended below this process."""
        reap()
        used = {"ended": sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])}
        names = {service.pid: service.name for service in status(self.home)}
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                times = process.cpu_times()
                name = names.get(process.pid, "helpers")
                used[name] = used.get(name, 0.0) + times.user + times.system
                used["ended"] += times.children_user + times.children_system
        return used


def reap() -> None:
    """Take in what ended as an orphan."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


@contextmanager
def running_stack() -> Iterator[Stack]:
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    with tempfile.TemporaryDirectory(prefix="ratchet-retrain-") as folder:
        stack = Stack(Path(folder))
        try:
            stack.ratchet("up")
            stack.ratchet("upload", "two-layers", "rows.csv")
            yield stack
        finally:
            stack.ratchet("down")
            reap()
            left = marked_processes(STACK_MARK, str(stack.home.resolve()))
            assert not left, f"left running: {left}"


def measured(stack: Stack, work: Callable[[], Any]) -> tuple[dict[str, float], Any]:
    """Wall seconds, and CPU seconds by who used them; what the stack does a little later belongs to it."""
    before, began = stack.cpu(), time.perf_counter()
    found = work()
    wall = time.perf_counter() - began
    time.sleep(SETTLE_S)
    after = stack.cpu()
    used = {f"cpu {name}": after[name] - before.get(name, 0.0) for name in after}
    return {"wall": wall, "cpu": sum(used.values()), **used}, found


def idle(stack: Stack) -> float:
    """CPU seconds per second of the stack that has nothing to do."""
    before, began = stack.cpu(), time.perf_counter()
    time.sleep(5)
    after = stack.cpu()
    return (sum(after.values()) - sum(before.values())) / (time.perf_counter() - began)


def retrain(stack: Stack, seed: int) -> dict[str, float]:
    """One `ratchet run`, cut where the run's own times cut it."""
    began = time.time()
    used, said = measured(
        stack, lambda: json.loads(stack.ratchet("run", "two-layers", "--set", f"train.seed={seed}", "--json"))
    )
    ended = began + used["wall"]
    settings = load_settings(stack.home)
    wanted = FlowRunFilter(id=FlowRunFilterId(any_=[said["run_id"]]))
    auth = settings.prefect_auth.get_secret_value() if settings.prefect_auth is not None else None
    with SyncPrefectClient(str(settings.prefect_api_url), auth_string=auth) as client:
        run, tasks = client.read_flow_run(said["run_id"]), client.read_task_runs(flow_run_filter=wanted)
    spans = sorted(
        (t.start_time.timestamp(), t.end_time.timestamp(), t.name) for t in tasks if t.start_time and t.end_time
    )
    assert run.created is not None
    assert run.start_time is not None
    assert run.end_time is not None
    cut = {
        "command to run": run.created.timestamp() - began,
        "run to process": run.start_time.timestamp() - run.created.timestamp(),
        "to first step": spans[0][0] - run.start_time.timestamp(),
        "last step to end": run.end_time.timestamp() - spans[-1][1],
        "end to command": ended - run.end_time.timestamp(),
        "loop": float(said.get("training", {}).get("seconds", 0.0)),
    }
    for begin, end, name in spans:
        key = STEPS.get(name.split()[0].rstrip(":"), "other steps")
        cut[key] = cut.get(key, 0.0) + end - begin
    cut["between steps"] = spans[-1][1] - spans[0][0] - sum(end - begin for begin, end, _ in spans)
    return used | {f"wall {name}": value for name, value in cut.items()}


def peers(stack: Stack) -> dict[str, Callable[[int], list[str]]]:
    """Commands by side; what is not installed is named."""
    out = lambda seed: str(stack.project / "out" / str(seed))  # noqa: E731
    sides: dict[str, Callable[[int], list[str]]] = {
        "bare script": lambda seed: [str(SIDES / "bare.py"), "rows.csv", str(seed), out(seed), str(EPOCHS)],
        "Prefect": lambda seed: [str(SIDES / "prefect_flow.py"), "rows.csv", str(seed), out(seed), str(EPOCHS)],
    }
    if importlib.util.find_spec("metaflow") is None:
        print("Metaflow is not installed (pip install -e '.[bench]'): not measured", file=sys.stderr)
    else:
        sides["Metaflow"] = lambda seed: [
            str(SIDES / "metaflow_flow.py"), "--no-pylint", "run", "--file", "rows.csv", "--seed", str(seed),
            "--out", out(seed), "--epochs", str(EPOCHS),
        ]  # fmt: skip
    return sides


def rounds_of(stack: Stack, count: int, skip: list[str]) -> Iterator[dict[str, dict[str, float]]]:
    """What was measured of every side, round by round; the first one is not counted."""
    settings = load_settings(stack.home)
    environment = stack.environment | child_environment(settings) | {"USERNAME": "bench", "METAFLOW_USER": "bench"}
    limit = [
        str(SIDES / "limit.py"), str(settings.s3_endpoint_url), settings.raw_bucket, "two-layers/",
        settings.store_bucket, "snapshots/",
    ]  # fmt: skip
    for number in range(count + 1):
        seed = 100 + number
        taken = {
            "ratchet": retrain(stack, seed),
            "ratchet, unchanged": retrain(stack, seed),
            "limit, unchanged": measured(stack, lambda: stack.python(*limit, environment=environment))[0],
        }
        for name, command in peers(stack).items():
            if name in skip:
                continue
            run = lambda command=command, seed=seed: stack.python(*command(seed), environment=environment)  # noqa: E731
            taken[name] = measured(stack, run)[0]
            if name == "Prefect":
                taken["Prefect, unchanged"] = measured(stack, run)[0]
        print(
            f"round {number}:",
            {side: f"{one['wall']:.1f} s, {one['cpu']:.1f} CPU-s" for side, one in taken.items()},
            flush=True,
        )
        if number:
            yield taken


class Terminated(Exception):  # noqa: N818 - no error
    """SIGTERM: the stack is stopped, and what was counted is written."""


def terminate(_signum: int, _frame: FrameType | None) -> None:
    raise Terminated


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--note", default="", help="What the row says about itself, e.g. the commit.")
    parser.add_argument("--skip", nargs="*", default=[], help="Sides that are not measured, by name.")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, terminate)
    load = [os.getloadavg()[0]]
    found: dict[str, list[dict[str, float]]] = {}
    with running_stack() as stack:
        time.sleep(5)  # what the services do after their start
        rest = idle(stack)
        with suppress(KeyboardInterrupt, Terminated):  # what was counted by then stands
            for taken in rounds_of(stack, options.rounds, options.skip):
                for side, one in taken.items():
                    found.setdefault(side, []).append(one)
    if not found:
        sys.exit("no round was counted")
    load.append(os.getloadavg()[0])
    names = {side: sorted({name for one in taken for name in one}) for side, taken in found.items()}
    row = {
        "claim": "retrain", "date": dt.datetime.now(dt.UTC).date().isoformat(), "torch": torch.__version__,
        "machine": platform.machine(), "cores": len(os.sched_getaffinity(0)), "load": round(load[0], 1),
        "load_after": round(load[1], 1), "note": options.note, "rounds": len(found["ratchet"]),
        "not_measured": options.skip, "rows": ROWS, "epochs": EPOCHS,
        "idle_cpu_per_s": round(rest, 3),
        "sides": {
            side: {
                name: [round(statistics.median(values), 2), round(min(values), 2), round(max(values), 2)]
                for name in names[side] for values in [[one.get(name, 0.0) for one in taken]]
            }
            for side, taken in found.items()
        },
    }  # fmt: skip
    RESULTS.mkdir(exist_ok=True)
    with (RESULTS / "retrain.jsonl").open("a") as sink:
        sink.write(json.dumps(row) + "\n")
    print(json.dumps(row, indent=1))


if __name__ == "__main__":
    main()

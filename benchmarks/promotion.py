"""From the champion gate's verdict to the first answer of the new version, in real retrains on the running stack.

    ratchet up && ratchet demo && python benchmarks/promotion.py [--runs 10]

Every run trains digits with another seed and goes through all gates; those that a gate stops are not counted. The times
are Prefect's of the steps: judging alone (statistics, decision, signature), then verifying, ledger entry, alias, tags,
and the swap of the server, until it answers with the version. A rollback is the same road without a training.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import torch
from mlratchet.infra.serving.local import LocalServers
from mlratchet.infra.settings import load_settings
from mlratchet.tasks.wiring import Adapters
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from rich.progress import track

RESULTS = Path(__file__).parent / "results"
RATCHET = str(Path(sys.executable).with_name("ratchet"))


def ratchet(*arguments: str) -> dict[str, Any] | None:
    """What a command prints with --json; None when it fails, as a stopped run does."""
    done = subprocess.run([RATCHET, *arguments, "--json"], capture_output=True, text=True, check=False)
    return dict(json.loads(done.stdout)) if done.returncode == 0 else None


def steps_of(client: SyncPrefectClient, run_id: str) -> dict[str, tuple[float, float]]:
    """Task run name -> begin and end, seconds since the epoch."""
    wanted = FlowRunFilter(id=FlowRunFilterId(any_=[run_id]))
    return {
        run.name: (run.start_time.timestamp(), run.end_time.timestamp())
        for run in client.read_task_runs(flow_run_filter=wanted)
        if run.start_time is not None and run.end_time is not None
    }


def promotion(client: SyncPrefectClient, seed: int) -> dict[str, float] | None:
    report = ratchet("run", "digits", "--set", f"train.seed={seed}")
    if report is None or report["outcome"] != "promoted":
        return None
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:  # Prefect writes the end of a step a little later
        steps = steps_of(client, str(report["run_id"]))
        gate = next((times for name, times in steps.items() if name.startswith("Gate: champion")), None)
        served = next((times for name, times in steps.items() if name.startswith("Deploy")), None)
        if gate and served:
            return {"judging_s": gate[1] - gate[0], "gate_to_served_s": served[1] - gate[1]}
        time.sleep(0.2)
    return None


def rollback(adapters: Adapters, to: int | None) -> float:
    """Seconds of the command's work and of the swap; the start of the interpreter is not counted. `to`: that version,
    or without one the one before."""
    from mlratchet.tasks.actions.roll_back import roll_back

    url = LocalServers(adapters.settings.home).url("digits")
    began = time.perf_counter()
    version = roll_back(adapters, "digits", to=to, reason="measured: from the call to the first answer")["version"]
    with httpx.Client() as client:
        while client.get(f"{url}/ready").headers.get("x-model-version") != str(version):
            time.sleep(0.01)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10)
    options = parser.parse_args()
    settings = load_settings()
    adapters = Adapters(settings)
    load = os.getloadavg()[0]
    auth = settings.prefect_auth.get_secret_value() if settings.prefect_auth is not None else None
    with SyncPrefectClient(str(settings.prefect_api_url), auth_string=auth) as client:
        seeds = track(range(100, 100 + options.runs), "retraining")
        promoted = [found for found in (promotion(client, seed) for seed in seeds) if found is not None]
    if not promoted:
        sys.exit("no run was promoted; `ratchet demo` first")
    newest = adapters.ledger.entries("digits")[-1].version
    there_and_back = [None, newest] * ((options.runs + 1) // 2)  # one after the other ends at the first version
    back = [rollback(adapters, to) for to in track(there_and_back[: options.runs], "rolling back")]
    row = {
        "claim": "promotion", "date": dt.date.today().isoformat(), "torch": torch.__version__,
        "machine": platform.machine(), "cores": len(os.sched_getaffinity(0)), "load": load, "runs": options.runs,
        "promoted": len(promoted),
        **{
            f"{name}_{kind.__name__}": round(kind(one[name] for one in promoted), 2)
            for name in ("judging_s", "gate_to_served_s") for kind in (statistics.median, max)
        },
        "rollback_s_median": round(statistics.median(back), 2), "rollback_s_max": round(max(back), 2),
    }  # fmt: skip
    print(json.dumps(row, indent=1))
    with (RESULTS / "promotion.jsonl").open("a") as sink:
        sink.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()

"""What a long history costs: commands and runs on a ledger of 10 generations beside one of 1,000, and the whole audit.

    python benchmarks/history.py [--generations 1000] [--rounds 5] [--folder DIR] [--only history,audit]

Starts a stack of its own below the folder (SeaweedFS, MLflow, Prefect), trains and promotes a first version of two
pipelines that differ by their name alone, and makes the further generations with the product's own functions
(`generations.py`). A folder that holds them already is used again. Sides are interleaved after a warm-up, each command
in a fresh process as a user runs it; CPU is that of the command and its children, not of the servers. The limit of an
audit is fetching the same objects with as many threads and doing nothing with them.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import logging
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mlratchet.infra.settings import apply_environment, load_settings
from mlratchet.models.ports.reading import side_by_side
from mlratchet.models.ports.storage import ObjectStore
from mlratchet.tasks.wiring import Adapters

REVISION = "this"  # a row of an earlier one is kept beside it
RESULTS = Path(__file__).parent / "results"
RATCHET = str(Path(sys.executable).with_name("ratchet"))
EXAMPLE = Path(__file__).parent.parent / "docs" / "examples" / "two_layers"
SHORT, LONG = "short", "long"
READ = ("ledger", "decisions", "signatures", "evidence", "rows", "registrations", "manifests")  # by an audit
COMMANDS = {
    "history": ("history", "NAME"),
    "versions": ("versions", "NAME"),
    "champion": ("champion", "NAME"),
    "run unchanged": ("run", "NAME", "--local"),
    "run retrain": ("run", "NAME", "--local", "--set", "train.seed=SEED"),
    "audit --since": ("audit", "NAME", "--since"),
    "audit": ("audit", "NAME"),
}
ENDS = {"run retrain": (0, 4)}  # a gate may say no to a seed


class Folder:
    """A stack and a project of its own."""

    def __init__(self, root: Path) -> None:
        self.home, self.project = root / "home", root / "project"
        self._seed = time.time_ns() // 10**9  # another one for every retrain, also of a folder that is used again

    def prepare(self) -> None:
        """The pipelines, as a user's project holds them, and the stack."""
        pipelines = self.project / "deployments" / "pipelines"
        if not pipelines.is_dir():
            pipelines.mkdir(parents=True)
            shutil.copy(EXAMPLE / "two_layers.py", self.project)
            subprocess.run([sys.executable, str(EXAMPLE / "make_rows.py"), "1500"], cwd=self.project, check=True)
            text = (EXAMPLE / "two-layers.yaml").read_text()
            for name in (SHORT, LONG):
                (pipelines / f"{name}.yaml").write_text(text.replace("name: two-layers", f"name: {name}"))
        self("up")
        self("upload", SHORT, "rows.csv")

    def __call__(self, *arguments: str, codes: tuple[int, ...] = (0,)) -> tuple[float, float]:
        """Wall and CPU seconds of one command."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "MLFLOW_", "AWS_"))}
        environment |= {"RATCHET_HOME": str(self.home), "RATCHET_RECONCILE_SECONDS": "86400"}
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        done = subprocess.run(
            [RATCHET, *arguments], cwd=self.project, env=environment, capture_output=True, text=True, check=False
        )
        wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode not in codes:
            raise SystemExit(f"ratchet {' '.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}")
        return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    def measure(self, what: str, pipeline: str) -> tuple[float, float]:
        """One round of one side."""
        self._seed += 1
        words = [word.replace("NAME", pipeline).replace("SEED", str(self._seed)) for word in COMMANDS[what]]
        return self(*words, codes=ENDS.get(what, (0,)))


def make(folder: Folder, adapters: Adapters, generations: dict[str, int]) -> float:
    """The histories; seconds that a generation took."""
    from generations import Generations

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    began, made = time.perf_counter(), 0
    for pipeline, until in generations.items():
        if adapters.ledger.head(pipeline) is None:
            folder("run", pipeline, "--local")
        held = len(adapters.ledger.entries(pipeline))
        Generations(adapters, pipeline).make(until)
        made += max(until - held, 0)
    return (time.perf_counter() - began) / max(made, 1)


def fetch_all(adapters: Adapters, pipeline: str) -> tuple[int, float, float]:
    """What an audit reads, fetched and thrown away: objects, wall and CPU seconds."""
    store, uploads = adapters.store, adapters.bucket(adapters.settings.mlflow_bucket)
    places: list[tuple[ObjectStore, str]] = [
        (store, info.key)
        for prefix in READ
        for info in store.list(f"{prefix}/{pipeline}/" if prefix == "ledger" else f"{prefix}/")
    ]
    places += [(uploads, info.key) for info in uploads.list("1/models/")]
    began, cpu = time.perf_counter(), time.process_time()
    for _ in side_by_side(lambda place: len(place[0].get(place[1])), places):
        pass
    return len(places), time.perf_counter() - began, time.process_time() - cpu


def rounds_of(
    sides: dict[str, Callable[[], tuple[float, float]]], rounds: int, warm_up: int = 1
) -> dict[str, list[tuple[float, float]]]:
    """Interleaved; the warm-up is not counted."""
    taken: dict[str, list[tuple[float, float]]] = {side: [] for side in sides}
    for number in range(rounds + warm_up):
        for side, once in sides.items():
            one = once()
            if number >= warm_up:
                taken[side].append(one)
    return taken


def summary(taken: list[tuple[float, float]]) -> dict[str, Any]:
    """Medians and spread of wall and CPU seconds."""
    wall, cpu = [one[0] for one in taken], [one[1] for one in taken]
    return {
        "wall_s": round(statistics.median(wall), 2),
        "wall_s_spread": [round(min(wall), 2), round(max(wall), 2)],
        "cpu_s": round(statistics.median(cpu), 2),
        "cpu_s_spread": [round(min(cpu), 2), round(max(cpu), 2)],
        "rounds": len(taken),
    }


def write(row: dict[str, Any]) -> None:
    about = {
        "revision": REVISION,
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "torch": version("torch"),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
    }
    line = json.dumps({"claim": "history", **row, **about})
    print(line, flush=True)
    RESULTS.mkdir(exist_ok=True)
    with (RESULTS / "history.jsonl").open("a") as sink:
        sink.write(line + "\n")


@contextmanager
def workplace(named: Path | None) -> Iterator[Path]:
    """The named folder, which stays, or one that goes."""
    if named is not None:
        yield named.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="ratchet-history-") as made:
        yield Path(made)


def compare(folder: Folder, adapters: Adapters, what: str, rounds: int) -> None:
    """One command on both histories."""
    warm_up = 0 if what in ("run retrain", "audit") else 1  # neither leaves anything that the next one is quicker by
    taken = rounds_of(
        {name: (lambda name=name: folder.measure(what, name)) for name in (SHORT, LONG)},  # type: ignore[misc]
        rounds,
        warm_up,
    )
    for name, times in taken.items():
        write({"what": what, "generations": len(adapters.ledger.entries(name)), **summary(times)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--generations", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="Kept, and used again when it holds the histories already.")
    parser.add_argument("--only", default=",".join(COMMANDS), help="Which of them, by comma.")
    options = parser.parse_args()
    wanted = [what for what in COMMANDS if what in options.only.split(",")]
    with workplace(options.folder) as root:
        folder = Folder(root)
        folder.prepare()
        try:
            settings = load_settings(folder.home)
            apply_environment(settings)
            adapters = Adapters(settings)
            each_s = make(folder, adapters, {SHORT: 10, LONG: options.generations})
            print(f"{each_s:.2f} s per generation that was made", flush=True)
            for what in wanted:
                compare(folder, adapters, what, options.rounds)
            if "audit" in wanted:
                objects, wall, cpu = fetch_all(adapters, LONG)
                generations = len(adapters.ledger.entries(LONG))
                write({
                    "what": f"the limit of an audit: {objects} GETs", "generations": generations,
                    "wall_s": round(wall, 2), "cpu_s": round(cpu, 2), "rounds": 1,
                })  # fmt: skip
        finally:
            folder("down")


if __name__ == "__main__":
    main()

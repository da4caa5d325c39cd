"""How often each detector is wrong in a year without a change, and after how many rows it finds a known change.

    python benchmarks/detectors.py [--peer PYTHON] [--kept FOLDER] [--world NAME ...] [--rows N ...]

A window is an hour. A model is fitted, its test rows are the reference, and windows are drawn from other rows of the
same world, without a change and with one of six kinds, from the first window on. Ours is the one alarm that the monitor
runs, over all streams together, at one false alarm a year; it goes on from window to window, over windows drawn from
those that were measured. An alarm without a change is a false one where its stream's promise is true of the rows that
windows are drawn from; where it is not, as the test rows promised too much by chance, it is counted apart. A rule by
window sounds or not in each: it is shown with its threshold by default, and with the one at which it sounds in one of
8,766 windows without a change, which is taken from 600 of this world's own windows and which nobody has who has only
a reference.
`--peer`: the Python of an environment with evidently 0.7.23 and pandas below 3; it says how often it agrees.
`--kept`: a folder for downloaded packages. `--rate`: only the simulation at the edge of the promise; `--below`: only
that of drifts below the minimum effect.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from detectors_ours import YEAR, Ours, Said
from detectors_peers import DEFAULTS, Peers, flat
from detectors_real import RAW
from detectors_worlds import Window, World, world_of
from mlratchet.models.monitoring.column_watch import watch_of
from mlratchet.models.monitoring.sequential import BETS, YEAR_S, EvidenceStream, JointAlarm, growth
from mlratchet.models.monitoring.sketches import of

Array = np.ndarray[Any, Any]
RESULTS = Path(__file__).parent / "results" / "detectors.jsonl"
RATE = 1.0
NULL_OURS, NULL_PEERS, WINDOWS, RUNS, MOST, YEARS = 32, 600, 4, 9, 40, 2
FEW, MORE_WINDOWS = 1_000, 16  # of windows with fewer rows more are drawn: each is of another strength
TAIL = 0.05
PEER_WINDOWS = 20  # with a change
ASKED = 1  # windows of each case that Evidently itself is asked about
CHANGES = {
    "covariate": (0.3, 1.0), "label": (0.3, 0.8), "concept": (0.05, 0.2), "quality": (0.05, 0.3), "outage": (0.2, 1.0),
    "natural": (0.3, 1.0),
}  # fmt: skip
EFFECT, FINER = 0.1, 0.03
VARIANTS: dict[str, tuple[float, dict[str, Any]]] = {
    "ratchet": (EFFECT, {}), "ratchet without labels": (EFFECT, {"without": ("quality",)}),
    f"ratchet, minimum_effect {FINER:g}": (FINER, {}),
}  # fmt: skip
"""Name -> its minimum effect, and what its alarm leaves out."""
Sink = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, kw_only=True)
class Setup:
    """One world at one number of rows an hour."""

    world: World
    ours: Mapping[float, Ours]  # by minimum effect
    peers: Peers
    n: int
    seed: int

    def windows(self, count: int, change: str | None = None, size: float = 0.0) -> list[Window]:
        """With the change in all of them."""
        rng = np.random.default_rng([self.seed, self.n, sum(map(ord, change or "")), int(100 * size)])
        return [self.world.draw(rng, self.n, change, size) for _ in range(count)]

    def said(self, variants: Mapping[str, tuple[float, Any]], windows: Sequence[Window]) -> dict[float, list[Said]]:
        """What these windows say, by minimum effect; only at the usual one with what is said of a window as a whole,
        which takes most of the time."""
        effects = sorted({effect for effect, _ in variants.values()})
        return {one: [self.ours[one].said(window, whole=one == EFFECT) for window in windows] for one in effects}

    @property
    def cases(self) -> list[tuple[str, float]]:
        """Changes that this world can have."""
        kinds = [kind for kind in CHANGES if kind != "natural" or len(self.world.natural)]
        return [(kind, size) for kind in kinds for size in CHANGES[kind]]


def calibrated(setup: Setup) -> tuple[dict[str, float], dict[str, float]]:
    """Of each peer: the threshold of one alarm in a year, and how often it sounds in a year by default."""
    rng = np.random.default_rng([setup.seed, setup.n])
    told = [setup.peers(setup.world.draw(rng, setup.n, None, 0.0)) for _ in range(NULL_PEERS)]
    found = {name: np.sort([one[name] for one in told]) for name in DEFAULTS}
    per_year = {name: float((held > DEFAULTS[name]).mean()) * YEAR for name, held in found.items()}
    return {name: once_a_year(held) for name, held in found.items()}, per_year


def once_a_year(held: Array) -> float:
    """The value that is exceeded once in `YEAR` windows, beyond those that were drawn: by the mean excess of the
    largest twentieth (an exponential tail)."""
    start = float(np.quantile(held, 1 - TAIL))
    excess = held[held > start] - start
    return start + float(excess.mean()) * math.log(TAIL * YEAR) if len(excess) else start


def windows_of_rule(share: float) -> float:
    """Windows until a rule that sounds in this share of the windows has sounded in half of the cases."""
    if share >= 1:
        return 1.0
    return math.ceil(math.log(0.5) / math.log1p(-share)) if share > 0 else math.inf


def evidently_on(python: str, reference: Window, windows: Sequence[Window]) -> dict[str, list[bool]]:
    """Its preset with its own defaults, in its own environment."""
    with tempfile.TemporaryDirectory() as folder:
        held = [flat(one) for one in (reference, *windows)]
        tables = {f"{at}/{name}": column.astype(str if column.dtype == object else float)
                  for at, one in enumerate(held) for name, column in one.items()}  # fmt: skip
        np.savez(Path(folder) / "in.npz", **tables)
        script = Path(__file__).parent / "detectors_evidently.py"
        subprocess.run([python, str(script), folder], check=True, env={**os.environ, "DO_NOT_TRACK": "1"})
        found: dict[str, list[bool]] = json.loads((Path(folder) / "out.json").read_text())
        return found


def measure_ours(setup: Setup, variants: Sequence[str], sink: Sink) -> None:
    """The alarm of the monitor, on every change."""
    rng = np.random.default_rng(setup.seed)
    chosen = {name: VARIANTS[name] for name in variants}
    usual, quiet = setup.world.usual(), setup.said(chosen, setup.windows(NULL_OURS))
    for name, (effect, kinds) in chosen.items():
        ours = setup.ours[effect]
        untrue = ours.untrue_promises(quiet[effect], usual)
        led = ours.alarms_in(quiet[effect], YEARS, rng, **kinds)
        right = sum(count for stream, count in led.items() if stream in untrue)
        sink({"change": "none", "size": 0.0, "detector": name, "rows": None, "led": dict(led),
              "false_alarms_per_year": round((sum(led.values()) - right) / YEARS, 3),
              "of_untrue_promises_per_year": round(right / YEARS, 3), "untrue": sorted(untrue)})  # fmt: skip
    for change, size in setup.cases:
        said = setup.said(chosen, setup.windows(WINDOWS if setup.n >= FEW else MORE_WINDOWS, change, size))
        for name, (effect, kinds) in chosen.items():
            found = [setup.ours[effect].windows_until(said[effect], MOST, rng, **kinds) for _ in range(RUNS)]
            middle = sorted(found, key=lambda one: one[0])[len(found) // 2]
            sink({"change": change, "size": size, "detector": name, "rows": _rows(middle[0], setup.n),
                  "led": middle[1]})  # fmt: skip


def measure_peers(setup: Setup, peer: str | None, sink: Sink) -> None:
    """Every rule by window, on every change."""
    thresholds, per_year = calibrated(setup)
    for name, rate in per_year.items():
        none = {"change": "none", "size": 0.0, "rows": None}
        sink(none | {"detector": name, "false_alarms_per_year": round(rate, 1)})
        told_by = {"threshold": round(thresholds[name], 4), "default": round(float(DEFAULTS[name]), 4)}
        sink(none | {"detector": f"{name}, set to one a year", "false_alarms_per_year": 1.0} | told_by)
    asked: list[tuple[Window, dict[str, float]]] = []
    for change, size in setup.cases:
        drawn = setup.windows(PEER_WINDOWS, change, size)
        told = [setup.peers(one) for one in drawn]
        asked += list(zip(drawn, told, strict=True))[:ASKED]
        for name in DEFAULTS:
            for title, threshold in ((name, DEFAULTS[name]), (f"{name}, set to one a year", thresholds[name])):
                delay = windows_of_rule(float(np.mean([one[name] > threshold for one in told])))
                sink({"change": change, "size": size, "detector": title, "rows": _rows(delay, setup.n)})
    if peer is not None:
        flags = evidently_on(peer, setup.world.reference, [one for one, _ in asked])
        same = {name: float(np.mean([(told[name] > 1) == flag for (_, told), flag in zip(asked, held, strict=True)]))
                for name, held in flags.items()}  # fmt: skip
        sink({"change": "agreement", "size": 0.0, "detector": "Evidently", "agrees": same, "windows": len(asked)})


def _rows(windows: float, n: int) -> int | None:
    return int(windows) * n if math.isfinite(windows) else None


def at_the_edge(years: int, seed: int) -> dict[str, Any]:
    """Windows whose scores have exactly the mean that is promised, which no world without a change comes near: a year
    of windows of 100 rows, 20 streams that all move together or each by itself, many years."""
    rng, found = np.random.default_rng(seed), {}
    streams = {f"s{at}": EvidenceStream(parts=("a",)) for at in range(20)}
    for limit in (0.02, 0.1, 0.55):
        for together in (True, False):
            alarms = 0
            alarm = JointAlarm(streams, false_alarms_per_year=RATE, started_s=0.0)
            steps = growth(np.asarray([0.0, 1.0]), limit)  # (2, K)
            for year in range(years):
                ones = rng.binomial(100, limit, (1 if together else len(streams), YEAR))
                at = YEAR_S * (year + np.arange(1, YEAR + 1) / YEAR)
                logs = [(100 - one)[:, None] * steps[0] + one[:, None] * steps[1] for one in ones]
                alarms += len(alarm.update({name: (logs[at_s % len(logs)], at) for at_s, name in enumerate(streams)}))
            found[f"limit {limit:g}, {'one' if together else 'each its own'}"] = alarms / years
    return {"years": years, "windows": years * YEAR, "bets": BETS, "alarms_per_year": found}


def below_the_effect(years: int, seed: int) -> dict[str, Any]:
    """A column of numbers that has moved by less than the minimum effect for good, one of 20 streams: alarms a year, by
    rows of the reference and of an hour, over years of windows drawn from 300."""
    rng, found = np.random.default_rng(seed), {}
    for of_reference in (2_000, 100_000):
        then = of(rng.normal(size=of_reference), "number")
        watch = watch_of(then, "number", minimum_effect=EFFECT, among=100)
        assert watch is not None
        for n in (100, 1_000, 10_000):
            for part in (0.0, 0.25, 0.5, 0.75, 0.9):
                drawn = (of(rng.normal(part * EFFECT, 1, n), "number", like=then) for _ in range(300))
                said = np.concatenate([watch.logarithms(one, None) for one in drawn])
                alarm = JointAlarm({"x": watch.stream}, false_alarms_per_year=RATE / 20, started_s=0.0)
                alarms = 0
                for year in range(years):
                    at = YEAR_S * (year + np.arange(1, YEAR + 1) / YEAR)
                    alarms += len(alarm.update({"x": (said[rng.integers(0, len(said), YEAR)], at)}))
                found[f"{of_reference}, {n}, {part:g}"] = alarms / years
    return {"years": years, "alarms_per_year": found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", help="python of an environment with evidently")
    parser.add_argument("--kept", type=Path, default=Path(tempfile.gettempdir()) / "ratchet-packages")
    parser.add_argument("--world", nargs="*", default=list(RAW), choices=list(RAW))
    parser.add_argument("--rows", nargs="*", type=int, default=[100, 1000])
    parser.add_argument("--ours", nargs="*", choices=list(VARIANTS), help="these of ours alone, and no other rule")
    parser.add_argument("--rate", type=int, help="years of the simulation at the edge of the promise")
    parser.add_argument("--below", type=int, help="years of the simulation of drifts below the minimum effect")
    options = parser.parse_args()
    about = {"date": time.strftime("%Y-%m-%d"), "cores": os.cpu_count()}

    def write(row: dict[str, Any]) -> None:
        with RESULTS.open("a") as file:
            file.write(json.dumps(about | row | {"load": round(os.getloadavg()[0], 1)}) + "\n")

    if options.rate:
        write({"claim": "detectors at the edge"} | at_the_edge(options.rate, 14))
        return
    if options.below:
        write({"claim": "detectors below the effect"} | below_the_effect(options.below, 14))
        return
    for name in options.world:
        world = world_of(RAW[name](options.kept), 14)
        ours = {effect: Ours.of(world, rate=RATE, effect=effect) for effect in (EFFECT, FINER)}
        peers = Peers(world.reference)
        for n in options.rows:
            began = time.monotonic()
            rows: list[dict[str, Any]] = []
            setup = Setup(world=world, ours=ours, peers=peers, n=n, seed=14)
            measure_ours(setup, options.ours or list(VARIANTS), rows.append)
            if not options.ours:
                measure_peers(setup, options.peer, rows.append)
            streams = len(ours[EFFECT].streams)
            for row in rows:
                write({"claim": "detectors of worlds", "world": name, "n": n, "streams": streams} | row)
            print(f"{name}, {n} rows an hour: {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()

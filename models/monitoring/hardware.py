"""Hardware in training, against this pipeline's own history: slower epochs, slower writes, one rank behind the others.

A pure function of what trainings wrote down of themselves. A training is compared with earlier ones of as many
processes on the same kind of device, and throughput counts rows, so that a larger delivery is no finding.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlratchet.models.monitoring.config import HardwareRule
from mlratchet.models.monitoring.window import Figure

SPREADS = 4.0  # median absolute deviations, scaled to a normal's standard deviation, beyond which a value is unusual
TO_SIGMA = 1.4826  # times the median absolute deviation: the standard deviation of a normal
LEAST_EPOCHS = 3  # with a slow rank, so that one pause of the machine is none
LEAST_SHARE = 0.8  # of the epochs in which the same rank is the slowest


@dataclass(frozen=True, kw_only=True)
class TrainingSpeed:
    """What one training says of its speed."""

    version: int
    ended_s: float  # seconds since the epoch
    began_s: float
    processes: int
    device: str
    epochs: Sequence[Mapping[str, Any]]  # as in its result: `rows_per_second`, `slowest_rank`, ...
    write_s: float = 0.0  # per checkpoint; 0: it wrote none

    def rows_per_second(self) -> float:
        """Median over its epochs without the first, which warms up; NaN where it has none."""
        rates = [float(one["rows_per_second"]) for one in self.epochs if one.get("rows_per_second")]
        return statistics.median(rates[1:] or rates) if rates else math.nan


@dataclass(frozen=True, kw_only=True)
class SlowHardware:
    """One thing that became slow."""

    subject: str  # throughput, writes, `rank 1`
    measure: str
    times: float  # how many times slower than usual
    usual: float
    found: float
    n: int  # trainings, or epochs, that it is compared with
    words: str


def slow_hardware(
    newest: TrainingSpeed, earlier: Sequence[TrainingSpeed], rule: HardwareRule
) -> tuple[SlowHardware, ...]:
    """Everything about the newest training that is slower than its history; empty without enough of it."""
    alike = [one for one in earlier if (one.processes, one.device) == (newest.processes, newest.device)][-50:]
    found = [_slow_rank(newest, rule)]
    if len(alike) >= rule.runs:
        found += [
            _slower(
                "throughput", "rows_per_second", [one.rows_per_second() for one in alike], newest.rows_per_second(),
                rule, lower_is_worse=True, unit="rows per second",
            ),
            _slower(
                "writes", "checkpoint_seconds", [one.write_s for one in alike if one.write_s], newest.write_s, rule,
                lower_is_worse=False, unit="s per checkpoint",
            ),
        ]  # fmt: skip
    return tuple(one for one in found if one is not None)


def _slower(
    subject: str, measure: str, history: Sequence[float], now: float, rule: HardwareRule, *, lower_is_worse: bool,
    unit: str, what: str = "trainings",
) -> SlowHardware | None:  # fmt: skip
    known = [one for one in history if math.isfinite(one) and one > 0]
    if len(known) < rule.runs or not math.isfinite(now) or now <= 0:
        return None
    usual = statistics.median(known)
    times = usual / now if lower_is_worse else now / usual
    if times < rule.slower_by or not _is_unusual(known, now):
        return None
    return SlowHardware(
        subject=subject,
        measure=measure,
        times=times,
        usual=usual,
        found=now,
        n=len(known),
        words=f"{now:.4g} {unit}, {times:.1f} times slower than the usual {usual:.4g} of {len(known)} {what}",
    )


def slower_than_usual(
    subject: str, measure: str, history: Sequence[float], now: Figure | None, rule: HardwareRule
) -> SlowHardware | None:
    """A duration of serving against the windows before."""
    if now is None:
        return None
    return _slower(subject, measure, history[-50:], now.value, rule, lower_is_worse=False, unit="ms", what="windows")


def _is_unusual(history: Sequence[float], now: float) -> bool:
    """On the logarithmic scale, where half and double are as far: a machine whose speed swings is not slow today."""
    logs = [math.log(one) for one in history]
    centre = statistics.median(logs)
    spread = TO_SIGMA * statistics.median(abs(one - centre) for one in logs)
    return abs(math.log(now) - centre) > SPREADS * max(spread, 0.02)


def _slow_rank(newest: TrainingSpeed, rule: HardwareRule) -> SlowHardware | None:
    told = [one for one in newest.epochs if one.get("median_rank_seconds")]
    if len(told) < LEAST_EPOCHS:
        return None
    ranks = [int(one["slowest_rank"]) for one in told]
    rank = statistics.mode(ranks)
    slow = [one for one, number in zip(told, ranks, strict=True) if number == rank]
    others = [_median_of_others(one, newest.processes) for one in slow]
    times = statistics.median(
        float(one["slowest_rank_seconds"]) / max(other, 1e-9) for one, other in zip(slow, others, strict=True)
    )
    if len(slow) < LEAST_SHARE * len(told) or times < rule.slower_by:
        return None
    usual, now = statistics.median(others), statistics.median(float(one["slowest_rank_seconds"]) for one in slow)
    return SlowHardware(
        subject=f"rank {rank}",
        measure="rank_seconds",
        times=times,
        usual=usual,
        found=now,
        n=len(told),
        words=(
            f"rank {rank} worked {now:.3g} s an epoch, {times:.1f} times as long as the others ({usual:.3g} s): "
            f"the slowest rank in {len(slow)} of {len(told)} epochs"
        ),
    )


def _median_of_others(epoch: Mapping[str, Any], processes: int) -> float:
    """Of two ranks the median of all lies between them."""
    median, slowest = float(epoch["median_rank_seconds"]), float(epoch["slowest_rank_seconds"])
    return 2 * median - slowest if processes == 2 else median

"""What a rank tells the world while it trains, as events: plain JSON, forwarded by the launcher."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psutil
import torch
from torch import nn

Event = dict[str, Any]
PEAK_FLOPS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12, "V100": 125e12, "T4": 65e12}
"""Dense bf16 / fp16 tensor-core peaks per second, from NVIDIA's data sheets."""
HISTOGRAM_BINS = 30


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What the process around the loop offers."""

    emit: Callable[[Event], None] = lambda _event: None
    beat: Callable[[], None] = lambda: None  # a step or a chunk was done: the watchdog is calmed
    stop_requested: Callable[[], bool] = lambda: False  # SIGTERM: checkpoint, then leave
    bind_worker: Callable[[], None] | None = None  # called by a loader worker, so that it ends with its rank
    publishes: bool = True  # markers and result are published here; else reported to the process that has the key
    report_checkpoint: Callable[[int, dict[str, Any]], None] = lambda _step, _marker: None  # step, marker
    profile_file: str | None = None  # where the profiler's trace goes


def peak_flops(device: torch.device) -> float | None:
    """Of one device, where it is known."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((peak for known, peak in PEAK_FLOPS.items() if known in name), None)


class StepReporter:
    """Averages over a log interval: throughput, parts of the step, use of the hardware."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._process = psutil.Process()
        self._process.cpu_percent()
        self._since, self._rows, self._steps = time.perf_counter(), 0, 0
        self._peak = peak_flops(device)
        self.flops_per_row: float | None = None  # forward and backward

    @property
    def wants_flops(self) -> bool:
        """Whether the peak is known and the work per row is not."""
        return self._peak is not None and self.flops_per_row is None

    def count(self, rows: int) -> None:
        """A step was done."""
        self._rows += rows
        self._steps += 1

    def read(self, parts_s: dict[str, float], *, world: int) -> Event:
        """Numbers of the interval; starts anew."""
        now = time.perf_counter()
        seconds, steps = max(now - self._since, 1e-9), max(self._steps, 1)
        numbers: Event = {
            "rows_per_second": self._rows / seconds,
            "step_total_ms": 1000 * seconds / steps,
            **{f"step_{name}_ms": 1000 * value / steps for name, value in parts_s.items()},
            "rank0_cpu_percent": self._process.cpu_percent(),
            "rank0_memory_mb": self._process.memory_info().rss / 1e6,
        }
        if self._device.type == "cuda":
            numbers["gpu_memory_mb"] = torch.cuda.max_memory_allocated(self._device) / 1e6
        if self._peak is not None and self.flops_per_row is not None:
            numbers["mfu"] = self.flops_per_row * self._rows / seconds / (self._peak * world)
        self._since, self._rows, self._steps = now, 0, 0
        return numbers


def weight_histograms(module: nn.Module, step: int) -> Event:
    """Counts of every parameter tensor's values in equal bins between its extremes."""
    found = {}
    for name, parameter in module.named_parameters():
        values = parameter.detach().float().cpu().flatten()
        if values.numel() == 0 or not bool(torch.isfinite(values).all()):
            continue
        low, high = float(values.min()), float(values.max())
        counts = torch.histc(values, HISTOGRAM_BINS, low, high)
        found[name] = {
            "min": low,
            "max": high,
            "sum": float(values.sum()),
            "sum_squares": float((values**2).sum()),
            "counts": [int(c) for c in counts],
        }
    return {"event": "histograms", "step": step, "tensors": found}

"""What the GPUs of this machine do, for Prometheus; nothing where there is none."""

from __future__ import annotations

import logging
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily

logger = logging.getLogger(__name__)
TOOL = "nvidia-smi"
ASKED = ("index", "utilization.gpu", "memory.used", "memory.total", "power.draw")
KEPT_S = 5.0  # an answer is as good for so long: every scrape would start a process
LIMIT_S = 5.0
MEBIBYTE = 1 << 20
GAUGES = (
    ("ratchet_gpu_utilization_ratio", "Share of time in which a kernel ran", 0.01),
    ("ratchet_gpu_memory_used_bytes", "Memory in use, by whatever process", MEBIBYTE),
    ("ratchet_gpu_memory_bytes", "Memory that there is", MEBIBYTE),
    ("ratchet_gpu_power_watts", "Power drawn", 1.0),
)


class GpuCollector:
    """Asks NVIDIA's tool. `ask`: gives what it prints."""

    def __init__(self, ask: Callable[[], str], clock: Callable[[], float] = time.monotonic) -> None:
        self._ask, self._clock = ask, clock
        self._kept: tuple[float, str] | None = None

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """See prometheus_client. A tool that fails tells nothing and stops no scrape."""
        rows = list(rows_of(self._answer()))
        for place, (name, words, unit) in enumerate(GAUGES, start=1):
            family = GaugeMetricFamily(name, words, labels=["gpu"])
            for row in rows:
                value = number(row[place])
                if value is not None:
                    family.add_metric([row[0]], value * unit)
            yield family

    def _answer(self) -> str:
        now_s = self._clock()
        if self._kept is None or now_s - self._kept[0] > KEPT_S:
            try:
                self._kept = now_s, self._ask()
            except (OSError, subprocess.SubprocessError) as error:
                logger.warning("%s does not answer: %s", TOOL, error)
                self._kept = now_s, ""
        return self._kept[1]


def rows_of(text: str) -> Iterator[list[str]]:
    """A row per GPU: its number and a cell per gauge."""
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) == len(ASKED):
            yield cells


def number(cell: str) -> float | None:
    """None where the tool says that it does not know."""
    try:
        return float(cell)
    except ValueError:
        return None


def register_gpus(registry: CollectorRegistry) -> None:
    """Where the tool is installed."""
    tool = shutil.which(TOOL)
    if tool is None:
        return

    def ask() -> str:
        asked = [tool, f"--query-gpu={','.join(ASKED)}", "--format=csv,noheader,nounits"]
        return subprocess.run(asked, capture_output=True, text=True, check=True, timeout=LIMIT_S).stdout

    registry.register(GpuCollector(ask))

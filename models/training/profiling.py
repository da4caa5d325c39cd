"""The profiler switch: some steps of rank 0 as a Chrome trace."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from mlratchet.models.training.config import ProfileConfig


@contextmanager
def profiler(config: ProfileConfig | None, file: str | None, *, first: int) -> Iterator[Callable[[], None]]:
    """Yields a function to call after every step. Without `config` or `file` it does nothing."""
    if config is None or file is None:
        yield lambda: None
        return
    step = first
    running: torch.profiler.profile | None = None

    def tick() -> None:
        nonlocal step, running
        step += 1
        if running is not None and step >= max(config.start_step, first + 1) + config.steps:
            running.stop()
            running.export_chrome_trace(file)
            running = None
        elif running is None and step == max(config.start_step, first + 1):
            running = torch.profiler.profile()
            running.start()

    yield tick
    if running is not None:  # training ended before the last profiled step
        running.stop()
        running.export_chrome_trace(file)

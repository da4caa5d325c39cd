"""What `make check` leaves out is said aloud, and so is what it should: tests that took long without a mark."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

LONG_S = 5.0  # of an unmarked test on an idle machine; a loaded one names more, which is no failure
NAMED = 10
COUNT = "left_out"  # key of what a worker of xdist tells its controller


class LeftOut:
    """Counts in the workers, or here without any; tells at the end."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.count = 0
        self.long: dict[str, float] = {}

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        """Called by pytest, in each worker with all tests."""
        self.count = sum(is_left_out(item) for item in items)
        if hasattr(self.config, "workeroutput"):
            self.config.workeroutput[COUNT] = self.count

    def pytest_testnodedown(self, node: Any) -> None:
        """Called by xdist: a worker has ended."""
        self.count = max(self.count, getattr(node, "workeroutput", {}).get(COUNT, 0))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Called by pytest for setup, call and teardown of each test."""
        if report.duration > LONG_S and "slow" not in report.keywords:
            self.long[report.nodeid] = max(report.duration, self.long.get(report.nodeid, 0.0))

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Called by pytest where a person reads it."""
        asked = " ".join(self.config.option.file_or_dir)
        terminalreporter.section("left out")
        terminalreporter.line(
            f"slow tests that were not run: {self.count}; `make test` runs them, and so does "
            f'`.venv/bin/python -m pytest {asked} -m "slow and not full and not stack" -n 2`'
        )
        longest = sorted(self.long.items(), key=lambda one: -one[1])
        for nodeid, seconds in longest[:NAMED]:
            terminalreporter.line(f"{seconds:.1f} s: {nodeid}: give it less to do, or mark it slow (CONTRIBUTING.md)")


def is_left_out(item: pytest.Item) -> bool:
    """Whether it would run if it were not slow: large counts and stacks are left out anyway."""
    marks = {mark.name for mark in item.iter_markers()}
    return "slow" in marks and not marks & {"full", "stack"}


def register(config: pytest.Config) -> None:
    """Where slow tests are left out, and only there."""
    if "not slow" in (config.option.markexpr or ""):
        config.pluginmanager.register(LeftOut(config), "left-out")


def most_slow(values: Iterable[Any], *, keep: int) -> list[Any]:
    """For `parametrize`: cases that take more than two seconds together; the first `keep` stay in `make check`."""
    return [
        one if at < keep else pytest.param(*(one if isinstance(one, tuple) else (one,)), marks=pytest.mark.slow)
        for at, one in enumerate(values)
    ]

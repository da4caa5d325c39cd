"""How many answers of one pipeline in one server process are in no file: each counted once, whoever lost it."""

from __future__ import annotations

from collections import deque
from typing import TypedDict

MOST_RUNS = 65_536  # of dropped answers, whose numbers are remembered


class Missing(TypedDict):
    """What a writer says of one server's answers."""

    life: str  # of the writer's process; another one knows nothing of what this one said
    first: int  # number up to which a file had told of them when this writer first heard of the server
    last: int  # number up to which it has heard of them
    lost: int  # of those between, what it has not, or had no room for: what the server dropped is among them


class Lost:
    """Never less than before. What a server dropped it knows by number, so it can tell what of the writer's figure is
    its own. Not thread-safe.

    A loss at the writer that no file told of before that writer was killed is found again by the next one: it is
    counted a second time, as nobody can know whether it was the same.
    """

    def __init__(self) -> None:
        self.dropped = 0  # by this server
        self._runs: deque[tuple[int, int, int]] = deque(maxlen=MOST_RUNS)  # first, last, dropped before
        self._where: tuple[str, int] | None = None
        self._before = self._there = 0  # lost at the writer: in its earlier lives, and in this

    @property
    def count(self) -> int:
        """Of all, since this process started."""
        return self.dropped + self._before + self._there

    def drop(self, number: int, count: int = 1) -> None:
        """There was no room here for `count` answers, the last of them with this number, all higher than any before."""
        if self._runs and self._runs[-1][1] == number - count:
            first, _, before = self._runs.pop()
            self._runs.append((first, number, before))
        else:
            self._runs.append((number - count + 1, number, self.dropped))
        self.dropped += count

    def hear(self, said: Missing) -> None:
        """The writer's newest word."""
        where = said["life"], said["first"]
        if where != self._where:
            self._before, self._there, self._where = self.count - self.dropped, 0, where
        ours = self._dropped_up_to(said["last"]) - self._dropped_up_to(said["first"])
        self._there = max(self._there, said["lost"] - ours)

    def _dropped_up_to(self, number: int) -> int:
        for first, last, before in reversed(self._runs):
            if first <= number:
                return before + min(last, number) - first + 1
        return self._runs[0][2] if self._runs else 0

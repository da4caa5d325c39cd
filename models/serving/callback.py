"""Whoever is told one result, or what went wrong: a future without an event loop's turn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

Result = TypeVar("Result")
Awaited = TypeVar("Awaited", contravariant=True)


class Waiter(Protocol[Awaited]):
    """As much of a future as its maker uses. None of it raises."""

    def done(self) -> bool:
        """Whether it was told."""
        ...

    def set_result(self, result: Awaited, /) -> None:
        """The result is there."""
        ...

    def set_exception(self, error: BaseException, /) -> None:
        """There will be none."""
        ...


class Callback(Generic[Result]):
    """A waiter that calls `told` at once, which must not raise."""

    __slots__ = ("_done", "_told")

    def __init__(self, told: Callable[[Result | BaseException], None]) -> None:
        self._told, self._done = told, False

    def done(self) -> bool:
        """Whether it was told."""
        return self._done

    def set_result(self, result: Result) -> None:
        """The result is there."""
        self._done = True
        self._told(result)

    def set_exception(self, error: BaseException) -> None:
        """There will be none."""
        self._done = True
        self._told(error)

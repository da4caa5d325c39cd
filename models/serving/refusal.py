"""What a request is refused with: a status, the field that is wrong, and what was expected there."""

from __future__ import annotations

from dataclasses import dataclass


class BadRequestError(Exception):
    """A 4xx, a 503 of a server that has no room, or a 504 of a request whose time is over: `status`, the `field` that
    is wrong, and what was expected."""

    def __init__(self, field: str, message: str, status: int = 422, *, retry_after_s: int | None = None) -> None:
        super().__init__(f"{field}: {message}")
        self.status, self.field, self.message = status, field, message
        self.retry_after_s = retry_after_s  # of a 503: when it is worth asking again

    def rename(self, field: str) -> None:
        """Name the field as the client wrote it."""
        self.field = field
        self.args = (f"{field}: {self.message}",)


@dataclass(frozen=True)
class RowPlace:
    """Where in a request a row stands, and how its values are called: by column, or by position."""

    field: str
    names: tuple[str, ...] = ()

    def of(self, index: tuple[int, ...]) -> str:
        """The field of one value of the row."""
        if self.names and index:
            return f"{self.field}.{self.names[index[0]]}"[:200]
        return self.field + "".join(f"[{at}]" for at in index)

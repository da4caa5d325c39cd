"""What a request asks about, in whatever format: instances as JSON holds them, or rows of one tensor."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from mlratchet.models.serving.refusal import BadRequestError
from mlratchet.models.tensors.named import Inputs

FIRST, ALL, BODY = "instances[0]", "instances", "body"


@dataclass(frozen=True, kw_only=True, eq=False)
class RequestContent:
    """One of the two. A picture or sound that came as bytes stands in an instance as ``bytes``, in place of base64."""

    instances: Any = None
    """A list of instances; nothing of it is checked yet."""
    rows: Inputs | None = None
    """Rows that are checked: of a request that was written in an array."""
    written: bytes | None = None
    """JSON that says the same: the list of instances, or ``{"instances": [...]}``; where the client wrote it so."""
    alone: bool = False
    """Whether it is one example that stands for itself: errors then name its fields without ``instances[0]``."""

    @contextmanager
    def told(self) -> Iterator[None]:
        """Errors inside name their field as the client wrote it."""
        try:
            yield
        except BadRequestError as error:
            self.renamed(error)
            raise

    def renamed(self, error: BaseException) -> BaseException:
        """The same error, with its field as the client wrote it."""
        if self.alone and isinstance(error, BadRequestError):
            error.rename(without_number(error.field))
        return error


def without_number(field: str) -> str:
    """The field of an example that stands for itself."""
    for before in (FIRST, ALL):
        if field == before:
            return BODY
        if field.startswith(f"{before}."):
            return field[len(before) + 1 :]
    return BODY + field[len(FIRST) :] if field.startswith(f"{FIRST}[") else field

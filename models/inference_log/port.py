"""Where a server hands its answers to, so that they are written down."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from mlratchet.models.tensors.named import Inputs


class AnsweredRequest(Protocol):
    """What is known of a request once it was answered; `models/serving` has the class."""

    @property
    def request_id(self) -> str: ...
    @property
    def received_s(self) -> float: ...
    @property
    def latency_ms(self) -> float: ...
    @property
    def pipeline(self) -> str: ...
    @property
    def version(self) -> int | None: ...
    @property
    def generation(self) -> int | None: ...
    @property
    def variant(self) -> str | None: ...
    @property
    def status(self) -> int: ...
    @property
    def error(self) -> str: ...
    @property
    def client_key(self) -> str | None: ...
    @property
    def replayed(self) -> bool: ...
    @property
    def instances(self) -> Sequence[Any] | None:
        """As the client sent them; None where none were read."""
        ...

    @property
    def written(self) -> bytes | None:
        """JSON that says what the instances are, a list or ``{"instances": [...]}``; None: nobody has it."""
        ...

    @property
    def said(self) -> bytes | None:
        """JSON with what the client got, ``{"predictions": [...], ...}``; None: nobody has it."""
        ...

    @property
    def rows(self) -> Inputs | None:
        """As the model took them."""
        ...

    @property
    def output(self) -> np.ndarray[Any, Any] | None:
        """(N, ...) as the model gave it."""
        ...

    @property
    def predictions(self) -> Sequence[Any] | None:
        """As the client got them, one per instance."""
        ...


class AnsweredRequests(Protocol):
    """What is known of requests that one variant answered with 200 in one forward, a list with an entry for each;
    `models/serving` has the class."""

    @property
    def pipeline(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def generation(self) -> int: ...
    @property
    def variant(self) -> str: ...
    @property
    def rows(self) -> Inputs:
        """Of all, one request after the other."""
        ...

    @property
    def output(self) -> np.ndarray[Any, Any]:
        """The same."""
        ...

    @property
    def counts(self) -> Sequence[int]:
        """Rows of each."""
        ...

    @property
    def request_ids(self) -> Sequence[str]: ...
    @property
    def received_s(self) -> Sequence[float]: ...
    @property
    def latency_ms(self) -> Sequence[float]: ...
    @property
    def client_keys(self) -> Sequence[str | None] | None:
        """None: nobody said one."""
        ...

    @property
    def replayed(self) -> Sequence[bool]: ...
    @property
    def written(self) -> Sequence[bytes | None]:
        """As of one request."""
        ...

    @property
    def said(self) -> Sequence[bytes | None]:
        """As of one request."""
        ...

    def each(self) -> Iterator[AnsweredRequest]:
        """One after the other."""
        ...


@runtime_checkable
class LogSink(Protocol):
    """Takes answers at the speed of the server."""

    def offer(self, answered: AnsweredRequest) -> bool:
        """Take it, or not: False where there is no room, which is counted. Never waits, never raises."""
        ...

"""What is told of an answered request to whoever keeps it: the inference log, a shadow, live evidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from mlratchet.models.serving.routing import VariantName
from mlratchet.models.tensors.named import Inputs


@dataclass(slots=True, kw_only=True, eq=False)  # frozen, it costs every request twice as much to make
class Answered:
    """One request and what came of it. What it did not get as far as is None. Nobody changes any of it."""

    request_id: str
    received_s: float  # seconds since the epoch
    latency_ms: float  # from the header's arrival to the finished answer
    pipeline: str
    version: int | None
    generation: int | None
    variant: VariantName | None
    status: int  # 499: the client was gone
    error: str  # what the client was told is wrong; "" for an answer
    client_key: str | None  # whose rows they are, as the client says
    instances: list[Any] | None  # as JSON has them, but files as their bytes; None of an array without names, too
    rows: Inputs | None  # prepared, as the model takes them
    output: np.ndarray[Any, Any] | None  # (N, ...) float32, of the model
    predictions: list[dict[str, Any]] | None  # as the client was answered
    written: bytes | None = None  # JSON that says what `instances` are, as `RequestContent` has it
    said: bytes | None = None  # JSON that holds `predictions`: the body of the answer
    replayed: bool  # a request of our own, for want of traffic


class Observer(Protocol):
    """Called after the answer is made, on the event loop: it returns at once, and what it raises is only logged."""

    def answered(self, answered: Answered) -> None:
        """Of every request to `/predict` that got past the door, refused and failed ones too."""
        ...

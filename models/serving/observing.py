"""What is told of an answered request to whoever keeps it: the inference log, a shadow, live evidence."""

from __future__ import annotations

from collections.abc import Iterator
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


@dataclass(slots=True, kw_only=True, eq=False)
class AnsweredTogether:
    """Requests that one variant answered with 200 in one forward. A list has an entry for each; nobody changes any."""

    pipeline: str
    version: int
    generation: int
    variant: VariantName
    rows: Inputs  # of all, one request after the other
    output: np.ndarray[Any, Any]  # the same
    counts: list[int]  # rows of each
    request_ids: list[str]
    received_s: list[float]
    latency_ms: list[float]
    client_keys: list[str | None] | None  # None: nobody said one
    replayed: list[bool]
    instances: list[Any]
    predictions: list[list[dict[str, Any]]]
    written: list[bytes | None]
    said: list[bytes | None]

    def each(self) -> Iterator[Answered]:
        """One after the other."""
        end = 0
        for at, count in enumerate(self.counts):
            start, end = end, end + count
            instances = self.instances[at]
            yield Answered(
                request_id=self.request_ids[at],
                received_s=self.received_s[at],
                latency_ms=self.latency_ms[at],
                pipeline=self.pipeline,
                version=self.version,
                generation=self.generation,
                variant=self.variant,
                status=200,
                error="",
                client_key=self.client_keys[at] if self.client_keys is not None else None,
                instances=instances if isinstance(instances, list) else None,
                rows=self.rows.rows(slice(start, end)),
                output=self.output[start:end],
                predictions=self.predictions[at],
                written=self.written[at],
                said=self.said[at],
                replayed=self.replayed[at],
            )


class Observer(Protocol):
    """Called after the answer is made, on the event loop: it returns at once, and what it raises is only logged."""

    def answered(self, answered: Answered) -> None:
        """Of every request to `/predict` that got past the door, refused and failed ones too."""
        ...

    def answered_together(self, together: AnsweredTogether) -> None:
        """Of several of them at once."""
        for one in together.each():
            self.answered(one)

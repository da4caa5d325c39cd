"""Answers of one forward as they lie in a server's memory: joined without a look at each, taken apart by the writer.

What is known of each lies in columns, one behind the other: times and lengths as numbers, texts end to end. So a server
spends a tenth of what it takes to tell of answers one by one.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, pairwise
from typing import Any

import numpy as np
from mlratchet.models.inference_log.port import AnsweredRequests
from mlratchet.models.inference_log.projection import projected

Array = np.ndarray[Any, Any]
MOST_OUTPUTS = 4096  # numbers of one row's output that are kept
LENGTH, TIME = "I", "d"  # of the module `array`: 4 and 8 bytes


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PackedTogether:
    """Answers of one forward, ready for a frame."""

    version: int
    head: dict[str, Any]  # JSON: what is alike, how many there are, and which columns follow
    columns: bytes

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.columns)


def joined(told: AnsweredRequests, *, asked: bool) -> PackedTogether | None:
    """Ready for a frame; None where they are to be told one by one. `asked`: as `kept` of the frames has it."""
    said = [one for one in told.said if one is not None]
    written = [one for one in told.written if one is not None] if asked else []
    if len(said) != len(told.said) or (asked and len(written) != len(told.written)):
        return None
    count, rows = len(told.request_ids), sum(told.counts)
    output = told.output.reshape(rows, -1)
    keeps_output = output.shape[1] <= MOST_OUTPUTS
    prepared = np.ascontiguousarray(projected(told.rows), np.float32)
    head: dict[str, Any] = {
        "v": told.version, "g": told.generation, "variant": told.variant, "n": count, "rows": rows,
        "asked": asked, "prepared": prepared.shape[1], "output": output.shape[1] if keeps_output else None,
    }  # fmt: skip
    if rows != count:
        head["counts"] = list(told.counts)
    if told.client_keys is not None:
        head["keys"] = list(told.client_keys)
    if True in told.replayed:
        head["replayed"] = list(told.replayed)
    ids = "".join(told.request_ids).encode("ascii")  # else they are told one by one
    parts: list[Any] = [
        array(TIME, told.received_s), array(TIME, told.latency_ms),
        array(LENGTH, map(len, told.request_ids)), array(LENGTH, map(len, said)), array(LENGTH, map(len, written)),
        ids, *said, *written, prepared,
    ]  # fmt: skip
    if keeps_output:
        parts.append(np.ascontiguousarray(output, np.float32))
    return PackedTogether(version=told.version, head=head, columns=b"".join(parts))


@dataclass(frozen=True, kw_only=True, eq=False)
class Texts:
    """Texts end to end."""

    lengths: Array  # (n,) of each, in bytes
    data: bytes

    @cached_property
    def ends(self) -> Array:
        """(n + 1,) int64: text i is data[ends[i] : ends[i + 1]]."""
        return np.concatenate([np.zeros(1, np.int64), np.cumsum(self.lengths, dtype=np.int64)])

    def __iter__(self) -> Iterator[bytes]:
        ends = self.ends.tolist()
        return (self.data[start:end] for start, end in pairwise(ends))


@dataclass(frozen=True, kw_only=True, eq=False)
class JoinedAnswers:
    """Answers of one variant of one version, as the writer reads them."""

    version: int
    generation: int
    variant: str
    received_s: Array  # (n,)
    latency_ms: Array  # (n,)
    counts: Array  # (n,) rows of each
    client_keys: Sequence[str | None] | None
    replayed: Sequence[bool] | None
    request_ids: Texts
    said: Texts
    written: Texts | None  # None: it was not told
    prepared: Array  # (rows of all, K) float32
    output: Array | None  # the same

    def __len__(self) -> int:
        return len(self.received_s)

    @property
    def kind(self) -> tuple[Any, ...]:
        """What is alike in those that can be one."""
        width = None if self.output is None else self.output.shape[1]
        return self.version, self.generation, self.variant, self.written is None, self.prepared.shape[1], width


class _Cut:
    """Takes columns off, one after the other. Raises ``ValueError`` where there are not so many bytes."""

    def __init__(self, held: memoryview) -> None:
        self.held, self.at = held, 0

    def bytes(self, count: int) -> memoryview:
        start, self.at = self.at, self.at + count
        if count < 0 or self.at > len(self.held):
            raise ValueError("fewer bytes than it says")
        return self.held[start : self.at]

    def numbers(self, kind: str, count: int) -> Array:
        return np.frombuffer(self.bytes(count * np.dtype(kind).itemsize), kind)

    def texts(self, lengths: Array) -> Texts:
        return Texts(lengths=lengths, data=bytes(self.bytes(int(lengths.sum(dtype=np.int64)))))


def read_joined(head: Mapping[str, Any], columns: memoryview) -> JoinedAnswers:
    """The inverse of `joined`. Raises ``KeyError``, ``TypeError`` or ``ValueError`` for what is none."""
    count, rows, cut = int(head["n"]), int(head["rows"]), _Cut(columns)
    if count < 1:
        raise ValueError("no answers")
    received_s, latency_ms = cut.numbers("<f8", count), cut.numbers("<f8", count)
    id_lengths, said_lengths = cut.numbers("<u4", count), cut.numbers("<u4", count)
    written_lengths = cut.numbers("<u4", count if head["asked"] else 0)
    request_ids, said = cut.texts(id_lengths), cut.texts(said_lengths)
    written = cut.texts(written_lengths) if head["asked"] else None
    prepared = cut.numbers("<f4", rows * int(head["prepared"])).reshape(rows, int(head["prepared"]))
    width = head["output"]
    output = None if width is None else cut.numbers("<f4", rows * int(width)).reshape(rows, int(width))
    counts = np.asarray(head.get("counts") or [1] * count, np.int64)
    keys, replayed = head.get("keys"), head.get("replayed")
    uneven = any(one is not None and len(one) != count for one in (counts, keys, replayed))
    if cut.at != len(columns) or uneven or counts.min() < 1 or counts.sum() != rows:
        raise ValueError("columns of other lengths than it says")
    return JoinedAnswers(
        version=int(head["v"]), generation=int(head["g"]), variant=str(head["variant"]), received_s=received_s,
        latency_ms=latency_ms, counts=counts, client_keys=keys, replayed=replayed, request_ids=request_ids, said=said,
        written=written, prepared=prepared, output=output,
    )  # fmt: skip


def merged(parts: Sequence[JoinedAnswers]) -> JoinedAnswers:
    """Those of several forwards, all of one kind, as one: a table of many rows costs little more than one of few."""
    if len(parts) == 1:
        return parts[0]
    first = parts[0]

    def texts(of: Sequence[Texts | None]) -> Texts | None:
        whole = [one for one in of if one is not None]
        lengths = [one.lengths for one in whole]
        return Texts(lengths=np.concatenate(lengths), data=b"".join(one.data for one in whole)) if whole else None

    def lists(of: Sequence[Sequence[Any] | None], nothing: Any) -> list[Any] | None:
        if all(one is None for one in of):
            return None
        given = [[nothing] * len(part) if one is None else one for one, part in zip(of, parts, strict=True)]
        return [*chain.from_iterable(given)]

    outputs: list[Any] = [one.output for one in parts]
    request_ids, said = texts([one.request_ids for one in parts]), texts([one.said for one in parts])
    assert request_ids is not None, "each has them"
    assert said is not None, "each has them"
    return JoinedAnswers(
        version=first.version,
        generation=first.generation,
        variant=first.variant,
        received_s=np.concatenate([one.received_s for one in parts]),
        latency_ms=np.concatenate([one.latency_ms for one in parts]),
        counts=np.concatenate([one.counts for one in parts]),
        client_keys=lists([one.client_keys for one in parts], None),
        replayed=lists([one.replayed for one in parts], nothing=False),
        request_ids=request_ids,
        said=said,
        written=texts([one.written for one in parts]),
        prepared=np.concatenate([one.prepared for one in parts]),
        output=None if first.output is None else np.concatenate(outputs),
    )

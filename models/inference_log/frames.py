"""What a server tells the log writer: frames of JSON, with the numbers of many answers behind it as they lie in memory.

A server process numbers what it tells of each pipeline, answers and feedback apart, from 1, also what it had no room
for: so the writer knows what it never got, whoever of the two was killed in between.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import orjson
from mlratchet.models.inference_log.file import Holds
from mlratchet.models.inference_log.joined import MOST_OUTPUTS, JoinedAnswers, PackedTogether, merged, read_joined
from mlratchet.models.inference_log.port import AnsweredRequest
from mlratchet.models.inference_log.projection import projected
from mlratchet.models.tensors.named import Inputs

Array = np.ndarray[Any, Any]
Frame = list[bytes | memoryview]  # its parts, which are sent one after the other
Kept = tuple[tuple[int, bool], tuple[Any, ...], Inputs | None, Array | None]
"""Of an answer: its version and whether there are rows, what is told of it, its rows and output."""
HEAD = struct.Struct("<II")  # bytes of the frame behind the head, and of its JSON
MOST_BYTES = 256_000_000  # of a frame; another is no server of ours
ERROR_CHARACTERS = 300


class NotAFrameError(ValueError):
    """Bytes that no server of ours sends."""


class ToldAnswer(NamedTuple):
    """What one answer is made of, without its numbers."""

    request_id: str
    received_s: float
    latency_ms: float
    version: int
    generation: int
    variant: str
    status: int
    error: str | None
    client_key: str | None
    replayed: bool
    rows: int  # 1 for a request that was refused
    instances: list[Any] | None
    predictions: list[Any] | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Block:
    """Answers of one version, one after the other."""

    answers: Sequence[ToldAnswer]
    output: Array | None = None  # (rows of all, K) float32
    prepared: Array | None = None  # (rows of all, K) float32

    @property
    def version(self) -> int:
        """Of all."""
        return self.answers[0].version if self.answers else 0

    def __len__(self) -> int:
        return len(self.answers)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Packed:
    """Answers of one version, ready for a frame."""

    version: int  # 0: none was loaded
    text: bytes  # a list of JSON, each as `ToldAnswer` has it
    numbers: Mapping[str, Array]  # "prepared" and "output" as `Block` has them, each where it is there

    @property
    def kind(self) -> tuple[Any, ...]:
        """What is alike in those that one block can hold."""
        return (self.version, *((name, one.shape[1]) for name, one in self.numbers.items()))

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.text) + sum(one.nbytes for one in self.numbers.values())


def pack(said: dict[str, Any], *behind: Array | bytes) -> Frame:
    """A frame. `behind`: numbers, or bytes as they are."""
    text = orjson.dumps(said, default=str)
    parts = [one if isinstance(one, bytes) else _plain(one) for one in behind]
    return [HEAD.pack(len(text) + sum(map(len, parts)), len(text)) + text, *parts]


def _plain(numbers: Array) -> memoryview:
    return np.ascontiguousarray(numbers, np.float32).reshape(-1).view(np.uint8).data


def unpack(frame: bytes | memoryview, text_bytes: int) -> tuple[dict[str, Any], memoryview]:
    """The JSON of a frame, and what lies behind it. Raises ``NotAFrameError``."""
    view = memoryview(frame)
    try:
        said = orjson.loads(view[:text_bytes])
    except orjson.JSONDecodeError as error:
        raise NotAFrameError(f"not JSON: {error}") from error
    if not isinstance(said, dict) or not isinstance(said.get("k"), str):
        raise NotAFrameError("expected an object that says its kind")
    return said, view[text_bytes:]


def kept(one: AnsweredRequest, *, asked: bool = True) -> Kept:
    """What is needed of an answer, so that the rest of it need not wait: most of its memory is what its JSON was read
    into, and the next request takes it again while it is warm. `asked`: as well what the client sent, which is for
    the columns of fields alone."""
    told_of = told(one, asked=asked)
    if one.status != 200 or one.rows is None:
        return (one.version or 0, False), told_of, None, None
    return (one.version or 0, True), told_of, one.rows, one.output


def packed(held: Sequence[Kept]) -> list[Packed]:
    """Answers as frames hold them, each version's together."""
    by_version: dict[tuple[int, bool], list[Kept]] = {}
    for one in held:
        by_version.setdefault(one[0], []).append(one)
    found = []
    for (version, whole), alike in by_version.items():
        numbers: dict[str, Array] = {}
        if whole:
            prepared = projected(Inputs.concat([rows for _, _, rows, _ in alike if rows is not None]))
            numbers["prepared"] = np.ascontiguousarray(prepared, np.float32)
            output = _together([output for *_, output in alike])
            if output is not None:
                numbers["output"] = np.ascontiguousarray(output, np.float32)
        text = orjson.dumps([told_of for _, told_of, _, _ in alike], default=str)
        found.append(Packed(version=version, text=text, numbers=numbers))
    return found


def answers_frame(pipeline: str, last: int, held: Sequence[Packed | PackedTogether]) -> Frame:
    """What was answered, up to the number `last`; what of it is not among `held` was dropped."""
    blocks: list[dict[str, Any]] = []
    behind: list[Array | bytes] = []
    for one in _grouped(held):
        if isinstance(one, PackedTogether):
            blocks.append({"joined": one.head, "bytes": len(one.columns)})
            behind.append(one.columns)
            continue
        texts = b",".join([memoryview(part.text)[1:-1] for part in one])  # without the brackets of each
        block: dict[str, Any] = {"answers": orjson.Fragment(b"[%b]" % texts)}
        for name in one[0].numbers:
            together = np.concatenate([part.numbers[name] for part in one])
            block[name] = list(together.shape)
            behind.append(together)
        blocks.append(block)
    return pack({"k": "answers", "p": pipeline, "last": last, "blocks": blocks}, *behind)


def _grouped(held: Sequence[Packed | PackedTogether]) -> Iterator[list[Packed] | PackedTogether]:
    """Those of one kind that stand together."""
    for kind, alike in groupby(held, key=lambda one: one.kind if isinstance(one, Packed) else None):
        parts = list(alike)
        if kind is None:
            yield from (one for one in parts if isinstance(one, PackedTogether))
        else:
            yield [one for one in parts if isinstance(one, Packed)]


def _together(outputs: Sequence[Array | None]) -> Array | None:
    """(rows of all, K); None where not each has as many numbers by the row, and few enough."""
    given = [one if one.ndim == 2 else one.reshape(len(one), -1) for one in outputs if one is not None]
    fits = (
        len(given) == len(outputs) and len({one.shape[1] for one in given}) == 1 and given[0].shape[1] <= MOST_OUTPUTS
    )
    return np.concatenate(given) if fits else None


def told(one: AnsweredRequest, *, asked: bool = True) -> tuple[Any, ...]:
    """As `ToldAnswer` has it. What was refused is told without what the client sent: nobody checked it."""
    answered = one.status == 200 and one.rows is not None
    return (  # what is JSON already is not written once more: that would be most of what a log costs a server
        one.request_id, one.received_s, one.latency_ms, one.version or 0, one.generation or 0,
        one.variant or "champion", one.status, one.error[:ERROR_CHARACTERS] or None, one.client_key, one.replayed,
        len(one.rows) if answered and one.rows is not None else 1,
        (one.instances if one.written is None else orjson.Fragment(one.written)) if answered and asked else None,
        (one.predictions if one.said is None else orjson.Fragment(one.said)) if answered else None,
    )  # fmt: skip


def told_answer(*said: Any) -> ToldAnswer:
    """As it was told; of whole bodies of HTTP, what is in them."""
    told = ToldAnswer(*said)
    instances: Any = told.instances
    predictions: Any = told.predictions
    return told._replace(
        instances=instances["instances"] if isinstance(instances, dict) else instances,
        predictions=predictions["predictions"] if isinstance(predictions, dict) else predictions,
    )


def blocks_of(said: dict[str, Any], behind: memoryview) -> Iterator[Block | JoinedAnswers]:
    """The answers of a frame. Raises ``NotAFrameError``."""
    found = _blocks(said, behind)
    for kind, alike in groupby(found, key=lambda one: one.kind if isinstance(one, JoinedAnswers) else None):
        parts = list(alike)
        if kind is None:
            yield from parts
        else:
            yield merged([one for one in parts if isinstance(one, JoinedAnswers)])


def _blocks(said: dict[str, Any], behind: memoryview) -> Iterator[Block | JoinedAnswers]:
    at = 0

    def taken(shape: Any, rows: int) -> Array:
        nonlocal at
        count, width = (int(one) for one in shape)
        end = at + count * width * 4
        if count != rows or width < 0 or end > len(behind):
            raise NotAFrameError("numbers of another shape than it says")
        found = np.frombuffer(behind[at:end], np.float32).reshape(count, width)
        at = end
        return found

    try:
        for block in said["blocks"]:
            if "joined" in block:
                start, at = at, at + int(block["bytes"])
                yield read_joined(block["joined"], behind[start:at])
                continue
            answers = [told_answer(*one) for one in block["answers"]]
            rows = sum(one.rows for one in answers)
            prepared = taken(block["prepared"], rows) if "prepared" in block else None
            output = taken(block["output"], rows) if "output" in block else None
            yield Block(answers=answers, output=output, prepared=prepared)
    except (KeyError, TypeError, ValueError) as error:
        raise NotAFrameError(f"no answers: {error}") from error


def hello_frame(server: str) -> Frame:
    """The first of a connection. `server`: a name that a server process gives itself, new with each start."""
    return pack({"k": "hello", "server": server})


def count_frame(pipeline: str) -> Frame:
    """Comes with a descriptor: how far the answers of the pipeline are numbered, to be read after a kill, too."""
    return pack({"k": "count", "p": pipeline})


def plan_frame(pipeline: str, version: int, schema: str | None, log: str, *, read_s: float) -> Frame:
    """How the answers of a version are logged: its schema and `serving.log`, as JSON; before the first of them.
    `read_s`: seconds that a request may take to arrive."""
    return pack({"k": "plan", "p": pipeline, "v": version, "schema": schema, "log": log, "read_s": read_s})


def feedback_frame(pipeline: str, last: int, labels: Sequence[Sequence[Any]]) -> Frame:
    """Labels as `columns.LABELS` has them."""
    return pack({"k": "feedback", "p": pipeline, "last": last, "labels": labels})


def end_frame(pipeline: str, holds: Holds, last: int) -> Frame:
    """There is no more of it, and `last` was the newest."""
    return pack({"k": "end", "p": pipeline, "holds": holds, "last": last})

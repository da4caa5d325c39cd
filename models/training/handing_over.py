"""How a loader worker hands a step to its rank: as one tensor, by a descriptor, over sockets that exist before.

`torch.multiprocessing` would have either side make a Unix socket for each tensor, and a rank may make none: through
such sockets it would reach other services of the machine.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from multiprocessing import reduction
from typing import Any, NamedTuple, Self

import torch

ALIGNMENT = 64  # as torch aligns memory: products of matrices differ in the last bit with it
MESSAGE = struct.Struct("q")
CANNOT_BE_SHARED = "a loader worker's step has a tensor that is no dense one of the CPU"

_passages: dict[int, socket.socket] = {}  # of this process: by worker


class TensorSlot(NamedTuple):
    """Where a tensor of a step lies in its memory, in bytes from the begin."""

    start: int
    shape: tuple[int, ...]
    dtype: torch.dtype


Packed = tuple[torch.Tensor, Any]
"""Bytes, and the step with a `TensorSlot` for each tensor."""


def pack(step: Any) -> Packed:
    """Lists, tuples and dictionaries with tensors in them: all their bytes in one."""
    tensors: list[tuple[int, torch.Tensor]] = []
    end = 0

    def placed(one: torch.Tensor) -> TensorSlot:
        nonlocal end
        if one.layout != torch.strided or one.device.type != "cpu":
            raise TypeError(CANNOT_BE_SHARED)
        start = end
        tensors.append((start, one))
        end += -(-one.nbytes // ALIGNMENT) * ALIGNMENT
        return TensorSlot(start, tuple(one.shape), one.dtype)

    described = each_of(step, torch.Tensor, placed)
    memory = torch.empty(end, dtype=torch.uint8)
    for start, one in tensors:
        seen(memory, TensorSlot(start, tuple(one.shape), one.dtype)).copy_(one)
    return memory, described


def unpack(packed: Packed) -> Any:
    """The step. Its tensors share the memory that came."""
    memory, described = packed
    return each_of(described, TensorSlot, lambda slot: seen(memory, slot))


def seen(memory: torch.Tensor, slot: TensorSlot) -> torch.Tensor:
    """A tensor in the memory."""
    size = slot.dtype.itemsize * torch.Size(slot.shape).numel()
    return memory[slot.start : slot.start + size].view(slot.dtype).view(slot.shape)


def each_of(value: Any, kind: type[Any], change: Callable[[Any], Any]) -> Any:
    """The same with every value of this kind changed, in lists, tuples and dictionaries."""
    if isinstance(value, kind):
        return change(value)
    if isinstance(value, dict):
        return {name: each_of(one, kind, change) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(each_of(one, kind, change) for one in value)
    return value


class Passages:
    """A pair of sockets for each worker. Made by the rank, and sent to the workers as they are spawned."""

    def __init__(self, workers: int) -> None:
        self._theirs: list[Any] = []  # sockets; in a worker what their descriptors came as
        for worker in range(workers):
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            _passages[worker] = ours
            self._theirs.append(theirs)

    def __getstate__(self) -> list[Any]:
        return [reduction.DupFd(one.fileno()) for one in self._theirs]

    def __setstate__(self, state: list[Any]) -> None:
        self._theirs = state

    def take(self, worker: int) -> None:
        """By a worker, as it starts: from now on its tensors go this way."""
        mine = [socket.socket(fileno=one.detach()) for one in self._theirs]
        for other in (one for number, one in enumerate(mine) if number != worker):
            other.close()
        passage, sent = mine[worker], 0

        def send(descriptor: int) -> InTransit:
            nonlocal sent
            sent += 1
            socket.send_fds(passage, [MESSAGE.pack(sent)], [descriptor])
            return InTransit(worker, sent)

        reduction.DupFd = send  # type: ignore[assignment]  # what torch asks; of this process alone

    def close(self) -> None:
        """By the rank, once it iterates no more."""
        for worker, theirs in enumerate(self._theirs):
            theirs.close()
            _passages.pop(worker).close()

    def started(self) -> None:
        """By the rank, once the workers have theirs: a dead worker's passage ends."""
        for theirs in self._theirs:
            theirs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class InTransit(NamedTuple):
    """In place of a descriptor in what a worker says; the descriptor itself is on its way."""

    worker: int
    number: int

    def detach(self) -> int:
        """By the rank: the descriptor. Raises ``EOFError`` when the worker is gone."""
        said, descriptors, _flags, _address = socket.recv_fds(_passages[self.worker], MESSAGE.size, 1)
        if not descriptors or MESSAGE.unpack(said) != (self.number,):
            raise EOFError(f"loader worker {self.worker} is gone, and a step of it with it")
        return descriptors[0]

"""How far a server has numbered its answers, in memory that outlives it: so the log writer, which holds the descriptor,
knows exactly what a server lost that was killed."""

from __future__ import annotations

import mmap
import os
import stat
import struct

from mlratchet.models.inference_log.file import Holds

NUMBER = struct.Struct("<Q")
PLACES: dict[Holds, int] = {"answers": 0, "feedback": NUMBER.size}
SIZE = NUMBER.size * len(PLACES)  # bytes


class AnswerCount:
    """Of one pipeline in one server process, which is the one that writes."""

    def __init__(self) -> None:
        self.descriptor = os.memfd_create("ratchet-log-count")
        os.ftruncate(self.descriptor, SIZE)
        self._memory = mmap.mmap(self.descriptor, SIZE)

    def write(self, holds: Holds, number: int) -> None:
        """Of the newest answer."""
        NUMBER.pack_into(self._memory, PLACES[holds], number)

    def __del__(self) -> None:
        os.close(self.descriptor)


class CountRead:
    """The same, as the writer has it."""

    def __init__(self, descriptor: int) -> None:
        """Takes the descriptor over. Raises ``ValueError`` for one of something else."""
        self._descriptor = descriptor
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode) or about.st_size != SIZE:
            raise ValueError("the descriptor is no count of answers")

    def read(self, holds: Holds) -> int | None:
        """Number of the newest answer; None where it cannot be told."""
        held = os.pread(self._descriptor, NUMBER.size, PLACES[holds])  # no mapping: who shrinks it ends nobody
        return int(NUMBER.unpack(held)[0]) if len(held) == NUMBER.size else None

    def __del__(self) -> None:
        os.close(self._descriptor)

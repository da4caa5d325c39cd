"""Files that wait on the writer's disk until S3 has them: in order, bounded, and there again after a kill. What a power
cut spoilt of them is gone; that it is, the numbers of its rows tell, as those of any others that did not arrive."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mlratchet.infra.machine.atomic import write_private
from mlratchet.models.identity.canonical import digest_bytes
from mlratchet.models.inference_log.chain import FileFacts
from mlratchet.models.inference_log.file import Holds, Stretch

logger = logging.getLogger(__name__)
SUFFIX = ".json"  # of what an entry says, written after its data: without it there is no entry


@dataclass(frozen=True, kw_only=True)
class WaitingFile:
    """One file of a chain, or a picture or sound that is stored whole."""

    number: int
    pipeline: str
    holds: Holds
    facts: FileFacts | None  # None: of a picture or sound
    digest: str  # SHA-256 hex of the data
    size_bytes: int


class LogSpool:
    """A folder. Put by one thread, taken by another; one process."""

    def __init__(self, folder: Path, *, most_bytes: int) -> None:
        self._folder, self.most_bytes = folder, most_bytes
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._sizes: dict[int, int] = {}
        held = list(self.entries())
        self._next = max((one.number for one in held), default=0) + 1
        self._sizes = {one.number: one.size_bytes for one in held}
        self._sweep()

    def _sweep(self) -> None:
        """Data whose entry was not written."""
        for file in self._folder.iterdir():
            if file.suffix != SUFFIX and not file.with_suffix(SUFFIX).is_file():
                file.unlink()

    @property
    def size_bytes(self) -> int:
        """Of all that waits."""
        return sum(list(self._sizes.values()))

    def has_room(self, size: int, *, share: float = 1.0) -> bool:
        """Whether so many bytes more may wait, in this share of the room."""
        return self.size_bytes + size <= self.most_bytes * share

    def put(self, pipeline: str, holds: Holds, data: bytes, facts: FileFacts | None, digest: str) -> None:
        """Behind all that waits. Raises ``OSError`` where the disk is full."""
        number = self._next
        said = {"pipeline": pipeline, "holds": holds, "digest": digest, "size_bytes": len(data),
                "facts": facts_to_json(facts) if facts is not None else None}  # fmt: skip
        write_private(self._data(number), data)
        write_private(self._said(number), json.dumps(said))
        self._next, self._sizes[number] = number + 1, len(data)

    def entries(self) -> Iterator[WaitingFile]:
        """Oldest first; one that was spoilt is removed."""
        for file in sorted(self._folder.glob(f"*{SUFFIX}")):
            number = int(file.stem)
            try:
                said = json.loads(file.read_text())
                facts = facts_from_json(said["facts"]) if said["facts"] is not None else None
                found = WaitingFile(
                    number=number, pipeline=said["pipeline"], holds=said["holds"], facts=facts,
                    digest=said["digest"], size_bytes=said["size_bytes"],
                )  # fmt: skip
                if self._data(number).stat().st_size != found.size_bytes:
                    raise ValueError("its data are of another size")
            except (ValueError, KeyError, TypeError, FileNotFoundError) as error:
                self._drop_spoilt(number, str(error))
                continue
            yield found

    def data(self, entry: WaitingFile) -> bytes | None:
        """Of an entry; None of one that was spoilt, which is removed."""
        data = self._data(entry.number).read_bytes()
        if data and digest_bytes(data) != entry.digest:
            self._drop_spoilt(entry.number, "its data are others")
            return None
        return data

    def _drop_spoilt(self, number: int, why: str) -> None:
        logger.error("%s: is no whole file (%s), as a power cut leaves one; its rows are lost", self._said(number), why)
        self._remove(number)

    def remove(self, entry: WaitingFile) -> None:
        """It is where it belongs."""
        self._remove(entry.number)

    def _remove(self, number: int) -> None:
        self._said(number).unlink(missing_ok=True)
        self._data(number).unlink(missing_ok=True)
        self._sizes.pop(number, None)

    def _data(self, number: int) -> Path:
        return self._folder / f"{number:012d}.data"

    def _said(self, number: int) -> Path:
        return self._folder / f"{number:012d}{SUFFIX}"


def waiting_files(folder: Path) -> Iterator[tuple[Path, str]]:
    """For another process: the data of each file that waits, and of which pipeline. Nothing is changed."""
    for file in sorted(folder.glob(f"*{SUFFIX}")):
        with suppress(OSError, ValueError, KeyError):  # sent, or not yet whole
            yield file.with_suffix(".data"), json.loads(file.read_text())["pipeline"]


def facts_to_json(facts: FileFacts) -> dict[str, Any]:
    """As JSON values."""
    servers = {name: one.model_dump() for name, one in facts.servers.items()}
    return {**asdict(facts), "servers": servers}


def facts_from_json(said: Mapping[str, Any]) -> FileFacts:
    """The inverse."""
    servers = {name: Stretch.model_validate(one) for name, one in said["servers"].items()}
    return FileFacts(**{**said, "servers": servers})

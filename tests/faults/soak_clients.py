"""Clients that ask a model server as fast as it answers, from a process of their own, until their standard input ends.

Run as ``python -m tests.faults.soak_clients PORT PIPELINE EXPECTED OUT``. EXPECTED (npz) has what each version says to
each row: an answer that names a version and is not that version's own is wrong. OUT (npz) gets what was seen.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import uvloop

AT_ONCE = 8
AGAIN_S = 0.02  # after a connection that was refused or ended
PATIENCE_S = 20.0  # for one answer
CLOSE = 1e-4


@dataclass
class Seen:
    """By all clients."""

    ids: bytearray = field(default_factory=bytearray)  # 16 bytes per answer of the pipeline: what a log must have
    versions: list[int] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)  # also `refused` and `ended`, of connections
    wrong: list[str] = field(default_factory=list)
    longest_s: float = 0.0  # that an answer took

    def write(self, out: Path) -> None:
        """For whoever asked for it."""
        ids = np.frombuffer(bytes(self.ids), dtype="V16")
        told = {"statuses": dict(self.statuses), "wrong": self.wrong[:20], "longest_s": self.longest_s}
        np.savez(out, ids=ids, versions=np.array(self.versions, np.int32), told=np.array(json.dumps(told)))


class Clients:
    """Eight connections."""

    def __init__(self, port: int, pipeline: str, expected: dict[str, np.ndarray[Any, Any]]) -> None:
        self._port, self.seen = port, Seen()
        rows = expected.pop("rows")
        self._expected = {int(version): said for version, said in expected.items()}
        self._requests = []
        for row in rows.tolist():
            body = orjson.dumps({"instances": [row]})
            head = f"POST /{pipeline}/predict HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n\r\n"
            self._requests.append(head.encode() + body)
        self.stopping = threading.Event()

    async def run(self) -> None:
        """Until stopped."""
        await asyncio.gather(*(self._one(at) for at in range(AT_ONCE)))

    async def _one(self, at: int) -> None:
        while not self.stopping.is_set():
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            except OSError:
                self.seen.statuses["refused"] += 1
                await asyncio.sleep(AGAIN_S)
                continue
            try:
                while not self.stopping.is_set():
                    at = (at + 1) % len(self._requests)
                    await asyncio.wait_for(self._asked(at, reader, writer), PATIENCE_S)
            except (asyncio.IncompleteReadError, ConnectionError):
                self.seen.statuses["ended"] += 1
                await asyncio.sleep(AGAIN_S)
            except TimeoutError:
                self.seen.wrong.append(f"no answer within {PATIENCE_S:g} s")
            finally:
                writer.close()

    async def _asked(self, at: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        began = time.perf_counter()
        writer.write(self._requests[at])
        head = await reader.readuntil(b"\r\n\r\n")
        status, *lines = head.split(b"\r\n")
        headers = dict(line.split(b": ", 1) for line in lines if line)
        body = await reader.readexactly(int(headers[b"content-length"]))
        self.seen.longest_s = max(self.seen.longest_s, time.perf_counter() - began)
        code = int(status.split(b" ")[1])
        self.seen.statuses[str(code)] += 1
        if code == 200:
            self._hold(at, headers, body)
        elif code != 503 or b"retry-after" not in headers:
            self.seen.wrong.append(f"{status!r}: {body[:200]!r}")
        else:
            await asyncio.sleep(AGAIN_S)

    def _hold(self, at: int, headers: dict[bytes, bytes], body: bytes) -> None:
        answer = orjson.loads(body)
        version = int(headers[b"x-model-version"])
        said = list(answer["predictions"][0]["probabilities"].values())
        if answer["version"] != version or not np.allclose(said, self._expected[version][at], atol=CLOSE):
            self.seen.wrong.append(f"row {at}, version {version}: {body[:200]!r}")
        self.seen.ids += bytes.fromhex(headers[b"x-request-id"].decode())
        self.seen.versions.append(version)


def main(port: int, pipeline: str, expected: Path, out: Path) -> None:
    """See above."""
    with np.load(expected) as held:
        clients = Clients(port, pipeline, dict(held))

    def wait_for_the_end() -> None:
        sys.stdin.read()
        clients.stopping.set()

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    uvloop.run(clients.run())
    clients.seen.write(out)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))

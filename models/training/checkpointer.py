"""Writes checkpoints beside the step loop: the loop waits for a copy into host memory, and for nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import torch
from mlratchet.models.errors import InfrastructureError
from mlratchet.models.fault_points import fault_point
from mlratchet.models.identity.canonical import canonical_json, digest_bytes
from mlratchet.models.ports.storage import ObjectStore
from mlratchet.models.training.checkpoint import Position, Tensors, checkpoint_folder, publish_marker
from mlratchet.models.training.config import CheckpointConfig
from mlratchet.models.training.packing import PackedTensors, layout_of, split_parts

MOST_FAILURES = 3  # checkpoints in a row that the store may refuse
HOPELESS = ("STALE", "CREDENTIALS")  # codes of what no later try can mend


class Checkpointer:
    """One background thread and one set of host buffers, for rank 0."""

    def __init__(
        self,
        store: ObjectStore,
        work_key: str,
        epoch: int,
        config: CheckpointConfig,
        *,
        refuse_if_stale: Callable[[], None],
        mark: Callable[[int, dict[str, Any]], None] | None = None,
        step: int = 0,
    ) -> None:
        """`mark` takes step and marker of a checkpoint whose parts are there; without it the marker is written here."""
        self._mark = mark or self._publish
        self._store, self._work_key, self._epoch, self._config = store, work_key, epoch, config
        self._refuse_if_stale = refuse_if_stale
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._pending: Future[None] | None = None
        self._buffers: dict[str, PackedTensors] = {}
        self._failures = 0
        self._last_step, self._last_s = step, time.monotonic()
        self.stall_s = 0.0  # seconds that the step loop has waited
        self.write_s = 0.0  # seconds that the background thread has written whole checkpoints
        self.written = 0

    def due(self, step: int) -> bool:
        """Whether the configuration asks for one now, and the last one is out of the way."""
        if self._pending is not None and not self._pending.done():
            return False
        steps, seconds = self._config.every_steps, self._config.every_seconds
        return (steps is not None and step - self._last_step >= steps) or (
            seconds is not None and time.monotonic() - self._last_s >= seconds
        )

    def save(self, position: Position, groups: dict[str, Tensors]) -> None:
        """Copy the state and write it in the background. Waits when the last one is still being written."""
        began = time.perf_counter()
        self.wait()
        parts = []
        for group, tensors in groups.items():
            for at, some in enumerate(split_parts(tensors)):
                name, layout = f"{group}-{at}", layout_of(some)
                buffer = self._buffers.get(name)
                if buffer is None or buffer.layout != layout:
                    buffer = self._buffers[name] = PackedTensors(layout)
                buffer.fill(some)
                parts.append((group, buffer))
        if torch.cuda.is_available():
            torch.cuda.current_stream().synchronize()
        self._pending = self._pool.submit(self._write, position, parts)
        self._last_step, self._last_s = position.step, time.monotonic()
        self.stall_s += time.perf_counter() - began

    def wait(self) -> None:
        """Until the last one is written. Raises what went wrong; the store may fail a few times in a row."""
        if self._pending is None:
            return
        pending, self._pending = self._pending, None
        try:
            pending.result()
        except InfrastructureError as error:
            self._failures += 1
            if error.code in HOPELESS or self._failures >= MOST_FAILURES:
                raise
        else:
            self._failures = 0

    def close(self) -> None:
        """Wait and end the thread; an error is not raised."""
        with suppress(Exception):
            self.wait()
        self._pool.shutdown(wait=True)

    def _write(self, position: Position, parts: list[tuple[str, PackedTensors]]) -> None:
        folder = checkpoint_folder(self._work_key, self._epoch, position.step)
        began = time.perf_counter()
        named = []
        for group, buffer in parts:
            sha256 = digest_bytes(buffer.data)
            named.append({"group": group, "sha256": sha256})
            self._store.create(f"{folder}/{sha256}.safetensors", buffer.data)
            fault_point("checkpoint.after_part")
        self._refuse_if_stale()
        fault_point("checkpoint.before_marker")
        marker = {"position": asdict(position), "parts": named}
        canonical_json(marker)  # what could not be read back is refused here
        self._mark(position.step, marker)
        self.written += 1
        self.write_s += time.perf_counter() - began
        fault_point("checkpoint.after_marker")

    def _publish(self, step: int, marker: dict[str, Any]) -> None:
        publish_marker(self._store, self._work_key, self._epoch, step, marker, keep=self._config.keep)

"""Checks of the machine before a training starts, with clear refusals."""

from __future__ import annotations

import csv
import io
import shutil
import subprocess
import time
from pathlib import Path

from mlratchet.models.errors import InfrastructureError
from mlratchet.models.identity.lease import server_now
from mlratchet.models.ports.storage import ObjectStore

LEAST_DISK_BYTES = 512 * 1024**2  # for scratch and logs
MOST_SKEW_S = 300.0  # S3 refuses requests at 15 minutes
HOTTEST_C = 92  # degrees at which GPUs slow down or stop
LEAST_GPU_MB = 1024  # free
QUERY = ("index", "name", "memory.free", "temperature.gpu", "ecc.errors.uncorrected.volatile.total")


def check_hardware(home: Path, store: ObjectStore) -> None:
    """Raises ``InfrastructureError`` for a machine that would fail later, or wrongly."""
    free = shutil.disk_usage(home).free
    if free < LEAST_DISK_BYTES:
        raise InfrastructureError(
            f"disk: {free / 1e6:.0f} MB are free at {home}, expected at least {LEAST_DISK_BYTES / 1e6:.0f}; make room"
        )
    skew_s = clock_skew_s(store)
    if abs(skew_s) > MOST_SKEW_S:
        raise InfrastructureError(
            f"clock: this machine differs from the object store by {skew_s:.0f} s, expected at most "
            f"{MOST_SKEW_S:.0f}; start NTP"
        )
    for line in gpu_faults(query_gpus()):
        raise InfrastructureError(line)


def clock_skew_s(store: ObjectStore) -> float:
    """Seconds that this machine is ahead of the store, by an object written now."""
    return time.time() - server_now(store)


def query_gpus() -> str:
    """nvidia-smi's answer as CSV; empty without one."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ""
    command = [tool, f"--query-gpu={','.join(QUERY)}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise InfrastructureError(f"GPU: nvidia-smi does not answer ({exc}); restart the driver") from exc
    return done.stdout if done.returncode == 0 else ""


def gpu_faults(answer: str) -> list[str]:
    """What is wrong with each GPU of an nvidia-smi answer."""
    faults = []
    for row in csv.reader(io.StringIO(answer)):
        if len(row) != len(QUERY):
            continue
        index, name, free, degrees, errors = (cell.strip() for cell in row)
        what = f"GPU {index} ({name})"
        if free.isdigit() and int(free) < LEAST_GPU_MB:
            faults.append(f"{what}: {free} MB of memory are free, expected {LEAST_GPU_MB}; end what uses it")
        if degrees.isdigit() and int(degrees) >= HOTTEST_C:
            faults.append(f"{what}: {degrees} degrees, expected below {HOTTEST_C}; look after its cooling")
        if errors.isdigit() and int(errors) > 0:
            faults.append(f"{what}: {errors} uncorrected memory errors; reset or replace it")
    return faults

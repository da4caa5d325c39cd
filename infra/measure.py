"""Measure the exact artifact in a clean process: parity with the eager model, latency, size, memory.

Run as ``python -m mlratchet.infra.measure DIRECTORY SAMPLE.safetensors THREADS OUT.json`` by `measure_artifact`.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mlratchet.infra.settings import process_environment, without_private_keys
from mlratchet.models.artifact.manifest import ArtifactManifest
from mlratchet.models.errors import InfrastructureError

TIMED_FORWARDS = 300  # of one row each
WARM_FORWARDS = 20
TIMEOUT_S = 300


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What would be served, measured."""

    latency_ms: dict[str, float]  # p50, p95, p99 of a forward of one row
    latency_n: int
    parity_max_difference: float  # largest |exported - eager| over the sample
    parity_n: int
    size_bytes: int
    memory_mb: float  # peak resident set of the process, 1 MB = 1,000,000 bytes


def measure_artifact(
    directory: Path,
    manifest: ArtifactManifest,
    *,
    sample_x: np.ndarray[Any, Any],
    expected: np.ndarray[Any, Any],
    threads: int,
) -> Measurement:
    """Measure a verified directory. Raises ``InfrastructureError`` when it cannot be loaded."""
    from safetensors.numpy import save_file

    with tempfile.TemporaryDirectory(prefix="ratchet-measure-") as folder:
        sample, out = Path(folder) / "sample.safetensors", Path(folder) / "out.json"
        save_file({"x": np.ascontiguousarray(sample_x), "expected": np.ascontiguousarray(expected)}, sample)
        command = [
            sys.executable,
            "-m",
            "mlratchet.infra.measure",
            str(directory),
            str(sample),
            str(threads),
            str(out),
        ]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            env=without_private_keys(process_environment()),
            check=False,
        )
        if done.returncode != 0 or not out.is_file():
            last = (done.stderr.strip() or "no output").splitlines()[-1]
            raise InfrastructureError(f"the artifact cannot be loaded in a clean process: {last[:300]}")
        measured = json.loads(out.read_text())
    return Measurement(size_bytes=manifest.total_bytes, **measured)


def main(directory: Path, sample: Path, threads: int, out: Path) -> None:
    """In the clean process."""
    import torch
    from mlratchet.infra.exported import load_exported
    from safetensors.torch import load_file

    torch.set_num_threads(threads)
    tensors = load_file(sample)
    model = load_exported(directory)
    x, expected = tensors["x"], tensors["expected"]
    with torch.inference_mode():
        output = model(x).float().reshape(expected.shape)
        difference = float((output - expected).abs().max())
        seconds = []
        for number in range(WARM_FORWARDS + TIMED_FORWARDS):
            row = x[number % len(x) : number % len(x) + 1]
            start = time.perf_counter()
            model(row)
            seconds.append(time.perf_counter() - start)
    quantiles = np.quantile(np.asarray(seconds[WARM_FORWARDS:]) * 1e3, [0.5, 0.95, 0.99])
    result = {
        "latency_ms": dict(zip(("p50", "p95", "p99"), map(float, quantiles), strict=True)),
        "latency_n": TIMED_FORWARDS,
        "parity_max_difference": difference,
        "parity_n": len(x),
        "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
    }
    out.write_text(json.dumps(result))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))

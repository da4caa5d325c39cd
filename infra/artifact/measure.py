"""Measure the exact artifact in a clean process: parity with the eager model, latency, size, memory, contract.

Run as ``python -m mlratchet.infra.artifact.measure DIRECTORY FOLDER THREADS`` by `measure_artifact`.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mlratchet.infra.child.confine import Bounds, confine, users_files
from mlratchet.infra.child.handed_back import read_handed_back
from mlratchet.infra.machine.interpreter import collect_seldom
from mlratchet.infra.machine.lifetime import die_with_parent
from mlratchet.infra.machine.temporary import temporary_folder
from mlratchet.infra.settings import BOUNDS, process_environment, told_bounds, told_to_children
from mlratchet.infra.warm.ask import Process, start
from mlratchet.infra.warm.resident import forked, touch_what_the_parent_holds
from mlratchet.models.artifact.manifest import ArtifactManifest
from mlratchet.models.artifact.signature import Signature
from mlratchet.models.errors import InfrastructureError
from mlratchet.models.serving.contract import StoredRequest
from mlratchet.models.tensors.named import Inputs
from pydantic import TypeAdapter

TIMED_FORWARDS = 300  # of one row each
WARM_FORWARDS = 20
TIMEOUT_S = 300
MOST_SAID = 64 << 20  # bytes of a log or a result
SAMPLE, REQUESTS, OUT, LOG = "sample.safetensors", "requests.json", "measured.json", "output.log"


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What would be served, measured. 1 MB = 1,000,000 bytes."""

    latency_ms: dict[str, float]  # p50, p95, p99 of a forward of one row
    latency_n: int
    parity_max_difference: float | None  # largest |exported - eager| over the sample; None: it did not answer
    parity_n: int
    size_bytes: int
    memory_mb: float  # peak resident set of the whole process: interpreter, libraries and model, as a server holds them
    memory_model_mb: float  # the same less what was resident before the model was loaded
    contract_n: int  # requests replayed and shapes tried
    contract_failures: tuple[str, ...]  # one line each


def measure_artifact(
    directory: Path,
    manifest: ArtifactManifest,
    *,
    sample_x: Inputs,
    expected: np.ndarray[Any, Any],
    threads: int,
    requests: Sequence[StoredRequest] = (),
    home: Path | None = None,
) -> Measurement:
    """Measure a verified directory, in a fork of the warm process of the stack in `home` or by a new interpreter.

    Raises ``InfrastructureError`` when it cannot be loaded.
    """
    from safetensors.numpy import save_file

    with temporary_folder("measure") as name:
        folder = Path(name)
        tensors = sample_x.arrays() | {"expected": expected}
        save_file({name: np.ascontiguousarray(one) for name, one in tensors.items()}, folder / SAMPLE)
        (folder / REQUESTS).write_text(json.dumps([request.model_dump(mode="json") for request in requests]))
        bounds = Bounds(
            scratch=folder,
            reads=users_files(),
            granted=(directory,),
            closed=(home,) if home is not None else (),
        )
        with (folder / LOG).open("wb") as log:
            child = start(
                "measure",
                "mlratchet.infra.artifact.measure",
                [str(directory), str(folder), str(threads)],
                home=home,
                environment=told_to_children(process_environment())
                | {"HOME": str(folder), "TMPDIR": str(folder), BOUNDS: bounds.to_json()},
                output=log.fileno(),
                when_gone=signal.SIGKILL,
            )
            code = end_of(child)
        if code != 0 or not (folder / OUT).is_file():
            said = read_handed_back(folder / LOG, most_bytes=MOST_SAID).decode(errors="replace")
            last = (said.strip() or "no output").splitlines()[-1]
            raise InfrastructureError(f"the artifact cannot be loaded in a clean process: {last[:300]}")
        told = read_handed_back(folder / OUT, most_bytes=MOST_SAID)
    try:
        return TypeAdapter(Measurement).validate_python({"size_bytes": manifest.total_bytes, **json.loads(told)})
    except (ValueError, TypeError, RecursionError) as error:
        raise InfrastructureError(f"the clean process gave no measurement: {error}"[:300]) from error


def end_of(child: Process) -> int:
    """Its exit code. Raises ``InfrastructureError`` when it takes longer than `TIMEOUT_S`; it is killed then."""
    try:
        code = child.wait(TIMEOUT_S)
        with suppress(ProcessLookupError):  # what it left in its group
            os.killpg(child.pid, signal.SIGKILL)
        return code
    except BaseException as error:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        if isinstance(error, subprocess.TimeoutExpired):
            raise InfrastructureError(f"the artifact was not measured within {TIMEOUT_S} s") from error
        raise


def main(directory: Path, folder: Path, threads: int) -> None:
    """In the clean process."""
    die_with_parent()
    collect_seldom()  # as the server does
    import torch
    from mlratchet.infra.artifact.exported import load_exported
    from mlratchet.infra.serving.memory import settle_imports
    from safetensors.numpy import load_file

    if forked():
        touch_what_the_parent_holds()
    told = told_bounds()
    if told is not None:
        confine(Bounds.from_json(told))
    tempfile.tempdir = str(folder)
    settle_imports()  # resident in a server too: before the baseline of the memory
    torch.set_num_threads(threads)
    tensors = load_file(folder / SAMPLE)
    x, expected = Inputs.from_arrays(tensors), torch.from_numpy(tensors["expected"])
    before_mb = resident_mb("VmRSS")
    model = load_exported(directory)
    signature = Signature.from_json((directory / "signature.json").read_text())
    documents = json.loads((folder / REQUESTS).read_text())
    requests = [
        StoredRequest(**{**one, "predictions": tuple(one["predictions"]) if one["predictions"] is not None else None})
        for one in documents
    ]
    result = measured(model, signature, x, expected, requests)
    peak_mb = resident_mb("VmHWM")
    (folder / OUT).write_text(json.dumps(result | {"memory_mb": peak_mb, "memory_model_mb": peak_mb - before_mb}))


def measured(
    model: Callable[[Any], Any], signature: Signature, x: Inputs, expected: Any, requests: Sequence[StoredRequest]
) -> dict[str, Any]:
    """All but memory. What the server needs to come up is among the contract: every staging gate asks for it, and a
    model that cannot give it fails there instead of ending this process."""
    import torch
    from mlratchet.models.serving.contract import replay, signature_failures
    from mlratchet.models.serving.predictor import Predictor
    from mlratchet.models.tensors.batch import aligned, batch_of

    difference, latency_ms, unanswered = None, {}, []
    try:
        with torch.inference_mode():
            difference = float((model(aligned(batch_of(x))).float().reshape(expected.shape) - expected).abs().max())
            latency_ms = time_forwards(model, x)
    except Exception as error:  # noqa: BLE001 - an exported program may raise anything; the line says what
        unanswered.append(f"measuring: {type(error).__name__}: {error}"[:300])
    predictor = Predictor(version=0, generation=0, signature=signature, model=model)
    try:
        predictor.warm_up()
    except Exception as error:  # noqa: BLE001 - as above
        unanswered.append(f"the server would not come up: {type(error).__name__}: {error}"[:300])
    tried, failures = signature_failures(model, signature, x)
    return {
        "latency_ms": latency_ms,
        "latency_n": TIMED_FORWARDS if latency_ms else 0,
        "parity_max_difference": difference,
        "parity_n": len(x) if difference is not None else 0,
        "contract_n": tried + len(requests) + 2,
        "contract_failures": failures + unanswered + replay(predictor, requests),
    }


def time_forwards(model: Callable[[Any], Any], x: Inputs) -> dict[str, float]:
    """Quantiles of the wall time of forwards of one row, in milliseconds."""
    from mlratchet.models.tensors.batch import aligned, batch_of

    rows = [aligned(batch_of(x.rows(slice(at, at + 1)))) for at in range(min(len(x), TIMED_FORWARDS))]
    seconds = []
    for number in range(WARM_FORWARDS + TIMED_FORWARDS):
        row = rows[number % len(rows)]
        start = time.perf_counter()
        model(row)
        seconds.append(time.perf_counter() - start)
    quantiles = np.quantile(np.asarray(seconds[WARM_FORWARDS:]) * 1e3, [0.5, 0.95, 0.99])
    return dict(zip(("p50", "p95", "p99"), map(float, quantiles), strict=True))


def resident_mb(field: str) -> float:
    """`VmRSS` (now) or `VmHWM` (peak) of this process. Not ``ru_maxrss``: a child inherits its parent's."""
    found = re.search(rf"^{field}:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    if found is None:
        raise InfrastructureError(f"/proc/self/status has no {field}; memory is measured on Linux alone")
    return int(found[1]) * 1024 / 1e6


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))

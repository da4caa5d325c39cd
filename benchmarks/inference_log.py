"""What the inference log costs a server: CPU of the request's thread per answer offered, and the road to the disk.

Run as ``python benchmarks/inference_log.py``. The writer runs beside it, over a folder, as beside a server. The highest
rate of a server is one request per 0.25 ms of CPU (64 clients at once, MLP 64-512-512-10); the goal is 3 % of it.
"""

from __future__ import annotations

import json
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from mlratchet.infra.inference_log.client import LogClient
from mlratchet.infra.inference_log.process import LogProcess
from mlratchet.infra.keys.files import MemoryKeys, public_half
from mlratchet.infra.storage.folder import FolderStore
from mlratchet.models.identity.signing import Signer, TrustedKeys
from mlratchet.models.inference_log.config import LogConfig
from mlratchet.models.schema.fields import Field, Schema
from mlratchet.models.serving.observing import Answered
from mlratchet.models.tensors.named import Inputs

COLUMNS = [f"x{number}" for number in range(64)]
ANSWERS = 40_000
RATE = 4000.0  # answers per second
REQUEST_MS = 0.25  # CPU of a request at the highest rate, measured by serving.py


def answers() -> list[Answered]:
    """As a server of a table of 64 numbers and ten classes makes them."""
    row = dict.fromkeys(COLUMNS, 0.123456)
    chances = {str(one): 0.1 for one in range(10)}
    return [
        Answered(
            request_id=f"{number:032x}", received_s=time.time(), latency_ms=1.0, pipeline="m", version=1, generation=1,
            variant="champion", status=200, error="", client_key="c", instances=[row],
            rows=Inputs({"x": np.zeros((1, 64), np.float32)}), output=np.zeros((1, 10), np.float32),
            predictions=[{"class": "1", "probabilities": chances}], replayed=False,
        )
        for number in range(ANSWERS)
    ]  # fmt: skip


def main() -> None:
    """A line of JSON."""
    signer = Signer.generate()
    keys = MemoryKeys(signer, TrustedKeys([public_half(signer, "log", "benchmark")]))
    schema = Schema(fields={name: Field(kind="number") for name in COLUMNS}).model_dump_json()
    made = answers()
    with tempfile.TemporaryDirectory() as folder:
        process = LogProcess(Path(folder), FolderStore(Path(folder, "s3")), keys, spool_bytes=500_000_000)
        writer = threading.Thread(target=process.run)
        client = LogClient(Path(folder))
        log, tried = (client.take_up(name, LogConfig(), lambda _: schema) for name in ("m", "tried"))
        began = time.thread_time()
        for one in made[:1000]:
            tried.offer(one)
        offer_us = (time.thread_time() - began) / 1000 * 1e6
        began = time.process_time()
        while tried.waiting():
            pass
        frames_us = (time.process_time() - began) / 1000 * 1e6
        writer.start()
        client.start()
        began = time.process_time()
        start = time.monotonic()
        for number, one in enumerate(made):
            if number % 40 == 0:
                time.sleep(max(0.0, start + number / RATE - time.monotonic()))
            log.offer(one)
        client.close(60.0)
        process.stopping.set()
        writer.join()
        seconds = time.monotonic() - start
        whole_us = (time.process_time() - began) / ANSWERS * 1e6
    found = {
        "answers": ANSWERS, "per_s": round(ANSWERS / seconds), "dropped": log.lost, "offer_us": round(offer_us, 2),
        "frames_us": round(frames_us, 2), "server_share": round((offer_us + frames_us) / (REQUEST_MS * 1e3), 4),
        "with_writer_us": round(whole_us, 1),
    }  # fmt: skip
    print(json.dumps(found))


if __name__ == "__main__":
    main()

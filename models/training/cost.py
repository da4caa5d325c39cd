"""What a training cost, over all its attempts."""

from __future__ import annotations

from mlratchet.models.identity.claim import read_claims
from mlratchet.models.ports.storage import ObjectStore
from mlratchet.models.training.config import TrainConfig
from mlratchet.models.training.result import TrainResult


def training_cost(store: ObjectStore, work_key: str, result: TrainResult, train: TrainConfig) -> dict[str, float]:
    """Cost by name.

    - `train_seconds`: wall time of training in all attempts. Of an attempt that was killed, from its claim to the last
      thing it wrote: a lower bound.
    - `core_seconds`: `train_seconds` times the cores that were held (ranks times threads).
    - `gpu_seconds`: `train_seconds` times the ranks, on GPUs alone.
    - `steps`, `rows_seen`: of the history that led to the weights.
    - `attempts`: that wrote something.
    """
    finished = result.weights_key.split("/")[2]  # work/<key>/e<epoch>/weights-...
    taken_s = {f"e{claim.epoch:06d}": claim.taken_s for claim in read_claims(store, work_key)}
    last_s: dict[str, float] = {}
    for info in store.list(f"work/{work_key}/e"):
        attempt = info.key.split("/")[2]
        last_s[attempt] = max(last_s.get(attempt, 0.0), info.modified_s)
    killed = [last_s[name] - taken_s[name] for name in last_s if name != finished and name in taken_s]
    seconds = result.seconds + sum(max(0.0, one) for one in killed)
    cost = {
        "train_seconds": seconds,
        "core_seconds": seconds * result.processes * train.threads_per_process,
        "steps": float(result.steps),
        "rows_seen": float(result.steps * train.global_batch_size),
        "attempts": float(len(killed) + 1),
    }
    if result.device == "cuda":
        cost["gpu_seconds"] = seconds * result.processes
    return cost

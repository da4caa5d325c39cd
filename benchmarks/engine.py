"""Steps per second of the training engine against a bare loop, Accelerate, Lightning Fabric and Lightning's Trainer.

    python -m venv .peers && .peers/bin/pip install -r requirements.lock lightning==2.6.1 accelerate==1.15.0
    .peers/bin/pip install --no-deps -e .
    .peers/bin/python benchmarks/engine.py [--processes 2] [--rounds 5] [--allocator]

Same model, data, seed, batch, optimizer (fused AdamW) and threads; the sides run interleaved in one process tree.
A peer takes part when it can be imported (2.6.2 and 2.6.3 of lightning were poisoned: take 2.6.1). What the Trainer
spends on setting up a fit is not counted: its time runs from the begin of its first batch to the end of its last.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.config import WorkloadRef
from mlratchet.models.data.config import DataConfig, SourceConfig
from mlratchet.models.data.preprocess import write_dataset
from mlratchet.models.data.snapshot import take_snapshot
from mlratchet.models.sources.record import Record
from mlratchet.models.training.config import TrainConfig
from mlratchet.models.training.job import TrainJob
from mlratchet.models.training.loop import Trainer
from torch import nn

RESULTS = Path(__file__).parent / "results"
WORKLOAD = WorkloadRef(
    use="mlratchet.models.workloads.vision:ImageClassifier",
    parameters={"height": 16, "width": 16, "channels": 1, "classes": [str(i) for i in range(10)], "base_width": 32},
)
CPU = torch.device("cpu")
Step = Callable[[int], tuple[float, float] | None]  # takes steps; may say its own wall and CPU seconds


def prepare(rows: int) -> tuple[MemoryStore, str]:
    """The same rows in every process; so many that no epoch ends: validation is not what is compared."""
    raw, store = MemoryStore("raw"), MemoryStore("store")
    raw.put("t/rows", b"x")
    rng = np.random.default_rng(0)
    images = rng.random((rows, 1, 16, 16), dtype=np.float32)
    records = [Record(id=f"r{i}", x=x, y=i % 10, content_sha256=str(i)) for i, x in enumerate(images)]
    data = DataConfig.model_validate({"split": {"validation": 0.02, "test": 0.02}})
    made = write_dataset(
        store, take_snapshot(raw, store, prefix="t/"), records, "code", WORKLOAD, data,
        SourceConfig(prefix="t/"), class_names=tuple(str(i) for i in range(10)),
    )  # fmt: skip
    return store, made.id


def trainer(
    mode: str, batch: int, rank: int, world: int, store: MemoryStore, dataset: str, device: torch.device = CPU
) -> Trainer:
    config = TrainConfig.model_validate(
        {"mode": mode, "global_batch_size": batch, "epochs": 1000, "checkpoint": {"every_seconds": None}}
    )
    job = TrainJob(
        work_key="w", epoch=1, dataset_id=dataset, workload=WORKLOAD, train=config, processes=world, scratch="."
    )
    return Trainer(job, store, rank=rank, world=world, device=device)


def ours(made: Trainer) -> Step:
    """The whole loop with its reports and checks; leaves it after the wanted number of steps."""

    def run(steps: int) -> None:
        made.total = made.step + steps
        made._steps(None)
        wait_for(made.device)

    return run


def bare_loop(made: Trainer, wrap: Callable[[nn.Module, Any], tuple[Any, Any, Callable[[Any], None]]]) -> Step:
    """The loop that a person writes, over a wrapped model; `wrap` gives model, optimizer and backward."""
    torch.manual_seed(0)
    module = made.workload.build_model().to(made.device)
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-3, fused=True)
    model, optimizer, backward = wrap(module, optimizer)
    x, y = (torch.from_numpy(rows).to(made.device) for rows in (made.train_rows.x.array, made.train_rows.y))
    rank, world, batch = made.rank, made.world, made.config.global_batch_size
    order = torch.randperm(len(y))
    per_epoch = len(y) // batch

    def run(steps: int) -> None:
        model.train()
        for step in range(steps):
            at = (step % per_epoch) * batch
            mine = order[at : at + batch][rank::world]
            optimizer.zero_grad(set_to_none=True)
            loss = nn.functional.cross_entropy(model(x[mine]), y[mine])
            backward(loss)
            norm = nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            if not torch.isfinite(norm):
                raise RuntimeError("not finite")
            optimizer.step()
        wait_for(made.device)

    return run


def bare(made: Trainer) -> Step:
    """The loop without any library."""

    def wrap(module: nn.Module, optimizer: Any) -> Any:
        model = nn.parallel.DistributedDataParallel(module) if made.world > 1 else module
        return model, optimizer, lambda loss: loss.backward()

    return bare_loop(made, wrap)


def wait_for(device: torch.device) -> None:
    """A GPU is asked and goes on by itself: time ends when it has done the work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peers(made: Trainer) -> dict[str, Step]:
    """Every side that can be imported."""

    sides = {"bare loop": bare(made)}
    try:
        from accelerate import Accelerator

        accelerator = Accelerator(cpu=True)
        sides["Accelerate"] = bare_loop(made, lambda m, o: (*accelerator.prepare(m, o), accelerator.backward))
    except ImportError:
        pass
    try:
        from lightning.fabric import Fabric
        from lightning.fabric.plugins.environments import TorchElasticEnvironment

        plugins = [TorchElasticEnvironment()] if made.world > 1 else None
        strategy = "ddp" if made.world > 1 else "auto"
        fabric = Fabric(accelerator="cpu", devices=made.world, strategy=strategy, plugins=plugins)
        fabric.launch()
        sides["Fabric"] = bare_loop(made, lambda m, o: (*fabric.setup(m, o), fabric.backward))
        sides["Trainer"] = lightning_trainer(made, plugins)
    except ImportError:
        pass
    return sides


def lightning_trainer(made: Trainer, plugins: Any) -> Step:
    """The same work as a LightningModule under a Trainer with everything optional switched off."""
    import logging

    import lightning

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    x, y = torch.from_numpy(made.train_rows.x.array), torch.from_numpy(made.train_rows.y)
    rank, world, batch = made.rank, made.world, made.config.global_batch_size
    torch.manual_seed(0)
    order, network = torch.randperm(len(y)), made.workload.build_model()

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def training_step(self, rows: torch.Tensor, _: int) -> torch.Tensor:
            return nn.functional.cross_entropy(self.network(x[rows]), y[rows])

        def configure_optimizers(self) -> Any:
            return torch.optim.AdamW(self.parameters(), lr=1e-3, fused=True)

    class Timer(lightning.Callback):
        def on_train_batch_start(self, *_: Any) -> None:
            if self.began is None:
                self.began = (time.perf_counter(), time.process_time())

        def on_train_batch_end(self, *_: Any) -> None:
            self.ended = (time.perf_counter(), time.process_time())

        began: tuple[float, float] | None = None

    class Rows:
        """A list would be taken for as many loaders."""

        def __init__(self, steps: int) -> None:
            per_epoch = len(y) // batch
            self.batches = [order[(s % per_epoch) * batch :][:batch][rank::world] for s in range(steps)]

        def __len__(self) -> int:
            return len(self.batches)

        def __iter__(self) -> Iterator[torch.Tensor]:
            return iter(self.batches)

    def run(steps: int) -> tuple[float, float]:
        timer = Timer()
        trainer = lightning.Trainer(
            accelerator="cpu", devices=world, strategy="ddp" if world > 1 else "auto", plugins=plugins, max_steps=steps,
            max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False, num_sanity_val_steps=0,
            enable_model_summary=False, gradient_clip_val=1.0, use_distributed_sampler=False, callbacks=[timer],
        )  # fmt: skip
        trainer.fit(Module(), Rows(steps))
        assert timer.began is not None
        return timer.ended[0] - timer.began[0], timer.ended[1] - timer.began[1]

    return run


def side_by_side(rank: int, world: int, batch: int, rounds: int, steps: int, out: str) -> None:
    """One rank: A B C, A B C, ..."""
    os.environ.update(
        RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world), LOCAL_WORLD_SIZE=str(world),
        MASTER_ADDR="127.0.0.1", TORCHELASTIC_RUN_ID="benchmark",
    )  # fmt: skip
    torch.set_num_threads(1)
    if world > 1:
        dist.init_process_group("gloo", init_method=f"file://{out}.rendezvous", rank=rank, world_size=world)
    store, dataset = prepare(int(1.1 * batch * steps * (rounds + 1)) + 1000)
    first = trainer("fast", batch, rank, world, store, dataset)
    sides = {"ratchet fast": ours(first), **peers(first)}
    sides["ratchet exact"] = ours(trainer("exact", batch, rank, world, store, dataset))
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    cpu: dict[str, list[float]] = {name: [] for name in sides}
    for counted in range(-1, rounds):  # one round to warm up
        for name, run in sides.items():
            if world > 1:
                dist.barrier()
            began, began_cpu = time.perf_counter(), time.process_time()
            own = run(steps)
            if counted >= 0:
                seconds[name].append(own[0] if own else time.perf_counter() - began)
                cpu[name].append(own[1] if own else time.process_time() - began_cpu)
    if rank == 0:
        Path(out).write_text(json.dumps({"seconds": seconds, "cpu": cpu}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--batch", type=int, nargs="+", default=[128, 512])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument(
        "--allocator", action="store_true", help="All sides with the settings that ratchet's agent makes."
    )
    options = parser.parse_args()
    allocator = "as ratchet's agent sets it" if options.allocator else "default"
    if options.allocator:
        from mlratchet.infra.launch.attempt import ALLOCATOR

        os.environ.update(ALLOCATOR)  # read by the processes that are started
    RESULTS.mkdir(exist_ok=True)
    print(f"torch {torch.__version__}, {len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}")
    for world in options.processes:
        for batch in options.batch:
            with tempfile.TemporaryDirectory() as folder:
                out = str(Path(folder) / "out.json")
                steps = max(5, options.steps * min(options.batch) // batch)  # about the same rows per round
                mp.spawn(side_by_side, (world, batch, options.rounds, steps, out), nprocs=world)
                found = json.loads(Path(out).read_text())
            base = found["seconds"]["bare loop"]
            print(f"\n{world} processes, global batch {batch}: steps/s (median; spread), ratio to the bare loop")
            row: dict[str, Any] = {
                "claim": "engine", "date": dt.date.today().isoformat(), "torch": torch.__version__,
                "machine": platform.machine(), "cores": len(os.sched_getaffinity(0)), "load": os.getloadavg()[0],
                "processes": world, "batch": batch, "allocator": allocator, "sides": {},
            }  # fmt: skip
            for name, taken in found["seconds"].items():
                ratio = statistics.median(b / a for a, b in zip(taken, base, strict=True))
                rates = [steps / s for s in taken]
                row["sides"][name] = {
                    "steps_per_s": round(statistics.median(rates), 2),
                    "ratio": round(ratio, 3),
                    "cpu_ratio": round(
                        statistics.median(
                            b / a for a, b in zip(found["cpu"][name], found["cpu"]["bare loop"], strict=True)
                        ),
                        3,
                    ),
                    "cpu_ms_per_step": round(1000 * statistics.median(found["cpu"][name]) / steps, 2),
                }
                spread = f"{min(rates):.1f}-{max(rates):.1f}"
                print(f"  {name:14s} {statistics.median(rates):8.1f}  ({spread})  {ratio:.3f}")
            with (RESULTS / "engine.jsonl").open("a") as sink:
                sink.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()

"""Every switch of the configuration does what it says, and a test would notice if it did nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.data.config import DataConfig, SourceConfig
from mlratchet.models.data.preprocess import write_dataset
from mlratchet.models.data.snapshot import take_snapshot
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.pipeline.spec import WorkloadRef
from mlratchet.models.sources.record import Record
from mlratchet.models.training.averaging import WeightAverage
from mlratchet.models.training.config import TrainConfig
from mlratchet.models.training.configured_loss import build_loss
from mlratchet.models.training.job import TrainJob
from mlratchet.models.training.loop import Trainer
from mlratchet.models.training.observers import Surroundings
from mlratchet.models.training.optim import learning_rate
from mlratchet.models.workloads.tabular import TableClassifier
from torch import nn

IMAGES = WorkloadRef(
    use="mlratchet.models.workloads.vision:ImageClassifier",
    parameters={"height": 8, "width": 8, "channels": 1, "classes": ["0", "1"], "base_width": 4},
)


@pytest.fixture
def trainer(raw: MemoryStore, store: MemoryStore) -> Any:
    """Makes a trainer over 120 images, bright or dark."""
    rng = np.random.default_rng(0)
    raw.put("i/x", b"x")
    images = [rng.random((1, 8, 8), dtype=np.float32) * 0.5 + 0.5 * (i % 2) for i in range(120)]
    records = [Record(id=f"r{i}", x=x, y=i % 2, content_sha256=str(i)) for i, x in enumerate(images)]
    snapshot = take_snapshot(raw, store, prefix="i/")
    dataset = write_dataset(store, snapshot, records, "code", IMAGES, DataConfig(), SourceConfig(prefix="i/")).id

    def make(events: list[Any] | None = None, **changes: Any) -> Trainer:
        sgd = {"name": "sgd", "learning_rate": 0.1, "momentum": 0.0, "weight_decay": 0.0}
        options = {"epochs": 2, "global_batch_size": 16, "clip_norm": None, "optimizer": sgd, **changes}
        job = TrainJob(
            work_key=f"{len(changes)}{changes}", epoch=1, dataset_id=dataset, workload=IMAGES,
            train=TrainConfig.model_validate(options), processes=1, scratch=".",
        )  # fmt: skip
        around = Surroundings(emit=events.append if events is not None else lambda event: None)
        return Trainer(job, store, rank=0, world=1, device=torch.device("cpu"), around=around)

    return make


def weights(made: Trainer) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in made.module.parameters()])


def trained(made: Trainer) -> torch.Tensor:
    made.run()
    return weights(made)


def own_optimizer(groups: Any, rate: float, decay: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(groups, lr=rate, weight_decay=decay, fused=True)


def not_an_optimizer(groups: Any, rate: float, decay: float) -> int:
    return 3


def test_an_optimizer_of_ones_own_is_the_one_that_steps(trainer: Any) -> None:
    own = {"factory": f"{__name__}:own_optimizer", "learning_rate": 0.1, "weight_decay": 0.0}
    assert torch.equal(trained(trainer(optimizer=own)), trained(trainer()))
    for factory, words in (("not_an_optimizer", "got int, expected an Optimizer"), ("absent", "has no attribute")):
        with pytest.raises(ConfigurationError, match=words):
            trainer(optimizer={"factory": f"{__name__}:{factory}"})


@pytest.mark.parametrize("mode", ["exact", "fast"])
def test_clipping_bounds_the_step(trainer: Any, mode: str) -> None:
    made = trainer(mode=mode, clip_norm=1e-3, schedule={"name": "constant", "warmup_fraction": 0.0})
    before = weights(made)
    made.total = 1
    made.run()
    moved = float((weights(made) - before).norm())
    assert 0 < moved <= 0.1 * 1e-3 * 1.001
    assert made._last_norm > 1e-3  # what is reported is the norm before


@pytest.mark.parametrize("mode", ["exact", "fast"])
def test_pieces_of_a_step_have_its_gradient(trainer: Any, mode: str) -> None:
    whole, pieces = (trained(trainer(mode=mode, accumulation=n)) for n in (1, 3))
    assert not torch.equal(whole, pieces)  # other sums, so that the switch is seen to work
    torch.testing.assert_close(whole, pieces, rtol=1e-3, atol=1e-4)


def test_the_average_follows_its_formula_and_is_what_is_published(trainer: Any) -> None:
    module = nn.Linear(1, 1, bias=False)
    nn.init.constant_(module.weight, 1.0)
    average = WeightAverage(module, 0.75)
    for value in (2.0, 3.0):
        nn.init.constant_(module.weight, value)
        average.update()
    assert float(average.tensors()["weight"]) == pytest.approx(0.75 * (0.75 * 1 + 0.25 * 2) + 0.25 * 3)
    with average.applied():
        assert float(module.weight) == pytest.approx(1.6875)
    assert float(module.weight) == 3.0
    made = trainer(ema_decay=0.9)
    last = trained(made)
    final = torch.cat([t.flatten() for t in made.settle().values()])
    assert not torch.equal(final, last)


def test_bf16_computes_in_bf16_and_keeps_fp32_weights(trainer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = set()
    made = trainer(precision="bf16")
    made.module.head.register_forward_hook(lambda module, x, y: seen.add((module.training, y.dtype)))
    made.run()
    assert (True, torch.bfloat16) in seen
    assert {p.dtype for p in made.module.parameters()} == {torch.float32}


def test_channels_last_reaches_the_weights_and_the_batches(trainer: Any) -> None:
    seen = set()
    made = trainer(channels_last=True)
    made.module.features[3].register_forward_pre_hook(
        lambda module, x: seen.add((module.training, x[0].is_contiguous(memory_format=torch.channels_last)))
    )
    made.run()
    assert (True, True) in seen
    assert made.module.features[3].weight.is_contiguous(memory_format=torch.channels_last)


def test_compile_trains_through_the_compiled_module(trainer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a backend that runs the graph as it is: what torch's own compiles to is torch's business."""
    compiled, real = [], torch.compile

    def backend(graph: torch.fx.GraphModule, inputs: Any) -> Any:
        def run(*values: Any) -> Any:
            compiled.append(1)
            return graph.forward(*values)

        return run

    monkeypatch.setattr(torch, "compile", lambda module: real(module, backend=backend))
    made = trainer(compile=True)
    assert torch.equal(trained(made), trained(trainer()))
    assert len(compiled) >= made.step  # a piece of graph per shard and step
    assert all("_orig_mod" not in name for name in made.final_tensors())


def test_the_rate_of_the_schedule_is_the_rate_that_steps(trainer: Any) -> None:
    events: list[Any] = []
    made = trainer(events, log_every_steps=1, schedule={"name": "one_cycle", "warmup_fraction": 0.3})
    made.run()
    told = [event["learning_rate"] for event in events if event["event"] == "step"]
    rates = [
        learning_rate(0.1, made.config.schedule, step=s, total=made.total, per_epoch=made.per_epoch)
        for s in range(made.total)
    ]
    assert told == rates
    assert made.optimizer.param_groups[0]["lr"] == rates[-1]


def test_smoothing_and_weights_are_those_of_the_formula() -> None:
    workload = TableClassifier(columns=["a"], classes=["x", "y"])
    output, target = torch.tensor([[2.0, -1.0], [0.5, 0.0]]), torch.tensor([0, 1])
    log_p = output.log_softmax(1)
    smooth = build_loss(TrainConfig(label_smoothing=0.2), workload, None)(output, target)
    assert float(smooth) == pytest.approx(float(-(0.9 * log_p[[0, 1], [0, 1]] + 0.1 * log_p[[0, 1], [1, 0]]).mean()))
    weighted = build_loss(TrainConfig(), workload, torch.tensor([1.0, 3.0]))(output, target)
    assert float(weighted) == pytest.approx(float(-(log_p[0, 0] + 3 * log_p[1, 1]) / 2))

"""Configuration of training: what decides the weights, and how it is run.

Everything but `TrainConfig.EXECUTION` is part of the work key; in `exact` mode the execution settings do not change
a bit of the result, in `fast` mode the number of processes does and is part of the key too.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from mlratchet.models.config import StrictModel
from pydantic import Field, model_validator

FACTORY = r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"


class ParameterGroup(StrictModel):
    """Parameters whose name matches get a learning rate of their own, or none."""

    match: str
    """Glob over parameter names, e.g. `features.*`; the first group that matches counts."""
    learning_rate_factor: float = Field(default=1.0, ge=0)
    """Times the scheduled rate; 0 freezes the parameters."""
    weight_decay: float | None = Field(default=None, ge=0)
    """Instead of the optimizer's."""


class OptimizerConfig(StrictModel):
    """Which optimizer, and its parameters."""

    name: Literal["adamw", "adam", "sgd", "adagrad", "rmsprop"] | None = None
    """adamw unless `factory` is given."""
    factory: str | None = Field(default=None, pattern=FACTORY)
    """`package.module:function`; called with (parameter groups, learning_rate, weight_decay), gives an optimizer."""
    learning_rate: float = Field(default=1e-3, gt=0)
    """Peak learning rate, per global step."""
    weight_decay: float = Field(default=0.01, ge=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Used by sgd and rmsprop alone."""
    groups: tuple[ParameterGroup, ...] = Field(default=(), strict=False)

    @model_validator(mode="after")
    def _one_of(self) -> OptimizerConfig:
        if self.name is not None and self.factory is not None:
            raise ValueError("give either name or factory, not both")
        return self


class ScheduleConfig(StrictModel):
    """How the learning rate moves over the global steps: a pure function of the step."""

    name: Literal["constant", "cosine", "one_cycle", "step"] = "cosine"
    warmup_fraction: float = Field(default=0.05, ge=0, lt=1)
    """Share of all steps spent rising: linearly from 0, for `one_cycle` along a cosine from 1/25 of the peak."""
    step_epochs: int = Field(default=10, ge=1)
    """For `step`: epochs between two decays."""
    step_factor: float = Field(default=0.1, gt=0, lt=1)
    """For `step`: the factor of each decay."""


class EarlyStoppingConfig(StrictModel):
    """Stop when a validation metric no longer improves, and publish the best weights."""

    metric: str = "loss"
    """`loss`, or a metric of the task, over the validation rows."""
    patience_epochs: int = Field(default=5, ge=1)
    minimum_change: float = Field(default=0.0, ge=0)
    """Smaller improvements do not count; in the metric's unit."""


class CheckpointConfig(StrictModel):
    """How often the state is written to the store; the step loop does not wait for it."""

    every_seconds: float | None = Field(default=15.0, gt=0)
    every_steps: int | None = Field(default=None, ge=1)
    """Counted in global steps; with both, whichever comes first."""
    keep: int = Field(default=2, ge=1)
    """Newest checkpoints of an attempt that are kept."""


class ProfileConfig(StrictModel):
    """Record some steps of rank 0 with torch.profiler; the trace is an artifact of the run."""

    start_step: int = Field(default=10, ge=0)
    steps: int = Field(default=5, ge=1, le=100)


class TrainConfig(StrictModel):
    """The training of one candidate."""

    EXECUTION: ClassVar[frozenset[str]] = frozenset(
        {
            "processes", "nodes", "loader_workers", "checkpoint", "profile", "log_every_steps",
            "max_restarts", "process_group_timeout_seconds", "stall_timeout_seconds",
        }
    )  # fmt: skip

    mode: Literal["exact", "fast"] = "exact"
    """exact: the same bits whatever the number of processes, kills and resumes. fast: DistributedDataParallel."""
    shards: int = Field(default=4, ge=1, le=256)
    """V of `exact`: virtual shards per global step, a power of two."""
    epochs: int = Field(default=10, ge=1, le=100_000)
    """Passes over the training rows."""
    global_batch_size: int = Field(default=64, ge=1)
    """Rows (of a ranking: queries) per optimizer step, over all processes."""
    accumulation: int = Field(default=1, ge=1, le=4096)
    """Pieces that a shard's (in `fast`: a process's) rows are cut into, one after the other: less memory."""
    shuffle_window: int | None = Field(default=None, ge=1, exclude_if=lambda value: value is None)
    """Shards whose rows are mixed; null mixes all rows of an epoch. For data larger than what copies on a machine may
    take: shards come in random order, and about three windows of them are on its disk at once."""
    loss: str = "task"
    """`task` is the workload's own loss; the others are those that its objective names."""
    class_weights: Literal["balanced"] | Annotated[tuple[float, ...], Field(strict=False)] | None = None
    """Weight of each class in the loss; balanced is rows / (classes x rows of the class) over the training rows. Of a
    multi-label: weight of the rows that have the label; balanced is rows without / rows with it."""
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    clip_norm: float | None = Field(default=1.0, gt=0)
    """Largest L2 norm of the gradient; null switches it off."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    ema_decay: float | None = Field(default=None, gt=0, lt=1)
    """Per global step. The moving average of the weights is what is validated and published."""
    early_stopping: EarlyStoppingConfig | None = None
    on_nan: Literal["stop", "skip"] = "stop"
    """stop names the step and keeps the last good checkpoint; skip leaves the step out, at most 10 in a row."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Autocast; fp16 needs a GPU and scales the loss."""
    compile: bool = False
    """torch.compile."""
    channels_last: bool = False
    seed: int = Field(default=0, ge=0, lt=2**32)
    warm_start: Annotated[int, Field(ge=1)] | Literal["champion", "none"] = "champion"
    """Begin from the champion's weights, a version's, or fresh. Without a champion a run begins fresh."""
    initial_weights: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """Digest that `ratchet import-weights FILE.pth` printed: where training begins without a champion to start from."""
    processes: Annotated[int, Field(ge=1, le=1024)] | Literal["auto"] = "auto"
    """Ranks per node; auto is one per GPU, else min(cores, shards). More than the machine has devices is refused."""
    nodes: int = Field(default=1, ge=1, le=256)
    """Machines that train together: this one, and others on which `ratchet join` waits."""
    loader_workers: int = Field(default=0, ge=0, le=64)
    """Processes per rank that prepare batches; 0 prepares them in the rank."""
    threads_per_process: int = Field(default=1, ge=1, le=256)
    """Intra-op threads of each rank."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    checkpoint: CheckpointConfig = CheckpointConfig()
    profile: ProfileConfig | None = None
    log_every_steps: int = Field(default=10, ge=1)
    max_restarts: int = Field(default=3, ge=0, le=100)
    """Times the agent restarts the ranks within one attempt."""
    process_group_timeout_seconds: float = Field(default=60.0, gt=0)
    """How long a collective may wait for a rank."""
    stall_timeout_seconds: float = Field(default=120.0, gt=0)
    """A rank that makes no step for so long, and for 20 times its median step, is ended and restarted."""

    @model_validator(mode="after")
    def _fits_together(self) -> TrainConfig:
        world = (self.processes if isinstance(self.processes, int) else 1) * self.nodes
        if self.mode == "exact":
            if self.shards & (self.shards - 1):
                raise ValueError(f"mode exact needs shards to be a power of two, got {self.shards}; try 4 or 8")
            if self.shards % world:
                raise ValueError(
                    f"mode exact needs the processes to divide shards, got {world} processes and {self.shards} shards; "
                    f"change one, or write mode: fast"
                )
            if self.global_batch_size < self.shards:
                raise ValueError(
                    f"mode exact needs a row per shard, got global_batch_size {self.global_batch_size} "
                    f"and {self.shards} shards"
                )
        elif self.global_batch_size % world:
            raise ValueError(
                f"global_batch_size {self.global_batch_size} is not divisible by processes {world}; choose a multiple"
            )
        return self

    def identity(self, *, world: int) -> dict[str, Any]:
        """What of the configuration decides the weights, as JSON values, for the work key."""
        document = self.model_dump(mode="json", exclude=set(self.EXECUTION))
        if self.mode == "fast":
            document["world"] = world
        return document

    def notes(self) -> list[str]:
        """What a person should know of settings that are allowed but costly."""
        rows = self.global_batch_size // self.shards
        if self.mode == "exact" and self.shards > 1 and rows < 64:
            cost = (
                f"train.mode exact costs most with few rows per shard: {self.global_batch_size} rows in {self.shards} "
                f"shards are {rows} each, below 64; raise global_batch_size, lower shards, or write mode: fast "
                "(docs/training.md has the figures)"
            )
            return [cost]
        return []

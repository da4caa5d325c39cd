"""What a person fills in under *Custom run*: one typed model per flow, shown as a form by the Prefect UI."""

from __future__ import annotations

from typing import Literal

from mlratchet.models.pipeline.changes import Changes
from mlratchet.models.pipeline.tune import TuneConfig
from mlratchet.models.scoring.places import PLACE_PATTERN
from mlratchet.models.training.config import TrainConfig
from pydantic import BaseModel, ConfigDict, Field


class RetrainParameters(BaseModel):
    """Changes to the pipeline file for this run alone; the form shows the file's own values."""

    model_config = ConfigDict(extra="forbid")

    epochs: int | None = Field(
        default=None, ge=1, le=100_000, title="Epochs", description="Passes over the training rows."
    )
    learning_rate: float | None = Field(
        default=None, gt=0, title="Learning rate", description="Peak learning rate of the optimizer."
    )
    global_batch_size: int | None = Field(
        default=None, ge=1, title="Batch size", description="Rows per optimizer step, over all processes."
    )
    seed: int | None = Field(
        default=None, ge=0, title="Seed", description="Another seed is another training, not a re-run."
    )
    warm_start: Literal["champion", "none"] | None = Field(
        default=None, title="Warm start", description="Begin from the champion's weights, or from scratch."
    )
    processes: int | None = Field(
        default=None, ge=1, le=1024, title="Processes", description="At most as many as the pipeline file declares."
    )
    tuned: dict[str, bool | int | float | str | None] = Field(
        default_factory=dict,
        title="Tuned settings",
        description="Values for keys of the file's tune.space, within its ranges; anything else goes through "
        "`ratchet run --set`.",
    )
    requested_by: str = Field(
        default="", max_length=200, title="Requested by", description="Who asks; kept in the ledger."
    )

    def changes(self) -> Changes:
        """What the form may say of a run."""
        typed = {
            "train.epochs": self.epochs,
            "train.optimizer.learning_rate": self.learning_rate,
            "train.global_batch_size": self.global_batch_size,
            "train.seed": self.seed,
            "train.warm_start": self.warm_start,
        }
        named = {key: value for key, value in typed.items() if value is not None}
        return Changes(named=named, tuned=self.tuned, processes=self.processes)

    @classmethod
    def of(cls, train: TrainConfig) -> RetrainParameters:
        """The form's defaults: what the pipeline file says."""
        return cls(
            epochs=train.epochs,
            learning_rate=train.optimizer.learning_rate,
            global_batch_size=train.global_batch_size,
            seed=train.seed,
            warm_start=train.warm_start if isinstance(train.warm_start, str) else None,
        )


class ScoreParameters(BaseModel):
    """Which rows are scored, and where the scores go."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)  # keys may stand in a place that is refused

    source: str = Field(
        default="",
        max_length=2000,
        pattern=PLACE_PATTERN,
        title="Input",
        description="s3://bucket/prefix of the rows.",
    )
    target: str = Field(
        default="",
        max_length=2000,
        pattern=PLACE_PATTERN,
        title="Output",
        description="s3://bucket/prefix of the scores: empty, or of this batch.",
    )
    version: int | None = Field(default=None, ge=1, title="Version", description="The champion, where none is named.")
    format: str | None = Field(
        default=None, max_length=200, title="Format", description="Of the objects; that of the pipeline without it."
    )
    requested_by: str = Field(default="", max_length=200, title="Requested by", description="Who asks.")


class TuneParameters(BaseModel):
    """A budget for this run of the study, and what follows."""

    model_config = ConfigDict(extra="forbid")

    trials: int | None = Field(
        default=None,
        ge=1,
        le=100_000,
        title="Trials",
        description="Of the whole study, those there are already included.",
    )
    timeout_seconds: float | None = Field(
        default=None,
        gt=0,
        title="Seconds",
        description="Stop after so long; the study is kept and goes on another time.",
    )
    parallel: int | Literal["auto"] | None = Field(
        default=None, title="Side by side", description="Trials at once; auto fills the cores, or the GPUs."
    )
    apply: bool = Field(
        default=False,
        title="Apply the best",
        description="Start a retrain with the best values, if they beat the file's; it passes the same gates as any.",
    )
    requested_by: str = Field(default="", max_length=200, title="Requested by", description="Who asks.")

    def changes(self) -> Changes:
        """The budget of this run."""
        typed = {
            "tune.trials": self.trials,
            "tune.timeout_seconds": self.timeout_seconds,
            "tune.parallel": self.parallel,
        }
        return Changes(named={key: value for key, value in typed.items() if value is not None})

    @classmethod
    def of(cls, tune: TuneConfig) -> TuneParameters:
        """The form's defaults: what the pipeline file says."""
        return cls(trials=tune.trials, timeout_seconds=tune.timeout_seconds, parallel=tune.parallel)

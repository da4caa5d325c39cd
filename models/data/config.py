"""Where a pipeline's records come from and how they are split; part of the dataset's identity."""

from __future__ import annotations

from mlratchet.models.config import StrictModel
from pydantic import Field, model_validator


class SourceConfig(StrictModel):
    """The raw objects of a pipeline."""

    prefix: str = Field(min_length=1)
    """Every object below it belongs to the delivery."""
    bucket: str | None = None
    """null: the raw bucket of the settings."""
    labels: str = "labels.csv"
    """For images: the CSV (key below the prefix) that names each file and its label. Tables: every CSV is read."""
    id_column: str | None = None
    """Column of the stable id of a record; null: the file name for images, the row's digest for tables."""
    label_column: str = "label"
    file_column: str = "file"
    """For images: the column that holds the object's key below the prefix."""
    group_column: str | None = None
    """Records of one group stay on one side of the split."""
    slice_columns: tuple[str, ...] | None = Field(default=None, strict=False)
    """Columns that travel with every row, for slices; inputs and labels may be among them. null: every column that is
    neither input nor label."""


class SplitConfig(StrictModel):
    """Shares of the records; a record's side follows from a hash of its id (or group), so it never moves."""

    validation: float = Field(default=0.15, gt=0, lt=1)
    test: float = Field(default=0.25, gt=0, lt=1)
    salt: str = "ratchet"
    """Another salt draws another split."""

    @model_validator(mode="after")
    def _leaves_rows_to_train_on(self) -> SplitConfig:
        if self.validation + self.test >= 1:
            raise ValueError(f"validation {self.validation} + test {self.test} leave nothing to train on")
        return self


class DataConfig(StrictModel):
    """Split, quarantine and sharding."""

    split: SplitConfig = SplitConfig()
    rows_per_shard: int = Field(default=1024, ge=1)

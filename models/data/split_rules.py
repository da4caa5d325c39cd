"""The rules by which records are divided into training, validation and test: `data.split` of a pipeline file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from mlratchet.models.config import StrictModel
from mlratchet.models.moments import us_of
from pydantic import Discriminator, Field, Tag, field_validator, model_validator

Share = Annotated[float, Field(gt=0, lt=1)]
RULES = ("id", "group", "time", "cluster", "given")
Words = Annotated[tuple[str, ...], Field(strict=False, min_length=1)]


class SplitShares(StrictModel):
    """Of the records, per side; the others are trained on."""

    validation: Share = 0.15
    test: Share = 0.25

    @model_validator(mode="after")
    def _leaves_rows_to_train_on(self) -> SplitShares:
        if self.validation + self.test >= 1:
            raise ValueError(f"validation {self.validation} + test {self.test} leave nothing to train on")
        return self

    @property
    def test_share(self) -> float:
        """About how many of the records are judged on (0..1)."""
        return self.test


class SplitConfig(SplitShares):
    """By a hash of the id (or group) of a record, so that it never changes side, however deliveries grow."""

    by: Literal["id", "group"] = Field(default="id", exclude_if=lambda value: value == "id")
    """`id`: records of one group stay together where there are groups; `group`: there have to be some."""
    salt: str = "ratchet"
    """Another salt draws another split."""

    @property
    def keeps_sides(self) -> bool:
        """Whether a record that is delivered again is on the side that it was on."""
        return True


class TimeSplit(SplitShares):
    """By the time of a record: the newest are judged on, those before choose among epochs, the oldest are trained on.

    Records of one moment stay together. Where shares cut, the cut moves with every delivery.
    """

    by: Literal["time"]
    validation_from: str | None = None
    """First moment of validation, as ISO 8601 in quotes; with `test_from`, in place of the shares."""
    test_from: str | None = None
    """First moment of test."""
    gap_days: float = Field(default=0.0, ge=0)
    """Days before validation and before test whose records are used nowhere: what is known only later is not learnt
    from, and windows of neighbouring records do not overlap."""

    @field_validator("validation_from", "test_from")
    @classmethod
    def _is_a_moment(cls, value: str | None) -> str | None:
        if value is not None:
            us_of(value)
        return value

    @model_validator(mode="after")
    def _in_order(self) -> TimeSplit:
        if (self.validation_from is None) != (self.test_from is None):
            raise ValueError("validation_from and test_from are declared together, or neither of them")
        if self.validation_from is not None and self.test_from is not None:
            if self.model_fields_set & {"validation", "test"}:
                raise ValueError("either shares (validation, test) or dates (validation_from, test_from), not both")
            if us_of(self.validation_from) >= us_of(self.test_from):
                raise ValueError(f"validation_from {self.validation_from} is not before test_from {self.test_from}")
        return self

    @property
    def keeps_sides(self) -> bool:
        """Whether a record that is delivered again is on the side that it was on."""
        return False


class ClusterSplit(SplitShares):
    """By a hash of the cluster of near-duplicates that a record is in, so that no record has a near-duplicate on
    another side; groups stay together, too. A record that joins two clusters can move them."""

    by: Literal["cluster"]
    salt: str = "ratchet"
    """Another salt draws another split."""

    @property
    def keeps_sides(self) -> bool:
        """Whether a record that is delivered again is on the side that it was on."""
        return False


class GivenSplit(StrictModel):
    """As a column of the delivery says; a record with another word in it is set aside."""

    by: Literal["given"]
    column: str = Field(min_length=1)
    """The column that says it; of a schema a field with `input: false`."""
    train: Words = ("train",)
    """Words of the column that mean it, and so on."""
    validation: Words = ("validation",)
    test: Words = ("test",)

    @model_validator(mode="after")
    def _one_side_per_word(self) -> GivenSplit:
        words = (*self.train, *self.validation, *self.test)
        twice = next((one for one in words if words.count(one) > 1), None)
        if twice is not None:
            raise ValueError(f"{twice!r} is said of two sides")
        return self

    @property
    def test_share(self) -> float:
        """A guess: only the delivery tells (0..1)."""
        return 0.25

    @property
    def keeps_sides(self) -> bool:
        """Whether a record that is delivered again is on the side that it was on: a delivery can say otherwise."""
        return False


def _tag(document: Any) -> str:
    """The member of `SplitRule` that a section is checked against."""
    by = document.get("by", "id") if isinstance(document, Mapping) else getattr(document, "by", "id")
    return "id" if by == "group" else str(by)


SplitRule = Annotated[
    Annotated[SplitConfig, Tag("id")]
    | Annotated[TimeSplit, Tag("time")]
    | Annotated[ClusterSplit, Tag("cluster")]
    | Annotated[GivenSplit, Tag("given")],
    Discriminator(
        _tag,
        custom_error_type="unknown_split",
        custom_error_message=f"unknown rule in by; there are {', '.join(RULES)}",
    ),
]
"""What stands under `data.split`."""

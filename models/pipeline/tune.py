"""The `tune` section of a pipeline file: what is searched, for what, and for how long.

The search sees training and validation rows alone; the rows that gates judge on are not part of what a trial can read.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from mlratchet.models.config import StrictModel
from mlratchet.models.pipeline.schedule import ScheduleRef
from pydantic import Field, model_validator

Scalar = bool | int | float | str | None
MOST_POINTS = 100_000  # of a grid


class FloatRange(StrictModel):
    """A real number between two ends, both included."""

    kind: Literal["float"]
    low: float
    high: float
    log: bool = False
    """Draw the logarithm evenly: for rates and decays."""
    step: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _sound(self) -> FloatRange:
        _check_ends(self.low, self.high)
        if self.log and self.low <= 0:
            raise ValueError(f"log needs low > 0, got {self.low}")
        if self.log and self.step is not None:
            raise ValueError("log and step exclude each other; remove one")
        if self.step is not None and self.step > self.high - self.low:
            raise ValueError(f"step {self.step} is larger than the range {self.low}..{self.high}")
        return self

    def grid(self) -> list[Any] | None:
        """Every value; None when they cannot be listed."""
        if self.step is None:
            return None
        count = math.floor((self.high - self.low) / self.step + 1e-9) + 1
        return [self.low + i * self.step for i in range(count)]

    def holds(self, value: Any) -> bool:
        """Whether the value is one that could be drawn."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            return False
        steps = (value - self.low) / self.step if self.step is not None else 0.0
        return abs(steps - round(steps)) < 1e-6


class IntRange(StrictModel):
    """A whole number between two ends, both included."""

    kind: Literal["int"]
    low: int
    high: int
    log: bool = False
    step: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _sound(self) -> IntRange:
        _check_ends(self.low, self.high)
        if self.log and self.low < 1:
            raise ValueError(f"log needs low >= 1, got {self.low}")
        if self.log and self.step != 1:
            raise ValueError("log and step exclude each other; remove one")
        if (self.high - self.low) % self.step:
            highest = self.high - (self.high - self.low) % self.step
            raise ValueError(f"high {self.high} is not on the steps of {self.step} from {self.low}; try {highest}")
        return self

    def grid(self) -> list[Any] | None:
        """Every value."""
        return list(range(self.low, self.high + 1, self.step))

    def holds(self, value: Any) -> bool:
        """Whether the value is one that could be drawn."""
        return isinstance(value, int) and not isinstance(value, bool) and value in range(
            self.low, self.high + 1, self.step
        )  # fmt: skip


class Choices(StrictModel):
    """One of several values: names, numbers, or lists of them (layer widths)."""

    kind: Literal["categorical"]
    choices: Annotated[tuple[Scalar | list[Scalar], ...], Field(strict=False, min_length=2)]

    @model_validator(mode="after")
    def _sound(self) -> Choices:
        if len({repr(choice) for choice in self.choices}) != len(self.choices):
            raise ValueError(f"choices must differ from each other, got {list(self.choices)}")
        return self

    def grid(self) -> list[Any] | None:
        """Every value."""
        return list(self.choices)

    def holds(self, value: Any) -> bool:
        """Whether the value is one of them; 1 is not True, and 1.0 is 1."""
        return any(choice == value and isinstance(choice, bool) == isinstance(value, bool) for choice in self.choices)


Dimension = Annotated[FloatRange | IntRange | Choices, Field(discriminator="kind")]


class ModelChoices(StrictModel):
    """One of several values, each with a space of its own that is searched where it is chosen."""

    kind: Literal["models"]
    choices: dict[str, dict[str, Dimension]] = Field(min_length=2)
    """Value -> key of the pipeline file -> its range. What a value does not name stays as it is in the file."""


class SearchAxis(NamedTuple):
    """A range that values are drawn from."""

    key: str  # of the pipeline file
    range: FloatRange | IntRange | Choices
    of: tuple[str, str] | None = None  # key and value with which alone it is searched

    @property
    def name(self) -> str:
        """Its own among all axes: two models may have ranges of one key."""
        return self.key if self.of is None else f"{self.key} of {self.of[1]}"

    def applies(self, values: Mapping[str, Any]) -> bool:
        """Whether it is searched beside these values."""
        return self.of is None or values.get(self.of[0]) == self.of[1]


def _check_ends(low: float, high: float) -> None:
    if low >= high:
        raise ValueError(f"low must be below high, got {low} and {high}")


class MedianPruning(StrictModel):
    """End a trial whose best value so far is worse than the median of the others at the same epoch."""

    kind: Literal["median"]
    startup_trials: int = Field(default=4, ge=1)
    """Trials that must have ended before any is pruned."""
    warmup_epochs: int = Field(default=2, ge=0)
    """Epochs that every trial gets."""


class HyperbandPruning(StrictModel):
    """Successive halving in several brackets (Li et al., JMLR 18(185), 2018)."""

    kind: Literal["hyperband"]
    minimum_epochs: int = Field(default=1, ge=1)
    reduction_factor: int = Field(default=3, ge=2)


class NoPruning(StrictModel):
    """Every trial trains to its end."""

    kind: Literal["none"]


Pruning = Annotated[MedianPruning | HyperbandPruning | NoPruning, Field(discriminator="kind")]


class TuneConfig(StrictModel):
    """A study: the search space and how it is searched."""

    BUDGET: ClassVar[frozenset[str]] = frozenset({"trials", "timeout_seconds", "parallel", "schedule"})

    metric: str
    """A metric of the task, over the scoring rows; the registry of metrics says which direction is better."""
    space: dict[str, Annotated[FloatRange | IntRange | Choices | ModelChoices, Field(discriminator="kind")]] = Field(
        min_length=1
    )
    """Key of the pipeline file (`train.*` or `workload.parameters.*`) -> its range."""
    trials: int = Field(default=20, ge=1, le=100_000)
    """Of the whole study, the one of the file's own values included."""
    timeout_seconds: float | None = Field(default=None, gt=0)
    """Of one run of the study; trials under way are ended and go on in the next."""
    parallel: Annotated[int, Field(ge=1, le=1024)] | Literal["auto"] = "auto"
    """Trials side by side; auto fills the cores, or the GPUs where there are any."""
    sampler: Literal["tpe", "random", "grid"] = "tpe"
    startup_trials: int = Field(default=8, ge=1)
    """For `tpe`: trials drawn at random before the model of the space is used."""
    pruning: Pruning = MedianPruning(kind="median")
    rows: Literal["validation", "holdout"] = "validation"
    """What trials are scored on: the validation rows, or a part cut from the training rows for the study alone."""
    holdout: float = Field(default=0.2, gt=0, lt=1)
    """For `rows: holdout`: share of the training rows (whole groups) that is scored on."""
    warm_start: Literal["none", "champion"] = "none"
    """Where every trial begins."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    """Of the search. Another seed is another study; the seed of training stays that of the file."""
    schedule: ScheduleRef | None = None
    """When the study goes on by itself."""

    @model_validator(mode="after")
    def _each_key_once(self) -> TuneConfig:
        owner: dict[str, str] = dict.fromkeys(self.space, "")
        for axis in self.axes():
            if axis.of is not None and owner.setdefault(axis.key, axis.of[0]) != axis.of[0]:
                place = owner[axis.key] or "the space itself"
                raise ValueError(f"space.{axis.of[0]}.{axis.of[1]}: {axis.key} is searched by {place}, too; remove one")
        return self

    @model_validator(mode="after")
    def _listable(self) -> TuneConfig:
        if self.sampler != "grid":
            return self
        for axis in self.axes():
            if axis.range.grid() is None:
                raise ValueError(f"sampler grid needs a step at space.{axis.name}, or another sampler")
        if sum(1 for _ in islice(self.points(), MOST_POINTS + 1)) > MOST_POINTS:
            raise ValueError(f"the grid has more than {MOST_POINTS} points; take larger steps or another sampler")
        return self

    def axes(self) -> list[SearchAxis]:
        """Every range, by key; those of a model behind all that decide whether they apply."""
        found, own = list[SearchAxis](), list[SearchAxis]()
        for key, dimension in sorted(self.space.items()):
            if isinstance(dimension, ModelChoices):
                found.append(SearchAxis(key, Choices(kind="categorical", choices=tuple(dimension.choices))))
                for value, space in dimension.choices.items():
                    own += [SearchAxis(inner, one, (key, value)) for inner, one in sorted(space.items())]
            else:
                found.append(SearchAxis(key, dimension))
        return [*found, *own]

    def keys(self) -> list[str]:
        """Of the pipeline file, that some trial may vary."""
        return list(dict.fromkeys(axis.key for axis in self.axes()))

    def points(self) -> Iterator[dict[str, Any]]:
        """Of the grid, one by one, where every range can be listed."""
        yield from _expanded(self.axes(), {})

    def identity(self) -> dict[str, Any]:
        """What makes a study the same study; its budget may grow."""
        return self.model_dump(mode="json", exclude=set(self.BUDGET))


def _expanded(axes: list[SearchAxis], values: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if not axes:
        yield values
    elif not axes[0].applies(values):
        yield from _expanded(axes[1:], values)
    else:
        for value in axes[0].range.grid() or ():
            yield from _expanded(axes[1:], {**values, axes[0].key: value})

"""The workload: the Python side of a pipeline.

A user's own model is a subclass named in the pipeline file as ``package.module:Class``. Everything the road
knows of a task comes from here; nothing outside may assume a class label.

Shape legend: B rows, C classes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from mlratchet.models.objectives.base import Objective, Task
from mlratchet.models.objectives.naming import objective_of
from mlratchet.models.schema.fields import Schema
from mlratchet.models.schema.numbers import Mark
from mlratchet.models.sources.base import Example, Format, placed
from mlratchet.models.sources.formats import open_source, read_examples
from mlratchet.models.sources.record import InputSpec, RawObject, Record, Reject, Target, named_input, target_names
from mlratchet.models.tensors.spec import TensorSpec, takes_one

if TYPE_CHECKING:  # a command that only reads the ledger does not wait for torch
    import torch
    from mlratchet.models.sources.record_table import RecordPiece
    from torch import nn

__all__ = ["InputSpec", "RawObject", "Record", "Reject", "Target", "Task", "TensorSpec", "Workload", "target_names"]

PREPARED = "standardise_"  # begins the names of buffers that a preparation fitted
MEAN, SCALE = f"{PREPARED}mean", f"{PREPARED}scale"  # (F,) of them, where the input has columns


OF_THE_FIRST_DELIVERY = ("identity_columns", "number_marks", "time_formats")
"""What `records` finds in `source` beside the options."""


def declared_marks(source: Mapping[str, Any], columns: tuple[str, ...]) -> dict[str, Mark]:
    """What stands under `source.decimal`, by column."""
    declared: Mark | Mapping[str, Mark] = source.get("decimal") or {}
    return dict(declared) if isinstance(declared, Mapping) else dict.fromkeys(columns, declared)


@dataclass(frozen=True, kw_only=True)
class CarriedOver:
    """The tensors of a parent as another model takes them."""

    tensors: dict[str, torch.Tensor]
    changed: set[str]  # names of those that are not as they were


class Workload(ABC):
    """Model and preprocessing; `task` says what is learnt, and so loss, metrics and the meaning of the output.

    The module returned by `build_model` takes one tensor of shape (B, *input_spec().shape), or those of `tensors` by
    name, and gives logits (B, C) for classification and multi-label, (B,) or (B, 1) for regression and the score of a
    ranking. Normalisation belongs inside the module, so that the exported program takes what a client has. The records
    of a ranking name their query in `columns["@group"]`, and as their `group`, so that a query stays on one side of the
    split.
    """

    task: Task
    """classification, multi_label, regression, ranking; or a class of `Objective`, or its ``package.module:Class``."""
    files: ClassVar[tuple[str, ...]] = ()
    """Files that decide the rows or the model, e.g. ``("vocab.json",)``, relative to the module of the class: whoever
    changes one trains again. Modules that are imported under a name made at run time can be named here, too."""
    formats: ClassVar[tuple[type[Format] | str, ...]] = ()
    """Built-in formats that `examples` reads, its default first; empty: `records` reads objects by itself. One that is
    named (`"parquet"`) decides the rows of those pipelines alone that read it."""

    @property
    def objective(self) -> Objective:
        """Of the task. Raises ``ConfigurationError`` for a task that there is not."""
        return objective_of(self.task)

    @property
    def has_own_loss(self) -> bool:
        """Whether `loss` is not the objective's."""
        return type(self).loss is not Workload.loss

    def input_spec(self) -> InputSpec:
        """Shape and type of one row; override it, or `tensors`."""
        if type(self).tensors is Workload.tensors:
            raise TypeError(f"{type(self).__name__} says nowhere what its model takes: write input_spec or tensors")
        return named_input(tuple(self.tensors()))

    def tensors(self) -> tuple[TensorSpec, ...]:
        """What one row is made of, by name: by default the one tensor of `input_spec`.

        A workload that overrides this has records whose `x` maps each name to its array, and `forward(self, user,
        item)` takes them by name; one tensor that is not ragged is given alone, `forward(self, x)`. A ragged tensor,
        whose rows have lengths of their own, comes padded with zeros, (B, T, *shape), beside ``<name>_lengths`` (B,)
        where `forward` takes that too: what stands behind a row's end is for the model to leave out.
        """
        return self.input_spec().specs

    @property
    def takes_one(self) -> bool:
        """Whether the model takes one tensor, and no names."""
        return takes_one(self.tensors())

    @abstractmethod
    def class_names(self) -> tuple[str, ...]:
        """Names by class or label index; empty for regression and ranking."""

    @abstractmethod
    def records(
        self, objects: list[RawObject], fetch: Callable[[RawObject], bytes], source: Mapping[str, Any]
    ) -> Iterator[Record | Reject]:
        """Read the objects of a snapshot. `source` is what stands under `source` in the pipeline file.
        `examples` reads them in its format.

        `fetch` returns the verified bytes of an object and may be called from several threads.
        """

    def record_pieces(
        self,
        objects: list[RawObject],  # noqa: ARG002 - for who has tables
        fetch: Callable[[RawObject], bytes],  # noqa: ARG002
        source: Mapping[str, Any],  # noqa: ARG002
    ) -> Iterator[RecordPiece] | None:
        """What `records` gives, as tables, where a workload has that; None says that it has records alone."""
        return None

    def examples(
        self,
        objects: list[RawObject],
        fetch: Callable[[RawObject], bytes],
        source: Mapping[str, Any],
        *,
        columns: Sequence[str] = (),
    ) -> Iterator[Example | Reject]:
        """The objects as examples of the source's format, with the cells of `columns`, for `records`."""
        options = {name: value for name, value in source.items() if name not in OF_THE_FIRST_DELIVERY}
        return placed(read_examples(open_source(options, self.formats), objects, fetch, columns=columns))

    @abstractmethod
    def build_model(self) -> nn.Module:
        """A fresh module; the caller has seeded torch."""

    def prepared_model(self) -> nn.Module:
        """`build_model` with what it keeps of the training rows: this is what trains, is exported and serves."""
        return self.build_model()

    def fit_preparation(
        self,
        module: nn.Module,  # noqa: ARG002 - a table's to fill
        x: Any,  # noqa: ARG002
        y: np.ndarray[Any, Any],  # noqa: ARG002
    ) -> None:
        """Set what `prepared_model` keeps, from the training rows and their targets alone: an array (N, *shape), or
        `Inputs` of those that have names.

        Called on every process before anything trains; a resume and a warm start then put theirs in its place.
        """
        return

    def neutral_preparation(self, columns: tuple[str, ...]) -> dict[str, torch.Tensor]:  # noqa: ARG002
        """What a model without a preparation would keep, over these columns: a warm start from it goes on as it was."""
        return {}

    def carried_over(
        self,
        module: nn.Module,  # noqa: ARG002 - of what has a fitted preparation
        parent: Mapping[str, torch.Tensor],  # noqa: ARG002
        example: Mapping[str, str],  # noqa: ARG002
    ) -> CarriedOver | None:
        """The tensors of a parent whose preparation was fitted to other rows, as the fresh `module` takes them; None
        where they are taken as they are. `example`: `schema`, `preparation` and `fitted` of the parent.

        Raises ``DataError`` where nobody can say what becomes of them.
        """
        return None

    def identity_columns(
        self,
        objects: list[RawObject],  # noqa: ARG002 - a table's to read
        fetch: Callable[[RawObject], bytes],  # noqa: ARG002
        source: Mapping[str, Any],  # noqa: ARG002
    ) -> tuple[str, ...]:
        """Columns of a delivery whose raw cells say who a row is: all but label and id; none of what is no row.

        Asked once, of a pipeline's first delivery; `records` then finds them as `source["identity_columns"]`.
        """
        return ()

    def number_columns(self, source: Mapping[str, Any]) -> tuple[str, ...]:
        """Columns that hold numbers: a table's inputs, and what is predicted where it has no names; of a schema those
        whose decimal mark it leaves open; none of what is no table."""
        spec = self.input_spec()
        if spec.example is not None:
            fields = Schema.model_validate_json(spec.example.schema).fields
            return tuple(name for name, one in fields.items() if one.kind == "number" and one.decimal is None)
        if spec.kind != "table":
            return ()
        target = () if self.class_names() else (str(source.get("label_column", "label")),)
        return tuple(dict.fromkeys((*spec.columns, *target)))

    def number_marks(
        self,
        objects: list[RawObject],  # noqa: ARG002 - a table's to read
        fetch: Callable[[RawObject], bytes],  # noqa: ARG002
        source: Mapping[str, Any],  # noqa: ARG002
    ) -> dict[str, Mark]:
        """The decimal marks of a delivery's number columns; none of what is no table.

        Asked of a pipeline's first delivery, and of a later one while nothing is known of a column, with what is known
        in `source["number_marks"]`; `records` then finds them there.
        """
        return {}

    @property
    def reads_objects_alone(self) -> bool:
        """Whether what becomes of an object is a function of it, of the source and of what the first delivery decided,
        wherever its format reads each by itself: readings are then kept."""
        return False

    def time_columns(self) -> tuple[str, ...]:
        """Columns that hold times whose format the schema leaves open; none without a schema."""
        about = self.input_spec().example
        fields = Schema.model_validate_json(about.schema).fields if about is not None else {}
        return tuple(name for name, one in fields.items() if one.kind == "time" and one.format is None)

    def time_formats(
        self,
        objects: list[RawObject],  # noqa: ARG002 - of a schema's columns
        fetch: Callable[[RawObject], bytes],  # noqa: ARG002
        source: Mapping[str, Any],  # noqa: ARG002
    ) -> dict[str, str]:
        """The formats of a delivery's `time_columns`, asked for as `number_marks`, with `source["time_formats"]`."""
        return {}

    def augment(self, x: Any, rng: np.random.Generator) -> Any:  # noqa: ARG002
        """Random changes to training rows (B, *shape), or to arrays by name as `forward` gets them, drawn from `rng`
        alone: it depends on seed, step and shard, so that a resume draws the same. Override it; this one changes
        nothing."""
        return x

    def loss(self, output: torch.Tensor, target: torch.Tensor, *, label_smoothing: float) -> torch.Tensor:
        """Mean loss over the rows (scalar), by default the objective's. Of a ranking the target is (B, 2): relevance,
        number of the query."""
        return self.objective.loss(output, target, label_smoothing=label_smoothing)

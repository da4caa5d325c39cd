"""A model of a schema's fields: read, prepared, trained and served by what a pipeline file says, without code.

Records hold examples as clients send them; a preparation, fitted on the training rows, makes the tensors that the
network takes. Until it is fitted, a row is the bytes of its example.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from mlratchet.models.errors import DataError
from mlratchet.models.networks.build import NetworkInput, NetworkOptions, build_network
from mlratchet.models.networks.trunks import Alone
from mlratchet.models.ports.reading import side_by_side
from mlratchet.models.preparation.base import CATEGORIES, NUMBERS, State
from mlratchet.models.preparation.composed import PreparationPlan
from mlratchet.models.preparation.section import PreparationSection
from mlratchet.models.schema.cells import one_array
from mlratchet.models.schema.fields import Schema
from mlratchet.models.schema.notation import WHERE, Notation, See, as_logged, declared
from mlratchet.models.schema.numbers import Mark
from mlratchet.models.schema.typing import GROUP, LABEL, typed
from mlratchet.models.sources.csv import Csv
from mlratchet.models.sources.formats import open_source, read_tables
from mlratchet.models.sources.image_folder import ImageFolder
from mlratchet.models.sources.images import Images
from mlratchet.models.sources.jsonl import Jsonl
from mlratchet.models.sources.log_rows import OBJECT
from mlratchet.models.sources.parquet import Parquet
from mlratchet.models.sources.pieces import RawPiece
from mlratchet.models.sources.ranged import opening
from mlratchet.models.sources.record import ExampleSpec, InputSpec, RawObject, Record, Reject, Target
from mlratchet.models.sources.record_table import (
    RecordPiece,
    read_one_by_one,
    without_rows,
)
from mlratchet.models.sources.stored_examples import UNPREPARED
from mlratchet.models.tensors.spec import TensorSpec
from mlratchet.models.workloads.augment import Augmentation
from mlratchet.models.workloads.base import OF_THE_FIRST_DELIVERY, CarriedOver, Workload, declared_marks
from mlratchet.models.workloads.guarded import refusal_of
from mlratchet.models.workloads.label_target import class_names_of, holds_several, target_reader, task_of
from mlratchet.models.workloads.refitted import refitting
from mlratchet.models.workloads.schema_rows import record_table
from mlratchet.models.workloads.standardise import attach_target, fit_target, neutral_target
from pydantic import ValidationError
from torch import nn

Trunk = Literal["auto", "mlp", "resnet", "ft_transformer", "matrix_factorisation", "two_towers", "dlrm"]


class SchemaWorkload(Workload):
    """What `schema` and `preparation` of a pipeline file say, with a network of `models/networks`.

    The label says the task: a category is a classification of its `values`, one with `several` values or `labels` a
    multi-label, a number a regression, or with ``task="ranking"`` a relevance within its group. To bring your own
    network subclass it and override `build_network`.
    """

    formats = (
        Csv, Parquet, Jsonl, ImageFolder, Images, "audio_folder", "audio", "fasta", "ratings", "webdataset", "joined",
    )  # fmt: skip

    def __init__(
        self,
        *,
        schema: dict[str, Any],
        preparation: dict[str, Any] | None = None,
        model: Trunk = "auto",
        encoders: dict[str, str] | None = None,
        hidden: list[int] | None = None,
        width: int = 64,
        depth: int = 2,
        dropout: float = 0.1,
        kernel: int = 5,
        picture_width: int = 24,
        sides: dict[str, str] | None = None,
        task: Literal["ranking"] | None = None,
        augment: dict[str, dict[str, Any]] | None = None,
        fitted: str | None = None,
    ) -> None:
        """As `NetworkOptions` has them; `sides`: field -> the entity that it tells of; `task`: where the label does not
        say it; `augment`: field -> random changes to training rows. `schema` and `preparation` are those of the
        pipeline file, `fitted` is set by a run: what the preparation was fitted to, in base64."""
        try:
            self.schema = Schema.model_validate(schema)
            self.section = PreparationSection.model_validate(preparation or {})
            self.options = NetworkOptions(
                model=model, encoders=encoders or {}, width=width, depth=depth, dropout=dropout, kernel=kernel,
                hidden=NetworkOptions().hidden if hidden is None else tuple(hidden), picture_width=picture_width,
            )  # fmt: skip
        except ValidationError as error:
            first = error.errors()[0]
            raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
        self.augmentation = Augmentation(self.schema, augment or {})
        self.sides = dict(sides or {})
        self._fitted = fitted
        if not self.has_own_task:
            self.task = task_of(self.schema, task)
        elif self.schema.label is None:
            raise ValueError("schema.label: nothing is learnt without; name the field that holds it")

    @property
    def has_own_task(self) -> bool:
        """Whether a subclass says what is learnt (`task = Boxes`): its label is then of any kind, and `target` reads
        it."""
        return getattr(type(self), "task", None) is not None

    def target(self, label: Any) -> Target:
        """What is learnt of a row, from its typed label. Override it beside `task`. Raises ``ValueError`` saying what
        is wrong with a label, and the row is set aside."""
        return self._target(label)

    @cached_property
    def plan(self) -> PreparationPlan:
        """How fields become tensors."""
        return PreparationPlan(self.schema, self.section)

    @cached_property
    def state(self) -> State | None:
        """What the preparation was fitted to; None before it was."""
        return State.from_bytes(base64.b64decode(self._fitted)) if self._fitted is not None else None

    def class_names(self) -> tuple[str, ...]:
        """The values of the label, or the labels; none of a number."""
        return class_names_of(self.schema)

    def tensors(self) -> tuple[TensorSpec, ...]:
        """What the preparation gives; before it is fitted, the bytes of an example."""
        return self.plan.tensors(self.state) if self.state is not None else (UNPREPARED,)

    def input_spec(self) -> InputSpec:
        """With everything that it takes to prepare an example of a client."""
        about = ExampleSpec(
            schema=self.schema.model_dump_json(exclude_defaults=True),
            preparation=self.section.model_dump_json(exclude_defaults=True),
            fitted=self._fitted or "",
        )
        return InputSpec(kind="named", shape=(), dtype="float32", tensors=self.tensors(), example=about)

    def build_model(self) -> nn.Module:
        """The network over the tensors of the preparation. Raises ``DataError`` before that is fitted."""
        inputs = self.network_inputs()
        network = self.build_network(inputs, len(self.class_names()) or 1)
        return Alone(network, inputs[0].name) if self.takes_one else network

    def build_network(self, inputs: Sequence[NetworkInput], outputs: int) -> nn.Module:
        """A fresh network: named tensors to (B, outputs)."""
        return build_network(inputs, self.options, outputs)

    def network_inputs(self) -> tuple[NetworkInput, ...]:
        """What a network has to know of each tensor."""
        if self.state is None:
            raise DataError("the preparation of this workload is not fitted: a run fits it on the training rows")
        features, found = self.plan.features(self.state), []
        for spec in self.plan.tensors(self.state):
            own = [one for one in features if one.tensor == spec.name]
            codes = tuple(one.size for one in own if one.size is not None)
            field = self.schema.fields.get(own[0].field) if own else None
            kind: Any = {NUMBERS: "numbers", CATEGORIES: "categories"}.get(spec.name)
            if kind is None and spec.ragged:
                kind = "tokens" if codes else "steps"
            elif kind is None:
                kind = {"image": "picture", "entity": "entity"}.get(field.kind if field else "", "numbers")
            sides = {self.sides.get(one.field, "") for one in own}
            side = sides.pop() if len(sides) == 1 else ""
            found.append(NetworkInput(name=spec.name, kind=kind, shape=spec.shape, codes=codes, side=side))
        return tuple(found)

    @property
    def _scales_target(self) -> bool:
        return self.objective.target_on_a_scale and type(self).loss is Workload.loss

    def prepared_model(self) -> nn.Module:
        """With what is learnt on a scale of its own, where it is a number."""
        module = self.build_model()
        return attach_target(module) if self._scales_target else module

    def fit_preparation(self, module: nn.Module, x: Any, y: np.ndarray[Any, Any]) -> None:  # noqa: ARG002
        """Mean and scale of a number that is learnt."""
        fit_target(module, y)

    def neutral_preparation(self, columns: tuple[str, ...]) -> dict[str, torch.Tensor]:  # noqa: ARG002
        """The target as it is."""
        return neutral_target() if self._scales_target else {}

    def augment(self, x: Any, rng: np.random.Generator) -> Any:
        """As `augment` of the pipeline file says; a subclass can override it."""
        return self.augmentation.changed(x, rng, [one.name for one in self.tensors()])

    def carried_over(
        self, module: nn.Module, parent: Mapping[str, torch.Tensor], example: Mapping[str, str]
    ) -> CarriedOver | None:
        """Codes by what they stand for, numbers by their scale."""
        found = refitting(self, module, example)
        return found.carried(parent, module.state_dict()) if found is not None else None

    def identity_columns(
        self, objects: list[RawObject], fetch: Callable[[RawObject], bytes], source: Mapping[str, Any]
    ) -> tuple[str, ...]:
        """Every column of a table but label, id and group; of a ranking the group, too: each query has its own rows."""
        pieces = self._pieces(objects, fetch, source)
        names = {name for one in pieces if isinstance(one, RawPiece) for name in one.table.column_names}
        aside = {*self.schema.targets, self.schema.id, None if self.objective.by_query else self.schema.group}
        return tuple(sorted(name for name in names - aside if name is not None and not name.startswith("@")))

    def records(
        self, objects: list[RawObject], fetch: Callable[[RawObject], bytes], source: Mapping[str, Any]
    ) -> Iterator[Record | Reject]:
        """A record per example that keeps the rules of the schema; the others are set aside with field and rule.

        Raises ``DataError`` for a column whose numbers or times can be read in two ways.
        """
        return read_one_by_one(self._read(objects, fetch, source))

    def record_pieces(
        self, objects: list[RawObject], fetch: Callable[[RawObject], bytes], source: Mapping[str, Any]
    ) -> Iterator[RecordPiece] | None:
        """The same column by column; None where a subclass reads records of its own."""
        own = type(self).records is not SchemaWorkload.records
        return None if own else self._read(objects, fetch, source)

    @property
    def reads_objects_alone(self) -> bool:
        """As long as rows are read here, and no row says of what size the targets of others are."""
        return type(self).records is SchemaWorkload.records and not self.has_own_task

    def _read(
        self, objects: list[RawObject], fetch: Callable[[RawObject], bytes], source: Mapping[str, Any]
    ) -> Iterator[RecordPiece]:
        read = partial(self._pieces, objects, fetch, source)
        recorded = self._recorded(source)
        held = See(self.schema, recorded) if recorded is not None else None
        pieces: Iterable[RawPiece | Reject]
        if recorded is not None:
            notation, pieces = declared(self.schema, recorded), read()
        else:
            notation, pieces = self._told(read, source)
        size: list[tuple[int, ...]] = []  # of a sequence or set that is learnt, as the first row has it
        first = tuple(source.get("identity_columns") or ())

        def stretches() -> Iterator[Reject | tuple[pa.Table, Notation]]:
            for piece in pieces:
                if isinstance(piece, Reject):
                    yield piece
                    continue
                raw, logged = self._named(piece.table), _is_logged(piece, source)
                if held is not None and not logged:
                    held.add(raw)  # raises where it is written otherwise than before
                how = as_logged(self.schema) if logged else notation
                most = min(STRETCH_ROWS, max(1, STRETCH_BYTES * raw.num_rows // max(1, raw.nbytes)))
                for at in range(0, max(1, raw.num_rows), most):
                    yield raw.slice(at, most), how

        def checked(one: Reject | tuple[pa.Table, Notation]) -> RecordPiece:
            if isinstance(one, Reject):
                return RecordPiece(table=None, rejects=((0, one),))
            return self._checked(*one, first, size)

        # the code of a user, which may keep something between two rows, is called by one thread in their order
        alone = self.has_own_task or bool(self.section.own)
        yield from map(checked, stretches()) if alone else side_by_side(checked, stretches(), readers=2, ahead=2)

    def _checked(
        self, raw: pa.Table, notation: Notation, first: Sequence[str], size: list[tuple[int, ...]]
    ) -> RecordPiece:
        """The rows that keep the rules, and the others."""
        table, rejects = typed(raw, self.schema, notation)
        unfit = self.plan.refused(table)
        table = without_rows(table, WHERE, {one.where for one in unfit})
        if self.objective.by_query and not {GROUP} & {*raw.column_names, *table.column_names}:
            raise DataError("a ranking needs the query of every row; name its column in schema.group")
        targets, wrong = self._targets(table, size)
        table = without_rows(table, WHERE, {one.where for one in wrong})
        records = record_table(raw, table, targets, self.schema, first) if table.num_rows else None
        return RecordPiece(table=records, rejects=tuple((0, one) for one in (*rejects, *unfit, *wrong)))

    def _pieces(
        self, objects: list[RawObject], fetch: Callable[[RawObject], bytes], source: Mapping[str, Any]
    ) -> Iterator[RawPiece | Reject]:
        options = {name: value for name, value in source.items() if name not in OF_THE_FIRST_DELIVERY}
        yield from read_tables(open_source(options, self.formats), objects, opening(fetch))

    def number_marks(
        self, objects: list[RawObject], fetch: Callable[[RawObject], bytes], source: Mapping[str, Any]
    ) -> dict[str, Mark]:
        """By the cells, unless they are declared or known."""
        found = self._told(partial(self._pieces, objects, fetch, source), source)[0].decimal
        return {name: found[name] for name in self.number_columns(source) if name in found}

    def time_formats(
        self, objects: list[RawObject], fetch: Callable[[RawObject], bytes], source: Mapping[str, Any]
    ) -> dict[str, str]:
        """By the cells, unless they are known."""
        found = self._told(partial(self._pieces, objects, fetch, source), source)[0].times
        return {name: found[name] for name in self.time_columns() if name in found}

    def _known(self, source: Mapping[str, Any]) -> Notation:
        """As declared in the source, else as an earlier delivery told it."""
        marks = {name: mark for name, mark in (source.get("number_marks") or {}).items() if mark}
        marks |= declared_marks(source, self.number_columns(source))
        return Notation(decimal=marks, times={n: f for n, f in (source.get("time_formats") or {}).items() if f})

    def _recorded(self, source: Mapping[str, Any]) -> Notation | None:
        """As the pipeline's deliveries told it; None where one column was never asked for: this delivery tells then."""
        marks, formats = source.get("number_marks") or {}, source.get("time_formats") or {}
        known = self._known(source)
        if not {*marks, *known.decimal, *formats}.issuperset((*self.number_columns(source), *self.time_columns())):
            return None
        # that a column had whole numbers alone holds as well: a comma in a later one has to be told
        return Notation(decimal={**marks, **known.decimal}, times=known.times)

    def _told(
        self, read: Callable[[], Iterator[RawPiece | Reject]], source: Mapping[str, Any]
    ) -> tuple[Notation, Iterable[RawPiece | Reject]]:
        """As these objects tell it; and the pieces, which are read once more where they are more than are kept at
        hand."""
        sight = See(self.schema, self._known(source))
        held: list[RawPiece | Reject] = []
        size = 0
        for piece in read():
            if isinstance(piece, RawPiece):
                if not _is_logged(piece, source):
                    sight.add(self._named(piece.table))
                size += piece.table.nbytes
            held.append(piece)
            if size > AT_HAND_BYTES:
                held = []
        return sight.decide(), held if size <= AT_HAND_BYTES else read()

    def _named(self, table: pa.Table) -> pa.Table:
        """A label that the format says, under the name that the schema gives it."""
        if (
            self.schema.label is not None
            and LABEL in table.column_names
            and self.schema.label not in table.column_names
        ):
            return table.rename_columns([self.schema.label if name == LABEL else name for name in table.column_names])
        return table

    @cached_property
    def _target(self) -> Callable[[Any], Target]:
        return target_reader(self.class_names(), several=holds_several(self.schema))

    def _targets(
        self, table: pa.Table, size: list[tuple[int, ...]]
    ) -> tuple[Sequence[Target] | pa.Array, list[Reject]]:
        """What is learnt of the rows that are used, and the rows whose label says nothing that can be."""
        labels = one_array(table[LABEL])
        if not self.has_own_task and not holds_several(self.schema):
            names = self.class_names()
            if names:
                return pc.cast(pc.index_in(labels, pa.array(names, labels.type)), pa.int64()), []
            return pc.cast(labels, pa.float64()), []
        found: list[Target] = []
        wrong: list[Reject] = []
        for label, where in zip(labels.to_pylist(), table[WHERE].to_pylist(), strict=True):
            try:
                target = self.target(label)
                if not size:  # a row that is refused says nothing of the others
                    refused = refusal_of(self.objective.refusal, target, self.class_names())
                    if refused:
                        raise ValueError(refused)
                    size.append(np.shape(target))
                if np.shape(target) != size[0]:
                    expected = f"expected {list(size[0])} as in the rows before; fill it up"
                    raise ValueError(f"got {list(np.shape(target))} numbers, {expected}")
                found.append(target)
            except ValueError as error:
                words = f"{where}: label {self.schema.label!r}: {error}"
                wrong.append(Reject(where=where, code="bad_target", reason=words, field=self.schema.label or ""))
        return found, wrong


STRETCH_ROWS, STRETCH_BYTES = 16_384, 4 << 20  # of a piece, at once: texts and digests of records are larger
AT_HAND_BYTES = 32 << 20  # of raw cells, that a delivery is read once up to


def _is_logged(piece: RawPiece, source: Mapping[str, Any]) -> bool:
    """Whether the inference log gave its rows."""
    return source.get("inference_log") is not None and piece.key.startswith(OBJECT)

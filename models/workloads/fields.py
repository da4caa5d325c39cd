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
from mlratchet.models.objectives.base import Task
from mlratchet.models.preparation.base import CATEGORIES, NUMBERS, State
from mlratchet.models.preparation.composed import PreparationPlan
from mlratchet.models.preparation.section import PreparationSection
from mlratchet.models.schema.cells import one_array
from mlratchet.models.schema.fields import Schema
from mlratchet.models.schema.notation import WHERE, Notation, See
from mlratchet.models.schema.typing import GROUP, ID, LABEL, typed
from mlratchet.models.sources.csv import Csv
from mlratchet.models.sources.formats import open_source, read_tables
from mlratchet.models.sources.image_folder import ImageFolder
from mlratchet.models.sources.images import Images
from mlratchet.models.sources.jsonl import Jsonl
from mlratchet.models.sources.parquet import Parquet
from mlratchet.models.sources.pieces import RawPiece
from mlratchet.models.sources.ranged import opening
from mlratchet.models.sources.raw_cells import bytes_of, cells_digests, sha256_of_each
from mlratchet.models.sources.record import ExampleSpec, InputSpec, RawObject, Record, Reject
from mlratchet.models.sources.record_table import (
    CELL,
    REMARKS,
    ROW_COLUMNS,
    TARGET,
    RecordPiece,
    read_one_by_one,
    tabled,
    without_rows,
)
from mlratchet.models.sources.stored_examples import EXAMPLE, UNPREPARED
from mlratchet.models.tensors.named import Inputs, Ragged
from mlratchet.models.tensors.spec import TensorSpec
from mlratchet.models.workloads.base import OF_THE_FIRST_DELIVERY, Workload
from mlratchet.models.workloads.examples import cells_as_text, example_cells, told_cells
from mlratchet.models.workloads.standardise import attach_target, fit_target, neutral_target
from pydantic import ValidationError
from torch import nn

Trunk = Literal["auto", "mlp", "resnet", "ft_transformer", "matrix_factorisation", "two_towers", "dlrm"]


class SchemaWorkload(Workload):
    """What `schema` and `preparation` of a pipeline file say, with a network of `models/networks`.

    The label says the task: a category is a classification of its `values`, a number a regression. To bring your own
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
        sides: dict[str, str] | None = None,
        fitted: str | None = None,
    ) -> None:
        """As `NetworkOptions` has them; `sides`: field -> the entity that it tells of. `schema` and `preparation` are
        those of the pipeline file, `fitted` is set by a run: what the preparation was fitted to, in base64."""
        try:
            self.schema = Schema.model_validate(schema)
            self.section = PreparationSection.model_validate(preparation or {})
            self.options = NetworkOptions(
                model=model, encoders=encoders or {}, hidden=tuple(hidden or NetworkOptions().hidden), width=width,
                depth=depth, dropout=dropout, kernel=kernel,
            )  # fmt: skip
        except ValidationError as error:
            first = error.errors()[0]
            raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
        if self.schema.label is None:
            raise ValueError("schema.label: nothing is learnt without; name the field that holds it")
        self.label = self.schema.fields[self.schema.label]
        if self.label.kind not in ("category", "number"):
            raise ValueError(f"schema.label: {self.schema.label!r} is a {self.label.kind}, expected category or number")
        if self.label.kind == "category" and len(self.label.values or ()) < 2:
            raise ValueError(f"schema.fields.{self.schema.label}.values: a class needs a name; list two or more")
        self.task: Task = "classification" if self.label.kind == "category" else "regression"
        self.sides = dict(sides or {})
        self._fitted = fitted

    @cached_property
    def plan(self) -> PreparationPlan:
        """How fields become tensors."""
        return PreparationPlan(self.schema, self.section)

    @cached_property
    def state(self) -> State | None:
        """What the preparation was fitted to; None before it was."""
        return State.from_bytes(base64.b64decode(self._fitted)) if self._fitted is not None else None

    def class_names(self) -> tuple[str, ...]:
        """The values of the label; none of a number."""
        return self.label.values or () if self.label.kind == "category" else ()

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

    def identity_columns(
        self, objects: list[RawObject], fetch: Callable[[RawObject], bytes], source: Mapping[str, Any]
    ) -> tuple[str, ...]:
        """Every column of a table but label, id and group."""
        pieces = self._pieces(objects, fetch, source)
        names = {name for one in pieces if isinstance(one, RawPiece) for name in one.table.column_names}
        aside = {self.schema.label, self.schema.id, self.schema.group}
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

    def _read(
        self, objects: list[RawObject], fetch: Callable[[RawObject], bytes], source: Mapping[str, Any]
    ) -> Iterator[RecordPiece]:
        read = partial(self._pieces, objects, fetch, source)
        notation, pieces = self._notation(read)
        first = tuple(source.get("identity_columns") or ())
        for piece in pieces:
            if isinstance(piece, Reject):
                yield RecordPiece(table=None, rejects=((0, piece),))
                continue
            raw = self._named(piece.table)
            for at in range(0, max(1, raw.num_rows), STRETCH_ROWS):
                yield self._checked(raw.slice(at, STRETCH_ROWS), notation, first)

    def _checked(self, raw: pa.Table, notation: Notation, first: Sequence[str]) -> RecordPiece:
        """The rows that keep the rules, and the others."""
        table, rejects = typed(raw, self.schema, notation)
        unfit = self.plan.refused(table)
        table = without_rows(table, WHERE, {one.where for one in unfit})
        records = self._records(raw, table, first) if table.num_rows else None
        return RecordPiece(table=records, rejects=tuple((0, one) for one in (*rejects, *unfit)))

    def _pieces(
        self, objects: list[RawObject], fetch: Callable[[RawObject], bytes], source: Mapping[str, Any]
    ) -> Iterator[RawPiece | Reject]:
        options = {name: value for name, value in source.items() if name not in OF_THE_FIRST_DELIVERY}
        yield from read_tables(open_source(options, self.formats), objects, opening(fetch))

    def _notation(
        self, read: Callable[[], Iterator[RawPiece | Reject]]
    ) -> tuple[Notation, Iterable[RawPiece | Reject]]:
        """How numbers and times are written, where the schema leaves it open; and the pieces, which are read once more
        where they are more than are kept at hand."""
        open_ = any(
            (one.kind == "number" and one.decimal is None) or (one.kind == "time" and not one.format)
            for one in self.schema.fields.values()
        )
        sight = See(self.schema)
        if not open_:
            return sight.decide(), read()
        held: list[RawPiece | Reject] = []
        size = 0
        for piece in read():
            if isinstance(piece, RawPiece):
                sight.add(self._named(piece.table))
                size += piece.table.nbytes
            held.append(piece)
            if size > AT_HAND_BYTES:
                held = []
        return sight.decide(), held if size <= AT_HAND_BYTES else read()

    def _named(self, table: pa.Table) -> pa.Table:
        """A label that the format says, under the name that the schema gives it."""
        if LABEL in table.column_names and self.schema.label not in table.column_names:
            return table.rename_columns([self.schema.label if name == LABEL else name for name in table.column_names])
        return table

    def _records(self, raw: pa.Table, table: pa.Table, first: Sequence[str]) -> pa.Table:
        """Of the rows that are used; `raw` holds their cells as they were delivered, and others."""
        used = raw if table.num_rows == raw.num_rows else raw.take(pc.index_in(table[WHERE], raw[WHERE]))
        known = [name for name in used.column_names if not name.startswith("@")]
        aside = {self.schema.label, self.schema.id, self.schema.group}
        who = tuple(name for name in (first or known) if name in known and name not in aside)
        cells = {name: cells_as_text(used[name]) for name in known}
        examples = example_cells(table, self.schema)
        rows = table.num_rows
        identities = pa.array(cells_digests(cells, who, rows), pa.string())
        names = self._role(ID, used, table)
        groups = self._role(GROUP, used, table)
        if groups is None:
            groups = identities if names is None else pa.nulls(rows, pa.string())
        carried = {
            CELL + name: told_cells(one_array(table[name]), field)
            for name, field in self.schema.fields.items()
            if name != self.schema.label and (not field.input or field.kind in SLICED)
        }
        columns: dict[str, Any] = {
            "id": identities if names is None else names,
            "group": groups,
            "content_sha256": pa.array(sha256_of_each(examples), pa.string()),
            "row_digest": identities,
            "raw_digest": pa.array(cells_digests(cells, tuple(self.schema.inputs), rows), pa.string()),
            "where": one_array(table[WHERE]),
            TARGET: self._targets(one_array(table[LABEL])),
            ROW_COLUMNS: pa.array(np.zeros(rows, np.int32)),
            REMARKS: pa.nulls(rows, pa.string()),
            **carried,
        }
        offsets, data = bytes_of(examples)
        begins = np.asarray(offsets, np.int64)
        values = np.frombuffer(data, np.uint8)[begins[0] : begins[-1]]
        inputs = Inputs({EXAMPLE: Ragged(values, begins - begins[0])})
        return tabled(columns, inputs, named=True, row_columns=(who,))

    def _role(self, name: str, used: pa.Table, table: pa.Table) -> pa.Array | None:
        """A name that the format says, else the one of the schema's column."""
        for one in (used, table):
            if name in one.column_names:
                return pc.cast(one_array(one[name]), pa.string())
        return None

    def _targets(self, labels: pa.Array) -> pa.Array:
        if self.class_names():
            return pc.cast(pc.index_in(labels, pa.array(self.class_names(), labels.type)), pa.int64())
        return pc.cast(labels, pa.float64())


SLICED = ("category", "entity")  # kinds of inputs that travel with a row as they are
STRETCH_ROWS = 16_384  # of a piece, that are made records at once: their texts and digests are larger than they
AT_HAND_BYTES = 32 << 20  # of raw cells, that a delivery is read once up to

"""What an example holds: its fields, each with a kind and what may stand in it, and the label, id, group and time.

Said once in a pipeline file, and used by reading, quality, preparation, the server and MLflow's signature.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, get_args

import pydantic
from mlratchet.models.config import StrictModel
from mlratchet.models.moments import us_of
from mlratchet.models.nearest import nearest_hint
from mlratchet.models.schema.time_formats import check_format
from pydantic import ValidationInfo, field_validator

Kind = Literal["number", "category", "text", "image", "audio", "letters", "time", "entity", "tensor"]
KINDS: tuple[Kind, ...] = get_args(Kind)
CELLS: tuple[Kind, ...] = ("number", "category", "text", "letters", "time", "entity")  # kinds that a cell can hold
OPTIONS: Mapping[str, tuple[Kind, ...]] = {  # the kinds that have an option; what stands not here, every kind has
    "minimum": ("number", "time"),
    "maximum": ("number", "time"),
    "values": ("category",),
    "several": ("category",),
    "separator": ("category",),
    "missing": CELLS,
    "unit": ("number", "tensor"),
    "whole": ("number",),
    "decimal": ("number",),
    "format": ("time",),
    "dayfirst": ("time",),
    "alphabet": ("letters",),
    "shape": ("tensor",),
}
ALPHABETS: Mapping[str, str] = {  # IUPAC: the bases, or residues, and what stands for one that is not known
    "dna": "ACGTN",
    "rna": "ACGUN",
    "protein": "ACDEFGHIKLMNPQRSTVWYBZXUOJ*-",
}
YES_OR_NO = 2  # values
RESERVED = "@"  # begins the names of columns that Ratchet adds
Shape = Annotated[tuple[Annotated[int, pydantic.Field(ge=1)], ...], pydantic.Field(strict=False, min_length=1)]
Texts = Annotated[tuple[str, ...], pydantic.Field(strict=False)]


class Field(StrictModel):
    """One field of an example."""

    kind: Kind
    """What stands in it, and so how it is read, checked and prepared."""
    input: bool = True
    """Whether the model is given it. Without, it is read and checked, and travels with the row for slices."""
    nullable: bool = False
    """Whether a record may lack it; without, such a record is set aside."""
    minimum: float | str | None = None
    """Smallest value of a number; of a time the earliest, as ISO 8601 in quotes."""
    maximum: float | str | None = None
    """Largest value of a number; of a time the latest."""
    values: Texts | None = None
    """Of a category: what it can be; a record with another is set aside. null: anything, and what training did not
    see counts as unknown."""
    several: bool = pydantic.Field(default=False, exclude_if=lambda value: not value)
    """Of a category that is learnt: a record has any number of `values`, as a list or parted by `separator`; none where
    it is nullable and not given."""
    separator: str | None = pydantic.Field(default=None, min_length=1, exclude_if=lambda value: value is None)
    """What parts several values in a cell; null: `|`."""
    missing: Texts | None = None
    """Cells that mean "not given", beside the empty one; null: those of the schema."""
    unit: str | None = None
    """In which a number is told, for people."""
    whole: bool = False
    """Of a number: no fraction."""
    decimal: Literal[".", ","] | None = None
    """Decimal mark of a number; null: told by the first delivery."""
    format: str | None = None
    """How a time is written: `iso`, `unix`, `unix_ms`, or as `%d.%m.%Y %H:%M`; null: told by the first delivery."""
    dayfirst: bool | None = None
    """Of a time such as 03/04/2026: true is 3 April, false 4 March; null: told by the first delivery."""
    alphabet: str | None = None
    """Letters that there are: `dna`, `rna`, `protein`, or themselves, as `ACGT`; null: any."""
    shape: Shape | None = None
    """Of a tensor: its dimensions."""
    description: str = ""
    """For people and for the page of the model server."""

    @field_validator(*OPTIONS)
    @classmethod
    def _fits_the_kind(cls, value: Any, info: ValidationInfo) -> Any:
        kind, option = info.data.get("kind"), str(info.field_name)
        if kind is not None and value not in (None, False) and kind not in OPTIONS[option]:
            others = [name for name, kinds in OPTIONS.items() if kind in kinds]
            raise ValueError(f"a {kind} has no {option}; it has {', '.join(others) or 'nothing of its own'}")
        return value

    @field_validator("minimum", "maximum")
    @classmethod
    def _bound_of_the_kind(cls, value: float | str | None, info: ValidationInfo) -> float | str | None:
        kind = info.data.get("kind")
        if kind == "number" and isinstance(value, str):
            raise ValueError("expected a number")
        if kind == "time" and value is not None:
            bound_us(value)
        least = info.data.get("minimum")
        if info.field_name == "maximum" and least is not None and value is not None and _place(least) > _place(value):
            raise ValueError(f"is below minimum {least}")
        return value

    @field_validator("values")
    @classmethod
    def _different(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if value is not None and (not value or len(set(value)) != len(value)):
            raise ValueError("expected one or more different values")
        if value is not None and "" in value:
            raise ValueError("an empty cell is no value; write nullable: true")
        return value

    @field_validator("format")
    @classmethod
    def _readable(cls, value: str | None) -> str | None:
        if value is not None:
            check_format(value)
        return value

    @pydantic.model_validator(mode="after")
    def _whole_field(self) -> Field:
        if self.kind == "tensor" and self.shape is None:
            raise ValueError("a tensor needs its shape, e.g. shape: [3, 4]")
        if self.several and not self.values:
            raise ValueError("several values need names; list them under values")
        if self.separator is not None and not self.several:
            raise ValueError("separator parts several values; write several: true")
        if self.dayfirst is not None and self.format is not None:
            raise ValueError("format says already whether the day is first; leave one of format and dayfirst out")
        return self

    @property
    def letters(self) -> str | None:
        """The alphabet, spelled out; None: any letters."""
        return ALPHABETS.get(self.alphabet, self.alphabet) if self.alphabet is not None else None


class Schema(StrictModel):
    """The fields of an example, and the columns that are more than input."""

    fields: dict[str, Field]
    """By the name of the column, in order."""
    label: str | None = None
    """The field that is learnt; never an input."""
    labels: Texts = pydantic.Field(default=(), exclude_if=lambda value: not value)
    """In place of `label`: fields that each say whether a record has the label of that name: a number (0 or 1), or a
    category of two values, the second of which is yes."""
    id: str | None = None
    """Column of the stable name of a record; null: the name of its file, or the digest of its row."""
    group: str | None = None
    """Column by which records stay together on one side of the split."""
    time: str | None = None
    """The field by which records are ordered."""
    missing: Texts = ()
    """Cells that mean "not given" in every field, beside the empty one."""

    @field_validator("fields")
    @classmethod
    def _named(cls, value: dict[str, Field]) -> dict[str, Field]:
        for name in value:
            if not name.strip() or name != name.strip():
                raise ValueError(f"{name!r} is no name of a column: it is empty, or has blanks around it")
            if name.startswith(RESERVED):
                raise ValueError(f"{name!r}: names with {RESERVED} are Ratchet's own; rename the column")
        if not any(field.input for field in value.values()):
            raise ValueError("no field is an input; expected at least one")
        return value

    @field_validator("label", "time")
    @classmethod
    def _is_a_field(cls, value: str | None, info: ValidationInfo) -> str | None:
        fields: Mapping[str, Field] = info.data.get("fields", {})
        if value is None or not fields:
            return value
        if value not in fields:
            raise ValueError(f"no field {value!r}; {nearest_hint(value, fields)}")
        if info.field_name == "time" and fields[value].kind != "time":
            raise ValueError(f"field {value!r} is a {fields[value].kind}, expected kind: time")
        if info.field_name == "label" and not any(one.input for name, one in fields.items() if name != value):
            raise ValueError(f"without label {value!r} no field is an input; expected at least one")
        return value

    @field_validator("labels")
    @classmethod
    def _say_yes_or_no(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        fields: Mapping[str, Field] = info.data.get("fields", {})
        for name in value if fields else ():
            if name not in fields:
                raise ValueError(f"no field {name!r}; {nearest_hint(name, fields)}")
            field = fields[name]
            if field.kind != "number" and (field.kind != "category" or len(field.values or ()) != YES_OR_NO):
                raise ValueError(
                    f"field {name!r} says neither yes nor no: expected a number, or a category of two values"
                )
        if value and info.data.get("label") is not None:
            raise ValueError("label and labels: one of the two says what is learnt")
        if value and not any(one.input for name, one in fields.items() if name not in value):
            raise ValueError("without labels no field is an input; expected at least one")
        return value

    @pydantic.model_validator(mode="after")
    def _only_labels_are_several(self) -> Schema:
        for name, field in self.fields.items():
            if field.several and name != self.label:
                raise ValueError(f"field {name!r}: only the label can have several values")
        return self

    @field_validator("id", "group")
    @classmethod
    def _is_a_column(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and value in (info.data.get("label"), *info.data.get("labels", ())):
            raise ValueError(f"column {value!r} is the label")
        if value is not None and (not value.strip() or value.startswith(RESERVED)):
            raise ValueError(f"{value!r} is no name of a column")
        return value

    @property
    def inputs(self) -> dict[str, Field]:
        """What the model is given, in order."""
        return {name: field for name, field in self.fields.items() if field.input and name not in self.targets}

    @property
    def targets(self) -> tuple[str, ...]:
        """The fields that say what is learnt."""
        return self.labels if self.label is None else (self.label,)

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that has to be there, once."""
        return tuple(dict.fromkeys([*self.fields, *(name for name in (self.id, self.group) if name is not None)]))

    def missing_in(self, name: str) -> tuple[str, ...]:
        """Cells of a field that mean "not given", beside the empty one."""
        own = self.fields[name].missing if name in self.fields else None
        return self.missing if own is None else own

    def of_kind(self, kind: Kind) -> Iterator[tuple[str, Field]]:
        """Its inputs of one kind."""
        return ((name, field) for name, field in self.inputs.items() if field.kind == kind)


def bound_us(value: float | str) -> int:
    """A bound of a time as microseconds since 1970 in UTC. Raises ``ValueError``."""
    return us_of(str(value))


def _place(bound: float | str) -> float:
    return bound_us(bound) if isinstance(bound, str) else bound

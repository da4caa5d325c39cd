"""The parts that a `preparation:` section makes of a schema's fields, each with its class and all of its options."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlratchet.models.config import StrictModel
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.functions import load_class
from mlratchet.models.nearest import nearest_hint
from mlratchet.models.preparation.base import CATEGORIES, NUMBERS, Preparation, tensor_name
from mlratchet.models.preparation.section import PreparationSection
from mlratchet.models.schema.fields import Field as SchemaField
from mlratchet.models.schema.fields import Kind, Schema
from mlratchet.models.tensors.spec import LENGTHS
from pydantic import ValidationError

HOME = "mlratchet.models.preparation"
BUILT_IN: Mapping[Kind, str] = {
    "number": f"{HOME}.numbers:NumberPreparation",
    "time": f"{HOME}.times:TimePreparation",
    "category": f"{HOME}.categories:CategoryPreparation",
    "entity": f"{HOME}.categories:EntityPreparation",
    "text": f"{HOME}.text:TextPreparation",
    "letters": f"{HOME}.letters:LetterPreparation",
    "image": f"{HOME}.images:ImagePreparation",
    "audio": f"{HOME}.audio:AudioPreparation",
    "tensor": f"{HOME}.arrays:TensorPreparation",
}
"""Kind -> class. Not imported here: what decides a dataset is the preparations that it uses, and no other."""
PACKAGES: Mapping[Kind, tuple[str, ...]] = {
    "text": ("tokenizers",),
    "image": ("pillow",),
    "audio": ("soundfile", "scipy", "numpy"),
}
"""Kind -> packages whose version can change a bit of what it gives."""
RAGGED: tuple[Kind, ...] = ("text", "letters", "audio")  # come with their lengths
SHARED: tuple[Kind, ...] = ("number", "time", "category")  # columns of a tensor that several fields share


@dataclass(frozen=True, kw_only=True)
class PlannedPart:
    """One preparation of a plan, before its class is loaded."""

    name: str  # in messages and in the state
    use: str
    fields: Mapping[str, SchemaField]
    options: Mapping[str, Any]  # JSON values; of a built-in one all of them
    where: str  # in the pipeline file
    packages: tuple[str, ...] = field(default=())

    @property
    def built_in(self) -> bool:
        """Whether Ratchet ships it."""
        return self.use.startswith(f"{HOME}.")

    def load(self) -> Preparation:
        """Raises ``ConfigurationError`` for a class that is not there, or does not take its options."""
        kind = load_class(self.use, Preparation, "preparation")  # type: ignore[type-abstract]  # which, is the question
        return self.made_by(kind)

    def made_by(self, kind: type[Preparation]) -> Preparation:
        """By this class. Raises ``ConfigurationError`` where it does not take the options."""
        return kind(self.fields, validated(kind.Options, self.options, self.where))


def parts_of(schema: Schema, section: PreparationSection) -> tuple[PlannedPart, ...]:
    """Every input once: numbers with the same options together, then each field by itself, then the user's own.

    Raises ``ConfigurationError`` for a section that does not fit the schema.
    """
    inputs = schema.inputs
    _check_names(inputs, section)
    taken = {name for own in section.own.values() for name in own.fields}
    left = {name: one for name, one in inputs.items() if name not in taken and section.fields.get(name) != "drop"}
    parts: dict[tuple[str, str], PlannedPart] = {}
    for name, one in left.items():
        where = f"preparation.fields.{name}" if name in section.fields else f"preparation.kinds.{one.kind}"
        options = _options(name, one, section, where)
        # numbers are prepared together where their options are the same: a vector of them at once
        key = (one.kind, json.dumps(options, sort_keys=True) if one.kind == "number" else name)
        fields = {**(parts[key].fields if key in parts else {}), name: one}
        known = parts[key].name if key in parts else name
        parts[key] = PlannedPart(
            name=known, use=BUILT_IN[one.kind], fields=fields, options=options, where=where,
            packages=PACKAGES.get(one.kind, ()),
        )  # fmt: skip
    own = [
        PlannedPart(
            name=name, use=one.use, fields={field: inputs[field] for field in one.fields}, options=one.options,
            where=f"preparation.own.{name}.options",
        )
        for name, one in section.own.items()
    ]  # fmt: skip
    if not parts and not own:
        raise ConfigurationError("preparation.fields: every input is dropped; leave one")
    order: dict[str, int] = {"number": 0, "time": 1, "category": 2}
    built_in = sorted(parts.items(), key=lambda item: order.get(item[0][0], 3))  # stable: else as in the schema
    _check_tensor_names([one for _, one in built_in])
    return (*(one for _, one in built_in), *own)


def _check_names(inputs: Mapping[str, SchemaField], section: PreparationSection) -> None:
    claimed: dict[str, str] = {name: f"preparation.fields.{name}" for name in section.fields}
    for part, own in section.own.items():
        for name in own.fields:
            if name in claimed:
                raise ConfigurationError(f"preparation.own.{part}.fields: {name!r} stands in {claimed[name]} already")
            claimed[name] = f"preparation.own.{part}.fields"
    for name, where in claimed.items():
        if name not in inputs:
            raise ConfigurationError(f"{where}: no input {name!r} in the schema; {nearest_hint(name, list(inputs))}")


def _options(name: str, one: SchemaField, section: PreparationSection, where: str) -> dict[str, Any]:
    """All of them, the field's own before those of its kind."""
    given = section.fields.get(name, {})
    both = {**section.kinds.get(one.kind, {}), **(given if isinstance(given, dict) else {})}
    kind = load_class(BUILT_IN[one.kind], Preparation, "preparation")  # type: ignore[type-abstract]
    found: dict[str, Any] = validated(kind.Options, both, where).model_dump(mode="json")
    return found


def validated(kind: type[StrictModel], options: Mapping[str, Any], where: str) -> StrictModel:
    """Raises ``ConfigurationError`` with the nearest name for an option that there is not."""
    for name in options:
        if name not in kind.model_fields:
            known = list(kind.model_fields)
            raise ConfigurationError(f"{where}.{name}: no such option; {nearest_hint(name, known)}")
    try:
        return kind.model_validate_json(json.dumps(dict(options)))  # as JSON: a list is a tuple there
    except (ValidationError, TypeError, ValueError) as exc:
        first = exc.errors()[0] if isinstance(exc, ValidationError) else {"loc": (), "msg": str(exc), "input": options}
        place = ".".join([where, *map(str, first["loc"])])
        raise ConfigurationError(f"{place}: {first['msg']}, got {str(first['input'])[:60]!r}") from exc


def _check_tensor_names(parts: list[PlannedPart]) -> None:
    """Raises ``ConfigurationError`` for fields whose tensors would have one name."""
    seen: dict[str, str] = {NUMBERS: "the tensor of all numbers", CATEGORIES: "the tensor of all categories"}
    for part in parts:
        (name, one), *_ = part.fields.items()
        if one.kind in SHARED:
            continue
        tensor = tensor_name(name)
        names = (tensor, f"{tensor}{LENGTHS}") if one.kind in RAGGED else (tensor,)
        clash = next((each for each in names if each in seen), None)
        if clash is not None:
            raise ConfigurationError(
                f"schema.fields.{name}: its tensor would be named {clash!r}, as {seen[clash]}; rename the column"
            )
        seen[tensor] = f"that of field {name!r}"
        if one.kind in RAGGED:
            seen[f"{tensor}{LENGTHS}"] = f"the lengths of field {name!r}"

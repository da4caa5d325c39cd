"""The fields that a client fills in, whatever a model takes: their names and kinds, as forms and tables need them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from mlratchet.models.artifact.signature import Signature
from mlratchet.models.schema.fields import Field, Kind, Schema
from mlratchet.models.sources.record import ExampleSpec

PICTURE = "image_base64"  # the field of a model that takes one picture and no other
CELL_KINDS: tuple[Kind, ...] = ("number", "category", "text", "letters", "time", "entity")
FILE_KINDS: tuple[Kind, ...] = ("image", "audio")


@dataclass(frozen=True, kw_only=True)
class ClientField:
    """One field."""

    name: str
    kind: Kind
    needed: bool = True
    missing: tuple[str, ...] = ()  # cells that mean "not given", beside the empty one
    decimal: str = "."  # mark of a number that is written as text


def client_fields(signature: Signature) -> dict[str, ClientField]:
    """By name, in order; empty where an instance is a nested list without names."""
    spec = signature.input
    if spec.example is not None:
        return dict(_of_schema(spec.example))
    if spec.tensors:
        return {one.name: ClientField(name=one.name, kind="tensor") for one in spec.tensors}
    if spec.kind == "image":
        return {PICTURE: ClientField(name=PICTURE, kind="image")}
    if spec.kind == "table":
        defaults = dict(spec.defaults)
        return {name: ClientField(name=name, kind="number", needed=name not in defaults) for name in spec.columns}
    return {}


@lru_cache(maxsize=64)
def _of_schema(about: ExampleSpec) -> tuple[tuple[str, ClientField], ...]:
    schema = Schema.model_validate_json(about.schema)
    return tuple((name, _client_field(name, field, schema)) for name, field in schema.inputs.items())


def _client_field(name: str, field: Field, schema: Schema) -> ClientField:
    return ClientField(
        name=name,
        kind=field.kind,
        needed=not field.nullable,
        missing=schema.missing_in(name),
        decimal=field.decimal or ".",
    )


def field_of_a_file(fields: Sequence[ClientField], kind: Kind) -> ClientField | None:
    """The field that a body of a picture or sound alone fills: the only one of its kind, and no other is needed."""
    of_kind = [one for one in fields if one.kind == kind]
    others = [one for one in fields if one.kind != kind and one.needed]
    return of_kind[0] if len(of_kind) == 1 and not others else None

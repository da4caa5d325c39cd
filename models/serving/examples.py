"""Requests of a version that prepares examples by its schema: raw values in, the field named that is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlratchet.models.errors import InfrastructureError, RatchetError
from mlratchet.models.ports.children import ForeignCodeError
from mlratchet.models.schema.fields import Schema
from mlratchet.models.schema.request import FieldError, json_schema, parse_examples
from mlratchet.models.serving.refusal import BadRequestError
from mlratchet.models.sources.record import ExampleSpec
from mlratchet.models.tensors.named import Inputs
from mlratchet.models.workloads.examples import ExamplePreparer, preparer_of

WORDS = 200  # characters of a client's own words that an answer repeats


def prepared_rows(
    instances: list[Any], about: ExampleSpec, *, first: int, preparer: ExamplePreparer | None = None
) -> Inputs:
    """The tensors of the instances. `first`: the number of the first one; `preparer`: None: in this process. Raises
    ``BadRequestError``, and ``ForeignCodeError`` where a user's own preparation does not answer."""
    if preparer is None:
        preparer = ours = preparer_of(about)
        few = ours.few(instances)
        if few is not None:
            return few
    try:
        table = parse_examples(instances, preparer.schema)
    except FieldError as error:
        field = f"instances[{first + (error.row or 0)}]{f'.{error.field}' if error.field else ''}"
        words = str(error).rpartition(f"field {error.field!r}: ")[2] if error.field else str(error)
        raise BadRequestError(field[:WORDS], words[:WORDS]) from error
    try:
        return preparer.prepared(table)
    except (ForeignCodeError, InfrastructureError):
        raise  # not the client's fault
    except RatchetError as error:  # which field it is, is asked only now: it decodes every picture and sound again
        for reject in preparer.refused(table):
            raise BadRequestError(f"instances.{reject.field}"[:WORDS], reject.reason[:WORDS]) from error
        raise BadRequestError("instances", str(error)[:WORDS]) from error


def example_schema(about: ExampleSpec) -> dict[str, Any]:
    """The JSON schema of one instance."""
    return json_schema(Schema.model_validate_json(about.schema))


def refused_examples(example: Mapping[str, Any], about: ExampleSpec) -> dict[str, Any]:
    """Instances that must be refused, by what is wrong with them. `example`: one that is not."""
    fields = Schema.model_validate_json(about.schema).inputs
    found: dict[str, Any] = {"a row with a field that nobody knows": {**example, "@": 0}}
    for name, field in fields.items():
        wrong: Any = "text" if field.kind in ("number", "tensor") else 7
        found[f"{name} of another type"] = {**example, name: wrong}
        if not field.nullable:
            found[f"a row without {name}"] = {other: value for other, value in example.items() if other != name}
        break
    return found

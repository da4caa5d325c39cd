"""A proposed schema as YAML, a reason behind every field."""

from __future__ import annotations

from typing import Any

from mlratchet.models.drafting.commented import Commented
from mlratchet.models.schema.fields import Field, Schema
from mlratchet.models.schema.infer import Proposal


def field_document(field: Field) -> dict[str, Any]:
    """What differs from the defaults, the kind first."""
    document = field.model_dump(mode="json", exclude_defaults=True)
    return {"kind": document.pop("kind"), **document}


def write_schema(out: Commented, proposal: Proposal, *, depth: int) -> None:
    """Fields and roles."""
    out.section("fields", f"proposed from {proposal.rows:,} rows; change what is wrong", depth=depth)
    for name, field in proposal.schema.fields.items():
        out.entry(name, field_document(field), proposal.reasons.get(name, ""), depth=depth + 1)
    for name, why in proposal.left_out.items():
        out.remark(f"left out: {name!r} {why}", depth=depth + 1)
    write_roles(out, proposal.schema, depth=depth)


def write_roles(out: Commented, schema: Schema, *, depth: int) -> None:
    """What is more than input."""
    words = {
        "label": "what is learnt",
        "id": "names a row for good: it never changes side between retrains",
        "group": "rows of one stay on one side of the split",
        "time": "orders the rows",
    }
    for role, why in words.items():
        name = getattr(schema, role)
        if name is not None:
            out.entry(role, name, why, depth=depth)
    if schema.labels:
        out.entry("labels", schema.labels, "what is learnt: whether a row has each of them", depth=depth)
    if schema.missing:
        out.entry("missing", schema.missing, 'means "not given" in every field', depth=depth)


def schema_text(schema: Schema, reasons: dict[str, str] | None = None) -> str:
    """A schema file."""
    out = Commented()
    out.section("fields", depth=1)
    for name, field in schema.fields.items():
        out.entry(name, field_document(field), (reasons or {}).get(name, ""), depth=2)
    write_roles(out, schema, depth=1)
    return "".join(line.removeprefix("  ") + "\n" for line in out.text().splitlines())

"""Rows of a schema that keep its rules, as a table of records: who each is, what it holds, what travels with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from mlratchet.models.schema.cell_bytes import ends_and_bytes
from mlratchet.models.schema.cells import one_array
from mlratchet.models.schema.fields import Schema
from mlratchet.models.schema.notation import WHERE
from mlratchet.models.schema.typing import GROUP, ID, TIME
from mlratchet.models.sources.raw_cells import cells_digests, sha256_of_each, within_json
from mlratchet.models.sources.record import Target
from mlratchet.models.sources.record_table import CELL, REMARKS, ROW_COLUMNS, TARGET, tabled, target_cells
from mlratchet.models.sources.stored_examples import EXAMPLE
from mlratchet.models.tensors.named import Inputs, Ragged
from mlratchet.models.workloads.cold_start import carried_fields
from mlratchet.models.workloads.examples import cells_as_text, example_cells, told_cells


def record_table(
    raw: pa.Table, table: pa.Table, targets: Sequence[Target] | pa.Array, schema: Schema, first: Sequence[str]
) -> pa.Table:
    """Of the rows that are used, at least one: `table` holds them typed, `raw` their cells as they were delivered, and
    others. `targets` are theirs; `first`: the columns that say who a row is, of the first delivery, where known."""
    used = raw if table.num_rows == raw.num_rows else raw.take(pc.index_in(table[WHERE], raw[WHERE]))
    known = [name for name in used.column_names if not name.startswith("@")]
    there = set(known) - {*schema.targets, schema.id, schema.group}
    who = tuple(name for name in (first or known) if name in there)
    held = dict(zip(used.column_names, used.columns, strict=True))  # a table looks through all its names for one
    cells = {name: within_json(cells_as_text(held[name])) for name in known}
    examples = example_cells(table, schema)
    rows = table.num_rows
    identities = cells_digests(cells, who, rows)
    of_inputs = {name for name in schema.inputs if name in cells}
    inputs_alone = identities if of_inputs == set(who) else cells_digests(cells, of_inputs, rows)
    names, groups = _role(ID, used, table), _role(GROUP, used, table)
    carried = {CELL + name: told_cells(one_array(table[name]), schema.fields[name]) for name in carried_fields(schema)}
    if groups is not None:
        carried[CELL + GROUP] = groups
    else:
        groups = identities if names is None else pa.nulls(rows, pa.string())
    times = pc.cast(one_array(table[TIME]), pa.int64()) if TIME in table.column_names else pa.nulls(rows, pa.int64())
    target, target_shape = target_cells(targets)
    columns: dict[str, Any] = {
        "id": identities if names is None else names,
        "group": groups,
        "content_sha256": sha256_of_each(examples),
        "row_digest": identities,
        "raw_digest": inputs_alone,
        "where": one_array(table[WHERE]),
        TARGET: target,
        "time_us": times,
        ROW_COLUMNS: pa.array(np.zeros(rows, np.int32)),
        REMARKS: pa.nulls(rows, pa.string()),
        **carried,
    }
    begins, values = ends_and_bytes(examples)
    inputs = Inputs({EXAMPLE: Ragged(values, begins)})
    return tabled(columns, inputs, named=True, row_columns=(who,), target_shape=target_shape)


def _role(name: str, used: pa.Table, table: pa.Table) -> pa.Array | None:
    """A name that the format says, else the one of the schema's column."""
    for one in (used, table):
        if name in one.column_names:
            return pc.cast(one_array(one[name]), pa.string())
    return None

"""Draft the file of rows with words, gaps, dates or sequences: `schema` says what they hold, and is learnt from."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from mlratchet.models.drafting.baseline import Bar, bar_of_classes, bar_of_numbers, bar_of_shares, margin_of, some_of
from mlratchet.models.drafting.commented import Commented
from mlratchet.models.drafting.delivery import Kind, LocalFiles
from mlratchet.models.drafting.features import features_of
from mlratchet.models.drafting.ranking import bar_of_ranking, ranked_by
from mlratchet.models.drafting.repeats import repeated_rows, told_of
from mlratchet.models.drafting.schema_text import write_schema
from mlratchet.models.drafting.sections import SMALL, Size, write_gates, write_split, write_training, write_written
from mlratchet.models.drafting.several_labels import FEWEST, bars_of_labels, rarest
from mlratchet.models.drafting.text_tables import HEADLESS, RATINGS
from mlratchet.models.errors import DataError
from mlratchet.models.networks.pictures import PICTURES
from mlratchet.models.preparation.base import tensor_name
from mlratchet.models.schema.cells import is_text
from mlratchet.models.schema.fields import Schema
from mlratchet.models.schema.infer import Proposal
from mlratchet.models.schema.notation import WHERE, seen_in
from mlratchet.models.schema.numbers import column_with_commas
from mlratchet.models.schema.reject import Reject
from mlratchet.models.schema.roles import Label
from mlratchet.models.schema.typing import GROUP, LABEL, typed
from mlratchet.models.sources.ratings import COLUMNS

FORMATS: Mapping[Kind, tuple[str, str]] = {
    "table": ("csv", "its delimiter is found out"),
    "parquet": ("parquet", "its columns have types of their own"),
    "jsonl": ("jsonl", "a JSON object per line"),
    "letters": ("fasta", "the label stands in a description, as label=value"),
    "sounds": ("audio_folder", "the folder that a sound lies in is its class"),
}
RATINGS_FORMAT = ("ratings", "user, item, rating and time, without a header")
FEW_ROWS = 2_000
ENCODERS: Mapping[str, tuple[str, ...]] = {
    "text": ("bag", "cnn", "transformer"),
    "letters": ("cnn", "transformer"),
    "audio": ("cnn", "transformer", "conformer"),
    "image": PICTURES,
}
"""Kind of a field -> the networks that can read it, the usual one first."""


def draft_rows(
    delivery: LocalFiles, proposal: Proposal, name: str, *, rank: str | None = None
) -> tuple[str, list[str]]:
    """The text and the notes. `rank`: the column whose rows are ranked against each other, where they are.

    Raises ``DataError`` where there is no label, and where too few rows keep the rules.
    """
    if proposal.label is None and not proposal.schema.labels:
        raise DataError(f"{delivery.files[0]}: no column can be a label; name one with --label")
    if delivery.files[0].name == HEADLESS:
        delivery, proposal = _as_ratings(delivery, proposal)
        rank = dict(zip(RATINGS, COLUMNS, strict=True)).get(rank, rank) if rank is not None else None
    if rank is not None:
        proposal = ranked_by(proposal, rank)
    proposal = _with_decimals(proposal, delivery.table)
    table, rejects = typed(delivery.table, proposal.schema)
    if not len(table) and rejects:
        raise DataError(f"no row can be used: {rejects[0].reason}")
    read = _read_of(delivery.table, rejects)
    is_table = delivery.kind not in ("letters", "sounds")
    repeated = repeated_rows(read, proposal.schema, ranking=rank is not None) if is_table else 0
    size = Size(rows=len(table), sure=delivery.whole, repeated=repeated)
    out = Commented()
    first = delivery.files[0].name
    out.remark(f"Drafted by `ratchet init` from {first}: {size.words()}. Every line can be changed.")
    out.entry("name", name)
    _write_source(out, delivery, proposal.label, name)
    out.section("schema", "what a row holds; the model is given every field but the label and those with input: false")
    write_schema(out, proposal, depth=1)
    _write_workload(out, size, proposal.schema, ranking=rank is not None)
    write_split(out, size, Counter(table[GROUP].to_pylist()) if GROUP in table.column_names else None)
    write_training(out, size)
    rejected = (len(rejects) + repeated) / len(delivery.table)
    notes = [*_notes(delivery, proposal, table, rejects), *told_of(repeated, len(delivery.table))]
    if proposal.label is None:
        notes += _write_gates_of_labels(out, table, proposal, size, rejected)
    elif rank is not None:
        found = bar_of_ranking(table, proposal, test_share=size.test_share)
        notes.append(f"about {found.queries} queries to judge by: each counts once, however many rows it has")
        write_gates(out, size, found.bar, classes={}, rejected=rejected, margin=found.margin)
    else:
        notes += _write_gates(out, table, proposal, proposal.label, size, rejected).notes()
    return out.text().lstrip("\n"), notes


def _read_of(raw: pa.Table, rejects: Sequence[Reject]) -> pa.Table:
    """Without the rows that are set aside for what stands in them."""
    broken = pa.array([one.where for one in rejects], pa.string())
    return raw.filter(pc.invert(pc.is_in(raw[WHERE], value_set=broken))) if rejects else raw


def _with_decimals(proposal: Proposal, raw: pa.Table) -> Proposal:
    """With the decimal mark of every number that is written as text, so that no delivery has to tell it."""
    schema = proposal.schema
    marks = seen_in(raw, schema).decimal
    usual = "." if column_with_commas(marks) is None else ","  # where whole numbers alone are seen
    fields = {
        name: one.model_copy(update={"decimal": marks.get(name) or usual})
        if one.kind == "number" and is_text(raw[name].type)
        else one
        for name, one in schema.fields.items()
    }
    return replace(proposal, schema=schema.model_copy(update={"fields": fields}))


def _as_ratings(delivery: LocalFiles, proposal: Proposal) -> tuple[LocalFiles, Proposal]:
    """Under the names that the format gives its columns."""
    names = dict(zip(RATINGS, COLUMNS, strict=True))
    table = delivery.table.rename_columns([names.get(one, one) for one in delivery.table.column_names])
    schema = proposal.schema
    roles = {role: names.get(getattr(schema, role) or "") for role in ("label", "id", "group", "time")}
    fields = {names[name]: field for name, field in schema.fields.items()}
    reasons = {names[name]: why for name, why in proposal.reasons.items()}
    label = proposal.label and replace(proposal.label, name=names[proposal.label.name])
    schema = schema.model_copy(update={"fields": fields, **roles})
    columns = {names[name]: one for name, one in proposal.columns.items()}
    found = replace(proposal, schema=schema, reasons=reasons, label=label, columns=columns)
    return replace(delivery, table=table), found


def _write_source(out: Commented, delivery: LocalFiles, label: Label | None, name: str) -> None:
    form, why = RATINGS_FORMAT if delivery.files[0].name == HEADLESS else FORMATS[delivery.kind]
    by_place = bool(delivery.label_from) and label is not None and label.name == "label"
    what = "FOLDER" if delivery.kind == "sounds" or by_place else "FILE"
    out.section("source")
    out.entry("prefix", f"{name}/", f"`ratchet upload {name} {what}` puts files there", depth=1)
    out.entry("format", form, "" if by_place else why, depth=1)
    if form == "csv":
        write_written(out, delivery)
    if by_place:
        out.entry("label_from", delivery.label_from, f"the name of the {delivery.label_from} is the class", depth=1)
    usual = {"fasta": "label", "ratings": "rating"}.get(form)
    if label is not None and usual not in (None, label.name):
        out.entry("label_column", label.name, label.reason, depth=1)


def _write_workload(out: Commented, size: Size, schema: Schema, *, ranking: bool) -> None:
    few, entities = size.rows < FEW_ROWS, sum(1 for _ in schema.of_kind("entity"))
    out.section("workload", "learns from the fields of the schema; what it prepares is fitted on training rows")
    out.section("parameters", depth=1)
    if ranking:
        out.entry("task", "ranking", "the order of the rows of a query, not their numbers", depth=2)
    if entities > 1:
        out.entry("model", "dlrm", "who meets what: every two of them are multiplied; or mlp", depth=2)
    else:
        out.entry("model", "mlp", "or resnet, ft_transformer", depth=2)
    read = {name: field.kind for name, field in schema.inputs.items() if field.kind in ENCODERS}
    if read:
        usual = {tensor_name(name): ENCODERS[kind][0] for name, kind in read.items()}
        others = dict.fromkeys(other for kind in read.values() for other in ENCODERS[kind][1:])
        out.entry("encoders", usual, f"what reads it; or {', '.join(others)}", depth=2)
    out.entry("hidden", [32, 32] if few else [64, 32], "widths of the hidden layers", depth=2)
    width = 16 if few else 32 if size.rows < SMALL else 64
    out.entry("width", width, "of what a word, a name or a step of a sequence becomes", depth=2)
    out.entry("dropout", 0.2 if few else 0.1, "few rows" if few else "", depth=2)


def _write_gates(out: Commented, table: pa.Table, proposal: Proposal, label: Label, size: Size, rejected: float) -> Bar:
    column = table[LABEL]
    some = table.take(pa.array(some_of(len(table))))
    x, y = features_of(some, proposal.schema), np.asarray(some[LABEL].to_pylist())
    if label.is_number:
        none = np.zeros((len(y), 1))
        bar = bar_of_numbers(none if x is None else x, y, test_rows=size.test_rows)
        spread = float(np.std(column.to_numpy()))
        write_gates(out, size, bar, classes={}, spread=spread, rejected=rejected)
        return bar
    classes = Counter(column.to_pylist())
    found: Bar = bar_of_shares(classes) if x is None else bar_of_classes(x, y, test_rows=size.test_rows)
    write_gates(out, size, found, classes=dict(classes), rejected=rejected)
    return found


def _write_gates_of_labels(
    out: Commented, table: pa.Table, proposal: Proposal, size: Size, rejected: float
) -> list[str]:
    """A floor for each label that has the rows to be judged by; what a person should know of the others."""
    labels = proposal.schema.labels
    some = table.take(pa.array(some_of(len(table))))
    whole, each, few = bars_of_labels(features_of(some, proposal.schema), some, labels, test_rows=size.test_rows)
    margin = margin_of(rarest(table, labels, test_rows=size.test_rows))
    classes = Counter(name for row in table[LABEL].to_pylist() for name in row or ())
    write_gates(out, size, whole, classes=dict(classes), rejected=rejected, each=each, margin=margin)
    if not few:
        return []
    return [f"labels that fewer than {FEWEST} test rows have or lack, so that none has a gate: {', '.join(few)}"]


def _notes(delivery: LocalFiles, proposal: Proposal, table: pa.Table, rejects: Sequence[Reject]) -> list[str]:
    label = proposal.label
    several = f"labels {', '.join(map(repr, proposal.schema.labels))} (as asked)"
    notes = [several if label is None else f"label {label.name!r} ({label.reason})"]
    notes += [f"{name!r} {words}: it is no input" for name, words in proposal.suspects.items()]
    notes += [f"{name!r} is not used: {words}" for name, words in proposal.open.items()]
    notes += [f"{name!r} {words}" for name, words in proposal.remarks.items()]
    notes += [f"{name!r} is no field: {words}" for name, words in proposal.left_out.items()]
    if rejects:
        words = f"{len(rejects):,} of {len(delivery.table):,} rows break a rule of the schema and are set aside"
        notes.append(f"{words}: {rejects[0].reason}")
    counts = Counter(table[LABEL].to_pylist()) if label is not None and label.classes else Counter[str]()
    few = [one for one in (label.classes if label is not None else ()) if counts[one] < math.ceil(3 / 0.15)]
    if few:
        notes.append(f"classes with few rows, so that a side may lack one: {', '.join(few)}")
    if delivery.others:
        notes.append(f"{len(delivery.others)} files are of another kind and were not looked at")
    return notes

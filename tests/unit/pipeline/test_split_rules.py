from __future__ import annotations

import pytest
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.pipeline.checking import check_split
from mlratchet.models.pipeline.loading import parse_pipeline
from mlratchet.models.pipeline.spec import PipelineSpec
from mlratchet.models.pipeline.store import load_pipeline, publish_pipeline

from tests.conftest import REPOSITORY

GATES = (REPOSITORY / "docs" / "examples" / "two_layers" / "two-layers.yaml").read_text().partition("gates:")[2]
FIELDS = "    price: {kind: number}\n    at: {kind: time, input: false}\n    bought: {kind: category, values: [a, b]}\n"


def spec_of(split: str, *, schema: str = "", source: str = "", use: str = "") -> PipelineSpec:
    text = (
        f"name: shop\n{use}schema:\n  label: bought\n{schema}  fields:\n{FIELDS}"
        f"source: {{prefix: shop/, format: csv{source}}}\ndata:\n  split: {split}\n"
        f"gates:{GATES}"
    )
    return parse_pipeline(text, where="shop.yaml")


@pytest.mark.parametrize(
    ("split", "more", "words"),
    [
        ("{by: time}", {}, r"data.split.by: time, and schema.time names no field; name one of at"),
        ("{by: group}", {}, r"data.split.by: group, and neither schema.group nor source.group_column"),
        (
            "{by: time}",
            {"schema": "  time: at\n", "use": "workload: {use: 'mlratchet.models.workloads.tabular:TableClassifier', "
             "parameters: {columns: [price], classes: [a, b]}}\n"},
            r"data.split.by: time, and .*TableClassifier reads no times",
        ),
        ("{by: given, column: prize}", {}, r"data.split.column: no field 'prize'; did you mean 'price'"),
        ("{by: given, column: price}", {}, r"data.split.column: 'price' is an input: a model would be told its side"),
        ("{by: given, column: bought}", {}, r"data.split.column: 'bought' is the label"),
    ],
)  # fmt: skip
def test_a_split_by_what_no_record_will_tell_is_refused_before_anything_is_read(
    split: str, more: dict[str, str], words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words):
        check_split(spec_of(split, **more))


def test_a_split_by_what_the_schema_names_holds_and_is_read_back_as_published() -> None:
    check_split(spec_of("{by: group}", source=", group_column: price"))
    check_split(spec_of("{by: group}", schema="  group: price\n"))
    check_split(spec_of("{by: given, column: at, validation: [dev]}"))
    check_split(spec_of("{by: cluster}"))
    spec = spec_of("{by: time, gap_days: 1.5}", schema="  time: at\n")
    check_split(spec)
    store = MemoryStore()
    assert load_pipeline(store, publish_pipeline(store, spec)) == spec


@pytest.mark.parametrize(
    ("split", "words"),
    [
        ("{by: size}", r"shop\.yaml:10: data\.split: unknown rule in by; there are id, group, time"),
        ("{by: time, salt: x}", r"shop\.yaml:10: data\.split: unknown key 'salt'; known here: by, .*gap_days"),
        ("{by: time, gap_days: -1}", r"shop\.yaml:10: data\.split\.gap_days"),
        ("{by: time, test_from: '2026-01-01'}", r"shop\.yaml:10: data\.split: .*declared together"),
        ("{by: id, gap_days: 1}", r"data\.split: unknown key 'gap_days'"),
    ],
)
def test_a_split_that_cannot_be_is_refused_with_its_line(split: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        spec_of(split)

"""What the page to try a model asks for: fields in the order of the person's table, times as the data write them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mlratchet.infra.serving.requests import ServingRequest, ServingRequests
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.pipeline.loading import parse_pipeline
from mlratchet.models.pipeline.store import load_pipeline, publish_pipeline
from mlratchet.models.schema.fields import Schema
from mlratchet.models.schema.request import FieldError, parse_example
from mlratchet.models.serving.config import ServingConfig
from mlratchet.models.serving.try_it.form import form_of

from tests.conftest import REPOSITORY
from tests.unit.serving.six_schemas import YES_OR_NO, Kind, predictor_of, predictor_over

GATES = (REPOSITORY / "docs" / "examples" / "two_layers" / "two-layers.yaml").read_text().partition("gates:")[2]
FILE = """
name: shop
schema:
  label: returned
  fields:
    price: {kind: number}
    day: {kind: time, format: "%d.%m.%Y"}
    article: {kind: category}
    returned: {kind: category, values: [no_, yes_]}
source: {prefix: shop/, format: csv}
gates:"""


def names(order: tuple[str, ...]) -> list[str]:
    return [field["name"] for field in form_of("shop", predictor_of("shop"), order)["fields"]]


def test_fields_are_asked_for_in_the_order_of_the_table_and_others_last() -> None:
    assert names(("town", "size")) == ["town", "size", *(one for one in names(()) if one not in ("town", "size"))]
    assert names(("gone", "note"))[0] == "note"


def test_order_of_a_schema_reaches_who_serves_through_what_is_published() -> None:
    store, spec = MemoryStore(), parse_pipeline(FILE + GATES, where="shop.yaml")
    published = load_pipeline(store, publish_pipeline(store, spec))
    assert published.serving.form == ("price", "day", "article", "returned")
    assert published.revision() == spec.revision()


def test_order_that_a_file_declares_is_left_and_one_of_the_alphabet_is_not_written_down() -> None:
    declared = parse_pipeline("serving: {form: [day]}" + FILE + GATES, where="shop.yaml")
    assert declared.serving.form == ("day",)
    fields = FILE.replace("    price: {kind: number}\n", "")
    lines = fields.replace('    day: {kind: time, format: "%d.%m.%Y"}\n', "")
    assert parse_pipeline(lines + GATES, where="shop.yaml").serving == ServingConfig()


@pytest.mark.parametrize(
    ("form", "example"),
    [(None, "2026-01-31T12:00:00Z"), ("iso", "2026-01-31T12:00:00Z"), ("%d.%m.%Y %H:%M", "31.01.2026 12:00"),
     ("%m/%d/%y", "01/31/26"), ("unix", "1769860800"), ("unix_ms", "1769860800000")],
)  # fmt: skip
def test_time_is_shown_as_the_data_write_it_and_taken_so(form: str | None, example: str) -> None:
    field = {"kind": "time", **({"format": form} if form else {})}
    kind = Kind(fields={"day": field}, example={"day": "2026-03-01T00:00:00Z"})
    asked = form_of("shop", predictor_over(kind))["fields"][0]
    assert (asked["format"], asked["example"]) == (form or "iso", example)
    schema = Schema.model_validate({"fields": {**kind.fields, "left": YES_OR_NO}, "label": "left"})
    taken = parse_example({"day": example}, schema)["day"][0].as_py()
    assert taken.date().isoformat() == "2026-01-31"
    assert example in asked["hint"]


def test_a_server_of_an_earlier_release_serves_on_without_the_order(tmp_path: Path) -> None:
    requests, config = ServingRequests(tmp_path), ServingConfig(form=("price", "day"))
    requests.write(ServingRequest(pipeline="shop", config=config))
    held = json.loads(requests.file("shop").read_text())
    assert ServingConfig.model_validate(held["serving"]) == ServingConfig()
    assert [one.config for one in requests] == [config]


def test_time_that_is_refused_is_told_with_the_format_of_the_data() -> None:
    schema = Schema.model_validate(
        {"fields": {"day": {"kind": "time", "format": "%d.%m.%Y"}, "left": YES_OR_NO}, "label": "left"}
    )
    with pytest.raises(
        FieldError, match=r"got '31\.02\.2026', expected a time as %d\.%m\.%Y, e\.g\. 31\.01\.2026 or 2026-"
    ):
        parse_example({"day": "31.02.2026"}, schema)

"""What is written as YAML is read back as it was, whatever a column is called."""

from __future__ import annotations

import yaml
from hypothesis import given
from hypothesis import strategies as st
from mlratchet.models.drafting.commented import Commented, scalar
from mlratchet.models.pipeline.reading import Loader, parse_yaml

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    [
        "NO",
        "yes",
        "~",
        "null",
        "1.0",
        "12:30",
        "2026-01-01",
        "a: b",
        "# x",
        "- a",
        "=",
        "é\u0301",
        "1e5",
        "a:",
        "\x85",
        "\ufeff",
    ]
)
VALUES = st.recursive(
    TEXT | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)


@given(VALUES)
def test_any_value_is_read_back(value: object) -> None:
    assert yaml.load(scalar(value), Loader=Loader) == value


@given(TEXT, TEXT, st.text(max_size=20))
def test_a_key_a_value_and_any_reason_behind_them(key: str, value: str, why: str) -> None:
    out = Commented()
    out.section("fields", why)
    out.entry(key, value, why, depth=1)
    out.remark(why)
    document, lines = parse_yaml(out.text(), where="x.yaml", expected="fields")
    assert document == {"fields": {key: value}}
    assert lines.of(("fields", key)) == 3

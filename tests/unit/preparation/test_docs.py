"""docs/preparation.md says what is true: every option with its default, and examples that work."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pyarrow as pa
import pytest
import yaml
from mlratchet.models.functions import load_class
from mlratchet.models.preparation.base import Preparation
from mlratchet.models.preparation.composed import PreparationPlan
from mlratchet.models.preparation.parts import BUILT_IN
from mlratchet.models.preparation.section import PreparationSection
from mlratchet.models.schema.fields import Field, Kind, Schema

from tests.conftest import REPOSITORY

PAGE = (REPOSITORY / "docs" / "preparation.md").read_text()
HEADINGS = {
    "number": "Numbers", "time": "Times", "category": "Categories, entities", "entity": "Categories, entities",
    "text": "Text", "image": "Pictures", "audio": "Sounds", "letters": "Sequences of letters",
    "tensor": "Tensors, and the target of a regression",
}  # fmt: skip


def section(heading: str) -> str:
    return PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize("kind", BUILT_IN)
def test_every_option_stands_in_the_page_with_its_default(kind: Kind) -> None:
    made = load_class(BUILT_IN[kind], Preparation, "preparation")  # type: ignore[type-abstract]
    text = section(HEADINGS[kind])
    for name, field in made.Options.model_fields.items():
        default = made.Options().model_dump(mode="json")[name]
        shown = default if isinstance(default, str) else json.dumps(default).replace('"', "")
        row = next((line for line in text.splitlines() if f"`{name}`" in line), "")
        assert str(shown) in row, f"{kind}: `{name}` with its default {shown}: {field}"


def test_the_section_of_the_page_is_one() -> None:
    block = re.search(r"```yaml\n(preparation:.*?)```", PAGE, re.DOTALL)
    assert block is not None
    fields = {name: Field(kind="number") for name in ("income", "items", "prices")} | {"comment": Field(kind="text")}
    found = PreparationSection.model_validate(yaml.safe_load(block[1])["preparation"])
    parts = PreparationPlan(Schema(fields=fields), found).parts
    assert [part.name for part in parts] == ["income", "basket"]


def test_the_class_of_the_page_prepares(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    block = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert block is not None
    (tmp_path / "basket_of_the_page.py").write_text(block[1])
    monkeypatch.syspath_prepend(str(tmp_path))
    own = {"basket": {"use": "basket_of_the_page:Basket", "fields": ["prices"], "options": {"size": 3}}}
    schema = Schema(fields={"prices": Field(kind="number")})
    plan = PreparationPlan(schema, PreparationSection.model_validate({"own": own}))
    rows = pa.table({"prices": [1.0, 4.0]})
    try:
        assert plan.apply(rows, plan.fit(lambda: iter([rows]))).array.tolist() == [[0.25] * 3, [1.0] * 3]
    finally:
        sys.modules.pop("basket_of_the_page", None)

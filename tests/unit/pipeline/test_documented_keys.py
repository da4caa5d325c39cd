"""What a pipeline file may say stands in the pages: sections and their keys in one table, the rest where it is told."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from mlratchet.models.pipeline.spec import PipelineSpec
from pydantic import BaseModel

DOCS = Path(__file__).parents[3] / "docs"
DERIVED = {"data.near", "data.set_aside", "gates.shared"}  # follow from `quality`, and from the file of `gates.policy`


def models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from models(argument)


def keys(model: type[BaseModel], path: tuple[str, ...] = (), seen: tuple[type, ...] = ()) -> Iterator[tuple[str, ...]]:
    """With all that lies below each, as the file writes them."""
    for name, field in model.model_fields.items():
        place = (*path, field.alias or name)
        if ".".join(place) in DERIVED:
            continue
        yield place
        for below in models(field.annotation):
            if below not in seen:
                yield from keys(below, place, (*seen, below))


def code(page: Path) -> set[str]:
    """Words of its blocks of code, and of code within a sentence."""
    text = page.read_text()
    blocks = re.findall(r"```.*?```", text, flags=re.DOTALL)
    return set(re.findall(r"[A-Za-z_]\w*", "\n".join([*blocks, *re.findall(r"`[^`\n]+`", text)])))


def test_every_key_is_documented() -> None:
    told = set[str]().union(*map(code, DOCS.glob("*.md")))
    every = set(keys(PipelineSpec))
    assert len(every) > 300
    assert sorted(".".join(place) for place in every if place[-1] not in told) == []


def test_the_table_of_the_page_has_every_section_with_its_keys() -> None:
    """But for what a format and a rule of the split take, which have tables of their own."""
    text = (DOCS / "pipeline-file.md").read_text()
    rows = re.findall(r"^\| (?:`(\w+)`|\(top\)) \| (.*) \|$", text, flags=re.MULTILINE)
    words = {
        section: set(re.findall(r"[A-Za-z_]\w*", " ".join(re.findall(r"`[^`]+`", said)))) for section, said in rows
    }
    every = {place for place in keys(PipelineSpec) if len(place) <= 2 and place[0] not in ("source", "data")}
    told = {(section, word) for section in words for word in words[section]}
    assert {"source", "data"} < words.keys()
    sections = words.keys() | words[""]
    assert sorted(".".join(one) for one in every if one[0] not in sections or (one[1:] and one not in told)) == []

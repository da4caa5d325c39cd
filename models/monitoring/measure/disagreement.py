"""How often another version answered the same request otherwise: what the log holds of a shadow beside the champion."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

OTHERS = ("shadow", "previous")  # variants that are asked beside the champion


def remember_answers(table: pa.Table, answers: dict[str, dict[tuple[str, int], str]]) -> None:
    """What several versions answered to one request; nothing where no other was asked."""
    others = table.filter(pc.is_in(table["variant"], pa.array(OTHERS)))
    if not others.num_rows and not any(answers[name] for name in OTHERS):
        return
    for one in table.select(["request_id", "row", "variant", "answer"]).to_pylist():
        if one["variant"] in answers and one["answer"] is not None:
            answers[one["variant"]][one["request_id"], one["row"]] = one["answer"]


def disagreements(answers: Mapping[str, Mapping[tuple[str, int], str]]) -> Counter[str]:
    """Variant -> requests that it answered otherwise; `shadow_asked` -> those that both answered."""
    found: Counter[str] = Counter()
    for name in OTHERS:
        both = answers[name].keys() & answers["champion"].keys()
        found[f"{name}_asked"] = len(both)
        found[name] = sum(_said(answers[name][key]) != _said(answers["champion"][key]) for key in both)
    return found


def _said(answer: str) -> str:
    """What an answer says, without how sure it is."""
    label = re.search(r'"(label|class|labels|answer)":\s*("[^"]*"|\[[^\]]*\])', answer)
    return label[0] if label else answer

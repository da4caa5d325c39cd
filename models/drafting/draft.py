"""Draft the pipeline file of a delivery: a file that works, with a reason behind every line."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlratchet.models.drafting.delivery import LocalFiles, look_at
from mlratchet.models.drafting.picture_folder import draft_pictures, require_folders
from mlratchet.models.drafting.tables import draft_table
from mlratchet.models.drafting.text_tables import Written
from mlratchet.models.drafting.totals import totals_below
from mlratchet.models.errors import ConfigurationError, DataError
from mlratchet.models.gates.policy import MOST_SET_ASIDE
from mlratchet.models.pipeline.loading import parse_pipeline
from mlratchet.models.schema.notation import WHERE
from mlratchet.models.sources.delimited import NO_DELIMITER

LONGEST_NAME = 48
FEW_LOST = 3  # rows: of a table that small a share says nothing
NAME = re.compile(r"^[a-z][a-z0-9-]{0,47}$")


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A pipeline file, not written yet."""

    name: str
    text: str
    notes: tuple[str, ...]  # what a person should look at first


def draft(
    paths: Sequence[Path],
    *,
    labels: Sequence[str] = (),
    name: str | None = None,
    rank: str | None = None,
    written: Written | None = None,
    on_stage: Callable[[str], None] = lambda _words: None,
) -> Draft:
    """Of files and folders on this machine. `labels`: the column that is learnt, or several that each say yes or no;
    `rank`: the column whose rows are ranked against each other by the label; `written`: how delimited
    files are; `on_stage` is told what is done next.

    Raises ``DataError`` for what cannot be read or learnt from, or not enough of it, and ``ConfigurationError`` for a
    name that no pipeline has.
    """
    name = name or name_from(paths[0])
    if not NAME.match(name):
        raise ConfigurationError(f"--name {name!r}: expected small letters, digits and -, a letter first, at most 48")
    on_stage("what the files hold")
    delivery = look_at(paths, written=written)
    lost, all_of_them = len(delivery.unreadable), len(delivery.unreadable) + len(delivery.table)
    words = f"{lost:,} of {all_of_them:,} rows cannot be read"
    if lost > max(FEW_LOST, MOST_SET_ASIDE * all_of_them):
        raise DataError(
            f"{words}, and a file about the rest would know too little of what is there (at most "
            f"{MOST_SET_ASIDE:.0%} may be lost): {delivery.unreadable[0]}"
        )
    columns = [one for one in delivery.table.column_names if one != WHERE]
    if delivery.kind == "table" and len(columns) == 1:
        raise DataError(f"{delivery.files[0].name}: has one column, {columns[0][:60]!r}; {NO_DELIMITER}")
    on_stage("what can be learnt, and how well a linear model does")
    text, notes = _drafted(delivery, name, labels, rank)
    notes += totals_below(delivery.table) if delivery.kind in ("table", "parquet", "jsonl") else []
    if lost:
        notes.append(f"{words} and are not looked at: {delivery.unreadable[0]}")
    parse_pipeline(text, where=f"{name}.yaml")
    return Draft(name=name, text=text, notes=tuple(notes))


def _drafted(delivery: LocalFiles, name: str, labels: Sequence[str], rank: str | None) -> tuple[str, list[str]]:
    if rank is not None and len(labels) > 1:
        raise DataError(f"--rank {rank!r}: one number is a relevance; name one --label")
    if delivery.kind in ("pictures", "sounds") and (labels or rank is not None):
        asked = f"--label {labels[0]!r}" if labels else f"--rank {rank!r}"
        raise DataError(f"{asked}: the label of {delivery.kind} is the folder that each lies in; leave it out")
    if delivery.kind == "pictures":
        return draft_pictures(delivery, name)
    if delivery.kind == "sounds":
        require_folders(delivery)
    return draft_table(delivery, name, labels, rank)


def name_from(path: Path) -> str:
    """A pipeline's name out of the name of a file or folder."""
    plain = unicodedata.normalize("NFKD", path.resolve().name.split(".")[0]).encode("ascii", "ignore").decode().lower()
    words = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
    return (words if words[:1].isalpha() else f"data-{words}".rstrip("-"))[:LONGEST_NAME].rstrip("-")

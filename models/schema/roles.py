"""Which column is the label, the id, the group and the time, and which tells the label: by name and cells."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from mlratchet.models.errors import DataError
from mlratchet.models.nearest import nearest_hint
from mlratchet.models.schema.column_kind import FEW, MANY, Guessed
from mlratchet.models.schema.fields import CELLS

LABEL_NAMES = ("label", "labels", "target", "class", "y", "outcome", "species", "diagnosis", "churn", "returned",
               "survived", "rating", "klasse", "ziel")  # fmt: skip
AMOUNT_NAME = re.compile(
    r"(?i)(^|[^a-z])(rating|score|price|amount|count|sales|quantity|age|preis|menge|anzahl)([^a-z]|$)"
)
ID_NAME = re.compile(
    r"(?i)((^|[^a-z])(id|uuid|guid|key|nr|no|number|nummer|index|rowid|row)$|[a-z](Id|ID|nr|Nr)$|^unnamed)"
)
GROUP_NAME = re.compile(r"(?i)^(subject|patient|user|customer|client|session|speaker|group|kunde|household|device|site)"
                        r"[_ ]?(id|nr|no|number)?$")  # fmt: skip
FEWEST_GROUPS = 10  # by which rows are divided: of fewer a side soon has none
ROWS_EACH = 5  # of a value, before its one label says that it determines it
Task = Literal["classification", "regression"]


@dataclass(frozen=True, kw_only=True)
class Label:
    """What is learnt."""

    name: str
    task: Task
    classes: tuple[str, ...]  # of a classification, sorted
    reason: str

    @property
    def is_number(self) -> bool:
        """Whether a number is learnt, and no class."""
        return not self.classes


def label_of(columns: Mapping[str, Guessed], asked: str | None) -> Label | None:
    """As asked, else by name, else the last column that can be one, and is not named as an id; None where none can.

    Raises ``DataError`` with the nearest name for one that is not there, and for one that cannot be learnt.
    """
    if asked is not None:
        if asked not in columns:
            raise DataError(f"no column {asked!r}; {nearest_hint(asked, columns)}")
        found = _as_label(asked, columns[asked], "as asked")
        if found is None:
            one = columns[asked]
            if one.open:
                raise DataError(f"column {asked!r} is no label yet: {one.open}")
            raise DataError(
                f"column {asked!r} is no label: {one.reason}; expected at most {MANY} classes, each in two rows, or "
                "numbers"
            )
        return found
    named = [name for hint in LABEL_NAMES for name in columns if name.lower() == hint]
    at_last = {name for name in columns if ID_NAME.search(name)}
    by_place = [name for ids in (False, True) for name in reversed(list(columns)) if (name in at_last) is ids]
    for name in [*named, *by_place]:
        reason = "by its name" if name in named else "the last column that can be one"
        found = _as_label(name, columns[name], f"{reason}; --label chooses another")
        if found is not None:
            return found
    return None


def _as_label(name: str, one: Guessed, reason: str) -> Label | None:
    if one.different < 2 or one.open:
        return None
    if one.field.kind == "number":
        amount = AMOUNT_NAME.search(name) is not None
        few = not amount and one.whole and one.different <= FEW and one.given >= ROWS_EACH * one.different
        if not few:
            return Label(name=name, task="regression", classes=(), reason=f"{reason}: a number")
        spelled = pc.unique(one.spelled(name).drop_null()).to_pylist()
        names = sorted(spelled, key=lambda text: (float(text.replace(",", ".")), text))
        return Label(name=name, task="classification", classes=tuple(names), reason=f"{reason}: {len(names)} classes")
    if one.field.kind not in ("category", "entity") or one.different > min(MANY, one.given // 2):
        return None
    names = sorted(pc.unique(one.values.drop_null()).to_pylist())
    return Label(name=name, task="classification", classes=tuple(names), reason=f"{reason}: {len(names)} classes")


def id_of(columns: Mapping[str, Guessed]) -> str | None:
    """The column that names rows: always given, each value once, named or numbered so."""
    unique = [name for name, one in columns.items() if one.different == one.rows and _can_name(one)]
    named = [name for name in unique if ID_NAME.search(name)]
    coded = [name for name in unique if columns[name].field.kind == "entity" or _counts_rows(columns[name])]
    return next(iter([*named, *coded]), None)


def like_ids(columns: Mapping[str, Guessed]) -> list[str]:
    """Every column whose values tell rows apart and nothing else."""
    found = []
    for name, one in columns.items():
        apart = one.given and one.different >= 0.98 * one.given and _can_name(one)
        if apart and (ID_NAME.search(name) or one.field.kind == "entity" or _counts_rows(one)):
            found.append(name)
    return found


def _can_name(one: Guessed) -> bool:
    return one.field.kind == "entity" or one.whole


def _counts_rows(one: Guessed) -> bool:
    """0, 1, 2 and on, in the order of the rows."""
    if one.field.kind != "number" or one.values.null_count or len(one.values) < ROWS_EACH:
        return False
    return bool((np.diff(np.asarray(one.values)) == 1).all())


def group_of(columns: Mapping[str, Guessed], taken: set[str]) -> str | None:
    """A column by whose name several rows belong together; none where two or more name who met what, as in ratings.
    Of fewer than `FEWEST_GROUPS` it is one like any other."""
    if sum(one.field.kind == "entity" and one.different <= one.given / 2 for one in columns.values()) > 1:
        return None
    found = []
    for name, one in columns.items():
        several = 2 <= one.different <= one.given / 2 and one.share_given == 1
        if (
            name not in taken
            and several
            and not one.remark
            and GROUP_NAME.match(name)
            and (one.field.kind != "number" or one.whole)
        ):
            found.append(name)
    return next((name for name in found if columns[name].different >= FEWEST_GROUPS), next(iter(found), None))


def leaks(columns: Mapping[str, Guessed], label: Label) -> dict[str, str]:
    """Columns that equal or determine the label -> in which words."""
    target = columns[label.name]
    y = target.as_text(label.name)
    found = {}
    for name, one in columns.items():
        if name == label.name or one.different < 2 or one.field.kind not in CELLS:
            continue
        words = _leak(one, name, target, y, label)
        if words:
            found[name] = words
    return found


def _leak(one: Guessed, name: str, target: Guessed, y: pa.Array, label: Label) -> str:
    x = one.as_text(name)
    both = np.asarray(pc.and_(pc.is_valid(x), pc.is_valid(y)))
    if both.sum() < ROWS_EACH:
        return ""
    if mask_equal(x, y)[both].all():
        return f"is the label {label.name!r}"
    if label.is_number:
        if one.field.kind != "number":
            return ""
        a, b = (np.asarray(column.values.cast(pa.float64()), dtype=float)[both] for column in (one, target))
        if a.std() == 0 or b.std() == 0 or not abs(float(np.corrcoef(a, b)[0, 1])) > 0.99999:
            return ""
        return f"is the label {label.name!r} in another unit"
    if one.different > both.sum() / ROWS_EACH or one.different < len(label.classes):
        return ""
    pairs = pc.count_distinct(pc.binary_join_element_wise(x, y, "\x1f")).as_py()
    return f"determines the label {label.name!r}" if pairs == one.different else ""


def mask_equal(x: pa.Array, y: pa.Array) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Row by row (N,); null equals nothing."""
    return np.asarray(pc.fill_null(pc.equal(x, y), False))

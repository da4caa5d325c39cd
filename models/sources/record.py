"""What a delivery becomes on its way to a dataset: raw objects, records, rejects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Target = int | float | tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class RawObject:
    """One object of a snapshot, as a workload sees it."""

    key: str  # below the source prefix
    size_bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Record:
    """One row of a dataset."""

    id: str  # stable over deliveries
    x: np.ndarray[Any, Any]  # shape and dtype of `InputSpec`
    y: Target  # class index; number; 0 or 1 per label; relevance
    group: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)  # for slices
    content_sha256: str = ""  # of the raw input, to find duplicates


@dataclass(frozen=True, kw_only=True)
class Reject:
    """A raw record that cannot be used."""

    where: str  # file or file:row
    code: str  # a short stable word, e.g. `truncated_image`
    reason: str  # got / expected


def target_names(target: Target, class_names: tuple[str, ...]) -> tuple[str, ...]:
    """The class of a row, the labels that it has, or nothing where there are no names."""
    if isinstance(target, tuple):
        return tuple(name for name, on in zip(class_names, target, strict=True) if on)
    return (class_names[int(target)],) if class_names else ()

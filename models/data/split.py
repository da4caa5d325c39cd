"""Which side of the split a record is on: a pure function of its id (or group), so it never moves."""

from __future__ import annotations

import hashlib
from typing import Literal

from mlratchet.models.data.config import SplitConfig

Side = Literal["train", "validation", "test"]
SIDES: tuple[Side, ...] = ("train", "validation", "test")


def side_of(identity: str, config: SplitConfig) -> Side:
    """The side of a record id or group: SHA-256 of salt and id as a number in [0, 1)."""
    hashed = hashlib.sha256(f"{config.salt}\0{identity}".encode()).digest()
    place = int.from_bytes(hashed[:8], "big") / 2**64
    if place < config.test:
        return "test"
    if place < config.test + config.validation:
        return "validation"
    return "train"

"""How much one request may ask for."""

from __future__ import annotations

from typing import Any

from mlratchet.models.artifact.signature import Signature
from mlratchet.models.serving.refusal import BadRequestError

MAX_INSTANCES = 4096
MAX_ROW_BYTES = 64_000_000  # of all rows of a request as the model takes them: a few kB of pictures can be gigabytes
SHORT_BYTES = 32_768  # a longer body, and every picture, is read on a thread: others are answered meanwhile
WORDS = 200  # characters of a client's own words that an answer repeats


def most_instances(signature: Signature) -> int:
    """How many instances one request may hold."""
    row_bytes = sum(one.row_bytes for one in signature.input.specs)
    return max(1, min(MAX_INSTANCES, MAX_ROW_BYTES // max(1, row_bytes)))


def check_count(instances: Any, signature: Signature) -> None:
    """Raises ``BadRequestError`` for what is no list of as many instances as a request may hold."""
    if not isinstance(instances, list) or not instances:
        raise BadRequestError("instances", "expected a list of at least one instance")
    check_number(len(instances), signature)


def check_number(count: int, signature: Signature) -> None:
    """Raises ``BadRequestError`` for more instances than a request may hold, and for none."""
    if count == 1:
        return
    most = most_instances(signature)
    if count > most:
        raise BadRequestError("instances", f"got {count}, expected at most {most}")
    if not count:
        raise BadRequestError("instances", "got none, expected at least one instance")

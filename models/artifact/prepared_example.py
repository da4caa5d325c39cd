"""The input example of a version that prepares: as clients send it, and the digest of the tensors that it became. One
that becomes other tensors now is refused, and the message names the package that differs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from importlib import metadata
from typing import Any

import numpy as np
import orjson
from mlratchet.models.artifact.files import PREPARED_EXAMPLE
from mlratchet.models.artifact.signature import Signature
from mlratchet.models.config import StrictModel
from mlratchet.models.errors import ConfigurationError, RatchetError, SecurityError
from mlratchet.models.identity.canonical import canonical_json, digest_bytes
from mlratchet.models.preparation.composed import PreparationPlan
from mlratchet.models.preparation.section import PreparationSection
from mlratchet.models.schema.fields import Schema
from mlratchet.models.sources.record import ExampleSpec
from mlratchet.models.sources.stored_examples import EXAMPLE, UNPREPARED
from mlratchet.models.tensors.named import Inputs
from pydantic import ValidationError

ALWAYS = ("numpy", "pyarrow")  # packages that prepare whatever there is
GONE = "not installed"


class PreparedExample(StrictModel):
    """What is kept."""

    instances: list[dict[str, Any]]
    sha256: str
    """Of the tensors."""
    packages: dict[str, str]
    """Distribution -> version of then."""


def prepared_example(instances: Sequence[Any], x: Inputs, about: ExampleSpec) -> bytes:
    """The file. `x`: what the instances became."""
    plan = PreparationPlan(
        Schema.model_validate_json(about.schema), PreparationSection.model_validate_json(about.preparation)
    )
    names = {*ALWAYS, *plan.identity()["packages"], *plan.closure().packages}
    kept = PreparedExample(instances=list(instances), sha256=digest_of(x), packages=versions(names))
    return canonical_json(kept.model_dump(mode="json"))


def digest_of(x: Inputs) -> str:
    """SHA-256 hex of names, types, shapes and bytes."""
    parts = []
    for name, one in sorted(x.arrays().items()):
        array = np.ascontiguousarray(one)
        parts.append([name, str(array.dtype), list(array.shape), digest_bytes(array.tobytes())])
    return digest_bytes(canonical_json(parts))


def versions(names: Iterable[str]) -> dict[str, str]:
    """Of installed distributions."""
    found = {}
    for name in sorted(names):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = GONE
    return found


def refuse_other_tensors(
    text: bytes | None, signature: Signature, what: str, prepare: Callable[[Inputs], Inputs]
) -> None:
    """Of one version, `what` it is called.

    Args:
        text: Its file; None: a version of before there was one, of which nothing is known.
        signature: Its own.
        what: `digits version 3`, for the message.
        prepare: Stored examples (`models/sources/stored_examples`) to tensors, as it would be asked.

    Raises ``ConfigurationError`` naming the packages that differ, ``SecurityError`` for a file that is none.
    """
    if text is None or signature.input.example is None:
        return
    try:
        kept = PreparedExample.model_validate_json(text)
    except ValidationError as error:
        raise SecurityError(
            f"{what}: {PREPARED_EXAMPLE} is none: {error.errors()[0]['msg']}; it was changed"
        ) from error
    rows = [{EXAMPLE: np.frombuffer(orjson.dumps(one), dtype=np.uint8)} for one in kept.instances]
    try:
        became = digest_of(prepare(Inputs.stack(rows, (UNPREPARED,))))
        how = "is prepared to other tensors than when it was made"
    except RatchetError as error:
        became, how = "", f"is not prepared any more ({error})"
    if became != kept.sha256:
        raise ConfigurationError(f"{what}: its input example {how[:300]}: {_difference(kept)}")


def _difference(kept: PreparedExample) -> str:
    now = versions(kept.packages)
    changed = [f"{name} {now[name]} (then {then})" for name, then in kept.packages.items() if now[name] != then]
    if changed:
        return f"{', '.join(changed)}; install what it was made with, or train anew"
    return f"no package differs ({json.dumps(kept.packages)}), so Ratchet's own preparation does; train anew"

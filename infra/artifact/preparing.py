"""How a version that answers prepares examples: a user's own preparation in a child, from what the artifact holds; and
none whose input example becomes other tensors now."""

from __future__ import annotations

from pathlib import Path

from mlratchet.infra.child.lasting import LastingChild
from mlratchet.models.artifact.files import PREPARED_EXAMPLE
from mlratchet.models.artifact.prepared_example import refuse_other_tensors
from mlratchet.models.artifact.signature import Signature
from mlratchet.models.sources.stored_examples import documents_of
from mlratchet.models.tensors.named import Inputs
from mlratchet.models.workloads.examples import ExamplePreparer, preparer_of, table_of_examples
from mlratchet.models.workloads.preparing_away import PreparerAway, has_own

ANSWER_S = 30.0  # seconds: a child that takes longer is ended, and the request fails


def preparer_here(signature: Signature, closed: tuple[Path, ...] = ()) -> ExamplePreparer | None:
    """Of a version that answers in this process; None where nothing runs that is the user's. `closed`: what its child
    never reads."""
    about = signature.input.example
    if about is None or not has_own(about):
        return None
    return PreparerAway(about, signature.tensors, LastingChild(closed=closed, most_s=ANSWER_S))


def refuse_other_preparation(
    directory: Path, signature: Signature, what: str, preparer: ExamplePreparer | None = None
) -> None:
    """Raises ``ConfigurationError`` where the input example of a verified directory is not prepared as it was."""
    about, file = signature.input.example, directory / PREPARED_EXAMPLE
    if about is None or not file.is_file():
        return
    used = preparer or preparer_of(about)

    def prepare(rows: Inputs) -> Inputs:
        return used.prepared(table_of_examples(documents_of(rows), used.schema))

    refuse_other_tensors(file.read_bytes(), signature, what, prepare)

"""Load a version's exported program from its bucket, every byte verified, and what answers and prepares beside it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from mlratchet.infra.artifact.exported import load_exported
from mlratchet.infra.artifact.fetch import fetch_artifact
from mlratchet.infra.artifact.preparing import ANSWER_S, preparer_here, refuse_other_preparation
from mlratchet.infra.child.lasting import LastingChild
from mlratchet.infra.serving.compiled import CompiledPrograms
from mlratchet.infra.settings import ServerSettings
from mlratchet.models.artifact.signature import Signature
from mlratchet.models.objectives.away import ObjectiveAway
from mlratchet.models.objectives.base import Objective
from mlratchet.models.ports.storage import ObjectStore
from mlratchet.models.registration.record import Registration
from mlratchet.models.serving.predictor import Predictor


class ArtifactLoader:
    """Loads a version's exported program from its bucket; nothing of it stays on the disk. `closed`: what the children
    of a version with a user's own objective or preparation never read. `programs`: compiles for this machine what is
    asked for."""

    def __init__(
        self,
        open_artifacts: Callable[[str], ObjectStore],
        closed: tuple[Path, ...] = (),
        programs: CompiledPrograms | None = None,
    ) -> None:
        self._open, self._closed, self._programs = open_artifacts, closed, programs

    def load(self, record: Registration, generation: int) -> Predictor:
        """The artifact's bytes verified against its record. Raises ``SecurityError`` for any difference."""
        folder = Path(tempfile.mkdtemp(prefix=f"ratchet-serve-{record.name}-"))
        try:
            fetch_artifact(self._open, record, folder)
            signature = Signature.from_json((folder / "signature.json").read_text())
            objective = self._objective(signature.task)
            preparer = preparer_here(signature, self._closed)
            refuse_other_preparation(folder, signature, f"{record.name} version {record.version}", preparer)
            model = load_exported(folder)
            return Predictor(
                version=record.version,
                generation=generation,
                signature=signature,
                model=model,
                compiled=self._programs.beside(record, folder, model) if self._programs is not None else None,
                objective=objective,
                answer_schema=objective.answer_schema(signature.classes) if objective is not None else None,
                preparer=preparer,
            )
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _objective(self, task: str) -> Objective | None:
        """A user's own: in a child for this version alone, so that the version before answers as it did."""
        if ":" not in task:
            return None
        return ObjectiveAway(task, LastingChild(closed=self._closed, most_s=ANSWER_S))


def closed_to_children(settings: ServerSettings) -> tuple[Path, ...]:
    """Folders with keys, though this process has none of them open."""
    return settings.home, *(Path(folder) for folder in settings.key_folders.split(os.pathsep) if folder)

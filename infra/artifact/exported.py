"""Load an exported program without unpickling anything that a bucket could have written.

A `.pt2` archive may carry pickles and more: `program_archive.py` refuses those. ``TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD``
would undo it: refuse to run.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlratchet.infra.settings import forbid_pickle
from mlratchet.models.artifact.files import PROGRAM
from mlratchet.models.errors import ConfigurationError, RatchetError, SecurityError
from mlratchet.models.evaluation.away import ModelAway
from mlratchet.models.ports.children import Workplace
from mlratchet.models.tensors.batch import Model, program_model
from mlratchet.models.tensors.checked_once import checked_once
from mlratchet.models.tensors.program_archive import read_program

NEVER = ("code", "data/model.pth", "data/pickle_module_info.txt")
"""What MLflow's own loader would import or unpickle, and we load nothing beside."""


def load_exported(directory: Path) -> Model:
    """As `load_program`, to be asked again and again: shapes that passed are not looked at once more."""
    return checked_once(load_program(directory))


def load_program(directory: Path) -> Model:
    """The exported program of a model directory, on the CPU, as a function of one batch. MLflow's own loader is not
    asked: it imports what the directory names before it looks at the archive.

    Raises ``SecurityError`` for an archive that is not free of pickle.
    """
    other = [name for name in NEVER if (directory / name).exists()]
    if other:
        raise SecurityError(
            f"{directory}: holds {other[0]}, which is no part of an exported program; nothing is loaded"
        )
    forbid_pickle()
    return program_model(read_program(directory / PROGRAM))


def exported_away(directory: Path) -> ModelAway:
    """The program of a verified model directory, for a child to load: this process loads none."""
    return ModelAway(load=f"{__name__}:load_away", arguments={"directory": str(directory)}, reads=(directory,))


def load_away(arguments: Mapping[str, Any], _workplace: Workplace) -> Model:
    """In the child. Raises ``ConfigurationError`` for a program that cannot be loaded here."""
    try:
        return load_exported(Path(arguments["directory"]))
    except RatchetError:
        raise
    except Exception as error:  # a program of another torch or platform may fail in any way
        raise ConfigurationError(f"it cannot be loaded here: {type(error).__name__}: {error}"[:300]) from error

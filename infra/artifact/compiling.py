"""AOTInductor: a verified program compiled for the machine that serves it, in a child without keys.

The child hands back the package and the inputs that it was tried on; whoever serves tries both programs on them again.
"""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mlratchet.infra.artifact.converted import difference, example_of
from mlratchet.infra.artifact.exported import load_exported
from mlratchet.infra.settings import forbid_pickle
from mlratchet.models.artifact.files import PROGRAM
from mlratchet.models.artifact.signature import Signature
from mlratchet.models.artifact.tried_inputs import tried_inputs
from mlratchet.models.ports.children import Workplace
from mlratchet.models.tensors.batch import Model
from mlratchet.models.tensors.checked_once import compiled_of
from mlratchet.models.tensors.program_archive import read_program
from safetensors.numpy import save

COMPILE = f"{__name__}:compile_away"
PACKAGE, TRIED = "package.pt2", "tried.safetensors"  # in the scratch
NICE = 10  # of the child: it compiles beside a server that answers
COMPILERS = ("g++", "clang++")


def compiler() -> str | None:
    """The C++ compiler of this machine; None without one."""
    return next((found for name in COMPILERS if (found := shutil.which(name)) is not None), None)


def compile_away(request: Mapping[str, Any], workplace: Workplace) -> str:
    """In the child: `done`, or why not. `threads`: of the forward, which the machine code holds."""
    os.nice(NICE)
    directory = Path(request["directory"])
    torch.set_num_threads(int(request["threads"]))
    signature = Signature.from_json((directory / "signature.json").read_text())
    program, example = load_exported(directory), example_of(directory, signature)
    forbid_pickle()
    read = read_program(directory / PROGRAM)
    from torch._inductor import aoti_compile_and_package, config

    package = workplace.scratch / PACKAGE
    with warnings.catch_warnings(), config.patch({"compile_threads": 1}):
        warnings.simplefilter("ignore")
        try:
            aoti_compile_and_package(read, package_path=str(package))
        except Exception as error:  # noqa: BLE001 - a compiler raises whatever it likes at what it does not know
            return f"{type(error).__name__}: {' '.join(str(error).split())[:600]}"
    words = difference(program, load_package(package, program), example, signature)
    if words:
        return words
    tried = list(tried_inputs(example, signature.tensors, np.random.default_rng(0)))[:4]
    arrays = {f"{number}:{name}": one for number, x in enumerate(tried) for name, one in x.arrays().items()}
    (workplace.scratch / TRIED).write_bytes(save({name: np.ascontiguousarray(one) for name, one in arrays.items()}))
    return "done"


def load_package(package: Path, program: Model) -> Model:
    """Machine code that was compiled here, asked as the program is, with shapes that the program has taken."""
    from torch._inductor import aoti_load_package

    loaded: Any = aoti_load_package(str(package))
    return compiled_of(loaded, program)

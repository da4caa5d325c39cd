"""Which line of a user's own code an error came from: that is where a person mends it."""

from __future__ import annotations

import sysconfig
import traceback
from pathlib import Path

PRODUCT = Path(__file__).parent.parent  # what is imported as `mlratchet`
FOREIGN = (str(PRODUCT), *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")))


def own_line(error: BaseException) -> str:
    """``file.py:12``, the innermost line that is neither Ratchet's nor of an installed package nor of Python; empty
    where there is none. The path is that of the working folder where the file is below it."""
    if isinstance(error, SyntaxError) and error.filename is not None and is_own(error.filename):
        return place(error.filename, error.lineno or 1)
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if is_own(frame.filename)]
    return place(frames[-1].filename, frames[-1].lineno or 1) if frames else ""


def is_own(file: str) -> bool:
    """Whether a source file is of the user's."""
    path = Path(file)
    if file.startswith("<") or not (path.is_absolute() or path.exists()):
        return False
    both = (path.absolute(), path.resolve())  # an editable install is imported through links
    return not any(one.is_relative_to(folder) for one in both for folder in FOREIGN)


def place(file: str, line: int) -> str:
    """``file.py:12``, below the working folder where the file is."""
    path = Path(file).resolve()
    return f"{path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}:{line}"

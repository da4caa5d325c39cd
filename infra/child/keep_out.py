"""An entry point's first word: this process may hold a key, so users' code and stored programs run in its children."""

from __future__ import annotations

import sys
from pathlib import Path

from mlratchet.infra.child.call import ForkedChildren
from mlratchet.infra.child.confine import undump
from mlratchet.infra.settings import Settings, python_path
from mlratchet.models.finding import ROOT, look_in
from mlratchet.models.ports.children import install


def keep_users_code_out(home: Path, settings: Settings | None = None) -> None:
    """From now on. `settings`: they name files with keys outside of the home. Nothing is imported from the users'
    folders any more, whatever it is called: a library's optional import would take a file of theirs. Their source is
    looked at there."""
    undump()
    users = [Path.cwd(), *(Path(folder).absolute() for folder in python_path())]
    kept_out = {folder.resolve() for folder in users} - {ROOT.parent.resolve()}  # Ratchet itself may be found so
    sys.path[:] = [folder for folder in sys.path if folder and Path(folder).resolve() not in kept_out]
    look_in([str(folder) for folder in users])
    named = (settings.signing_key_file, settings.approver_key_file) if settings is not None else ()
    install(ForkedChildren(home, closed=tuple(file.parent for file in named if file is not None)))

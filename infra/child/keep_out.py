"""An entry point's first word: this process may hold a key, so users' code and stored programs run in its children."""

from __future__ import annotations

from pathlib import Path

from mlratchet.infra.child.call import ForkedChildren
from mlratchet.infra.child.confine import undump
from mlratchet.infra.settings import Settings
from mlratchet.models.ports.children import install


def keep_users_code_out(home: Path, settings: Settings | None = None) -> None:
    """From now on. `settings`: they name files with keys outside of the home."""
    undump()
    named = (settings.signing_key_file, settings.approver_key_file) if settings is not None else ()
    install(ForkedChildren(home, closed=tuple(file.parent for file in named if file is not None)))

"""The folder that a user works in, with one file of theirs."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Writes the user's `shop.py`, the one file, into the folder that they work in."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(text: str) -> None:
        (tmp_path / "shop.py").write_text(text)
        importlib.invalidate_caches()
        sys.modules.pop("shop", None)

    yield write
    sys.modules.pop("shop", None)

"""Leads a browser in by a link that nobody else sees: the arguments of a process are public, a private file is not."""

from __future__ import annotations

import html
import webbrowser
from pathlib import Path

from mlratchet.infra.machine.atomic import write_private


def show(home: Path, service: str, link: str) -> bool:
    """Open `link` through a page that the owner alone can read; False where no browser was found."""
    page = home / "run" / f"open-{service}.html"
    address = html.escape(link, quote=True)
    write_private(page, f'<!doctype html><meta http-equiv="refresh" content="0;url={address}"><title>{service}</title>')
    return webbrowser.open(page.as_uri())

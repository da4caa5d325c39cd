"""What a person sees in Prefect while a run works: progress, tables, links. Never the reason a run fails."""

from __future__ import annotations

import logging
from typing import Any
from uuid import UUID

from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

logger = logging.getLogger(__name__)


class Progress:
    """A progress artifact that is created on the first report and updated at most once a percent."""

    def __init__(self, key: str, description: str) -> None:
        self._key = key
        self._description = description
        self._id: UUID | None = None
        self._shown = -1.0

    def report(self, done: float, total: float) -> None:
        """`done` of `total`, in any unit."""
        percent = 100.0 * done / total if total else 100.0
        if percent - self._shown < 1.0 and percent < 100.0:
            return
        self._shown = percent
        try:
            if self._id is None:
                created: Any = create_progress_artifact(percent, key=self._key, description=self._description)
                self._id = created
            else:
                update_progress_artifact(self._id, percent, description=self._description)
        except Exception:
            logger.warning("progress artifact %s could not be written", self._key, exc_info=True)


def show_table(key: str, rows: list[dict[str, Any]], description: str) -> None:
    """A table artifact on the run's page."""
    create_table_artifact(rows, key=key, description=description)


def show_markdown(key: str, text: str, description: str) -> None:
    """A text artifact on the run's page."""
    create_markdown_artifact(text, key=key, description=description)


def show_text(key: str, markdown: str) -> None:
    """A page of its own on the run's page."""
    create_markdown_artifact(markdown, key=key, description=markdown.split("\n", 1)[0].lstrip("# "))


def show_link(key: str, url: str, text: str) -> None:
    """A link artifact on the run's page."""
    create_link_artifact(url, key=key, link_text=text, description=text)

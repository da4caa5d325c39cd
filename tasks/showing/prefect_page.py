"""What a person sees in Prefect while a run works: progress, tables, links. Never the reason a run fails."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from mlratchet.infra.settings import Settings
from mlratchet.models.destination import flow_run_place
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

    def report(self, done: float, total: float, words: str = "") -> None:
        """`done` of `total`, in any unit; `words` say more, for whoever follows."""
        percent = 100.0 * done / total if total else 100.0
        if percent - self._shown < 1.0 and percent < 100.0:
            return
        self._shown = percent
        described = f"{self._description}: {words}" if words else self._description
        try:
            if self._id is None:
                created: Any = create_progress_artifact(percent, key=self._key, description=described)
                self._id = created
            else:
                update_progress_artifact(self._id, percent, description=described)
        except Exception:
            logger.warning("progress artifact %s could not be written", self._key, exc_info=True)


def run_url(settings: Settings, run_id: str) -> str:
    """The page of a run in Prefect."""
    return f"{settings.prefect_api_url.removesuffix('/api')}{flow_run_place(run_id)}"


def show_table(key: str, rows: list[dict[str, Any]], description: str) -> None:
    """A table artifact on the run's page."""
    with never_the_reason(key):
        create_table_artifact(rows, key=key, description=description)


def show_markdown(key: str, text: str, description: str) -> None:
    """A text artifact on the run's page."""
    with never_the_reason(key):
        create_markdown_artifact(text, key=key, description=description)


def show_text(key: str, markdown: str) -> None:
    """A page of its own on the run's page."""
    with never_the_reason(key):
        create_markdown_artifact(markdown, key=key, description=markdown.split("\n", 1)[0].lstrip("# "))


def show_link(key: str, url: str, text: str) -> None:
    """A link artifact on the run's page."""
    with never_the_reason(key):
        create_link_artifact(url, key=key, link_text=text, description=text)


@contextmanager
def never_the_reason(key: str) -> Iterator[None]:
    """That a run fails, or does a step again."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - Prefect or the network: whatever it raises, the records are in the bucket
        logger.warning("%s is not shown in Prefect: %s: %s", key, type(error).__name__, error)

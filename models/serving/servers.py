"""The servers port: who runs a model server per pipeline, and where it answers."""

from __future__ import annotations

from typing import Literal, Protocol, runtime_checkable

from mlratchet.models.serving.config import ServingConfig

Withdrawn = Literal["stopped", "removed"]


@runtime_checkable
class Servers(Protocol):
    """One server per pipeline; it follows the ledger by itself."""

    def request(self, pipeline: str, serving: ServingConfig) -> None:
        """Ask for a server of the pipeline. Idempotent; another configuration replaces the one before."""
        ...

    def withdraw(self, pipeline: str, how: Withdrawn) -> None:
        """End the server, and remember that a person wanted it so: nothing but `request` or `resume` undoes it.
        Idempotent."""
        ...

    def withdrawn(self, pipeline: str) -> Withdrawn | None:
        """Whether a person took it out of service."""
        ...

    def resume(self, pipeline: str) -> None:
        """Forget that it was withdrawn. Idempotent."""
        ...

    def requested(self, pipeline: str) -> bool:
        """Whether one was asked for."""
        ...

    def url(self, pipeline: str) -> str | None:
        """Where it answers, or None when none was asked for or it has no address yet."""
        ...

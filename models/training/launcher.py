"""The launcher port: who starts the processes of a training and brings back what they report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

from mlratchet.models.training.config import TrainConfig
from mlratchet.models.training.job import TrainJob
from mlratchet.models.training.result import TrainResult


def never() -> bool:
    """Nobody gives the attempt up."""
    return False


@runtime_checkable
class Launcher(Protocol):
    """One attempt at a time; whatever ends it, no process of it is left."""

    def processes(self, config: TrainConfig) -> int:
        """Ranks per node. Raises ``ConfigurationError`` for more than there are devices."""
        ...

    def train(
        self,
        job: TrainJob,
        *,
        on_event: Callable[[dict[str, Any]], None],
        abandoned: Callable[[], bool] = never,
        environment: Mapping[str, str] | None = None,
    ) -> TrainResult:
        """Train `job` to the end. `on_event` and `abandoned` are called from this thread.

        Args:
            job: What to train.
            on_event: Takes every event of the ranks.
            abandoned: Asked several times a second; once it says yes, every process of the attempt is killed.
            environment: More variables for the ranks, e.g. which GPUs they see.

        Raises the error of a rank as it was raised there, ``InfrastructureError`` when the ranks died,
        ``AbandonedError`` when `abandoned` said so.
        """
        ...

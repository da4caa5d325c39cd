"""Which failures a second try can mend: those of servers and machines, never those of data or configuration."""

from __future__ import annotations

from typing import Any

from mlratchet.models.errors import InfrastructureError, RatchetError


def worth_repeating(_task: Any, _task_run: Any, state: Any) -> bool:
    """A Prefect ``retry_condition_fn``: False for errors that would come back the same."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, InfrastructureError) or not isinstance(error, RatchetError)

"""A step of the road as a Prefect task: its name, its retries, and a fault point on either side."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from dataclasses import is_dataclass
from typing import Any, Generic, ParamSpec, TypeVar

from mlratchet.models.errors import InfrastructureError, RatchetError
from mlratchet.models.fault_points import fault_point
from mlratchet.models.identity.lease import HeldError
from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State

P = ParamSpec("P")
R = TypeVar("R")
DELAYS_S = [2.0, 10.0]  # before the first and the second retry


def worth_repeating(_task: Any, _task_run: Any, state: Any) -> bool:
    """A Prefect ``retry_condition_fn``: False for errors that would come back the same.

    A second try can mend the failures of servers and machines, never those of data or configuration.
    """
    error = state.result(raise_on_failure=False)
    if not isinstance(error, Exception) or isinstance(error, HeldError):  # a verdict; or it waited already
        return False
    return isinstance(error, InfrastructureError) or not isinstance(error, RatchetError)


class OneLine(logging.Filter):
    """An error of ours says everything in its line: its traceback is kept out of every log."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Strip the traceback of a ``RatchetError``."""
        if record.exc_info and isinstance(record.exc_info[1], RatchetError):
            record.exc_info = None
        return True


logging.getLogger("prefect.task_runs").addFilter(OneLine())


class Sealed:
    """A value that Prefect passes on without walking it: it visits every item of a dataclass's lists, several times per
    task, which took 7 s for the per-row outputs of two models on 200,000 rows."""

    def __init__(self, value: Any) -> None:
        self.value = value


def seal(value: Any) -> Any:
    """Dataclasses alone: a run's name is built from the plain arguments."""
    return Sealed(value) if is_dataclass(value) and not isinstance(value, type) else value


def unseal(value: Any) -> Any:
    """The value as it was, also that of a step that ended red."""
    if isinstance(value, State):
        value = value.result(raise_on_failure=False)
    return value.value if isinstance(value, Sealed) else value


class Step(Generic[P, R]):
    """Called like the function; `fn` is the function without Prefect."""

    def __init__(self, function: Callable[P, R], through_prefect: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)
        self.fn, self._through_prefect = function, through_prefect

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run as a task of the flow run under way."""
        sealed = {name: seal(value) for name, value in kwargs.items()}
        result: R = unseal(self._through_prefect(*map(seal, args), **sealed))
        return result


def step(
    name: str,
    *,
    run_name: str | None = None,
    retries: int = 2,
    state_of: Callable[[Any], State[Any] | None] | None = None,
) -> Callable[[Callable[P, R]], Step[P, R]]:
    """Decorate a function of one call. Fault points: ``<function>.before`` and ``<function>.after``.

    Args:
        name: As a person reads it.
        run_name: The same with parameters of the function, e.g. ``Gate: {gate}``.
        retries: Of failures that `worth_repeating` lets through.
        state_of: The state in which the task ends with a result that is no plain success; None for one that is. Nothing
            is retried and no traceback is logged for it, and the caller gets the result all the same.
    """

    def decorate(function: Callable[P, R]) -> Step[P, R]:
        @functools.wraps(function)
        def between_fault_points(*args: Any, **kwargs: Any) -> Any:
            fault_point(f"{function.__name__}.before")
            result = function(*map(unseal, args), **{key: unseal(value) for key, value in kwargs.items()})
            fault_point(f"{function.__name__}.after")
            state = state_of(result) if state_of is not None else None
            if state is not None:
                state.data = Sealed(result)
                return state
            return seal(result)

        through_prefect = task(
            name=name,
            task_run_name=run_name or name,
            retries=retries,
            retry_delay_seconds=DELAYS_S[:retries],
            cache_policy=NO_CACHE,
            retry_condition_fn=worth_repeating,
        )(between_fault_points)
        return Step(function, through_prefect)

    return decorate

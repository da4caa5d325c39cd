"""A user's own function or class, named as ``package.module:name``."""

from __future__ import annotations

import importlib
import inspect
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, TypeVar

from mlratchet.models.errors import ConfigurationError
from mlratchet.models.finding import is_ours
from mlratchet.models.nearest import nearest_hint
from mlratchet.models.own_line import own_line

REFERENCE = r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"
Kind = TypeVar("Kind")
Answer = TypeVar("Answer")


class EscapedError(Exception):
    """What a user's code raised that is no ``Exception`` and would have ended the process: `SystemExit: 3`."""


def contained(call: Callable[[], Answer]) -> Answer:
    """Call code of a user's. Whatever it raises by itself comes out as an ``Exception``.

    A signal that the process gets meanwhile is no doing of the code's: what its handler raises comes out as it is, and
    an interrupt stops the run although the code caught it.
    """
    came: set[int] = set()
    try:
        with _noticed(came):
            return call()
    except Exception:
        raise
    except BaseException as error:
        if came:
            raise
        raise EscapedError(raised(error)) from error
    finally:
        if signal.SIGINT in came:
            raise KeyboardInterrupt


def raised(error: BaseException) -> str:
    """`ValueError: why`, or the kind alone where it says no more; of what escaped, that itself."""
    if isinstance(error, EscapedError):
        return str(error)
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


@contextmanager
def _noticed(came: set[int]) -> Iterator[None]:
    """Adds the signals that arrive to `came`. Only the main thread gets any."""
    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def handle(number: int, frame: Any) -> None:
        came.add(number)
        before[number](number, frame)

    handled = [number for number, handler in before.items() if callable(handler)]
    for number in handled:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number in handled:
            signal.signal(number, before[number])


_state = {"kept out": False}


class KeptOutError(RuntimeError):
    """A user's module was about to be imported where none may be: a mistake of ours, the call belongs into a child."""


def keep_out(kept: bool) -> None:
    """Whether this process imports no module of a user's from now on: one that may hold a key does not."""
    _state["kept out"] = kept


def kept_out() -> bool:
    """Whether it imports none."""
    return _state["kept out"]


def load_function(reference: str, where: str, *, what: str = "function") -> Callable[..., Any]:
    """The function (or class: `what`) of a reference; `where` names the place in the pipeline file.

    Raises ``ConfigurationError`` with the nearest name when the module or what it should hold is missing.
    """
    module_name, _, name = reference.partition(":")
    module = _module(module_name, where)
    found = getattr(module, name, None)
    if not callable(found):
        kind, many = (inspect.isclass, "classes") if what == "class" else (inspect.isfunction, "functions")
        known = [n for n, _ in inspect.getmembers(module, kind) if not n.startswith("_")]
        hint = nearest_hint(name, known, otherwise=f"{many} there: {', '.join(known) or 'none'}")
        raise ConfigurationError(f"{where}: {module_name} has no {what} {name!r}; {hint}")
    function: Callable[..., Any] = found
    return function


def load_class(reference: str, base: type[Kind], what: str) -> type[Kind]:
    """The subclass of `base` of a reference; `what` it is, e.g. ``workload``.

    Raises ``ConfigurationError`` with the nearest name when the module or the class is missing.
    """
    module_name, _, name = reference.partition(":")
    module = _module(module_name, f"{what} {reference!r}")
    found = getattr(module, name, None)
    if inspect.isclass(found) and issubclass(found, base):
        return found
    known = [n for n, c in inspect.getmembers(module, inspect.isclass) if issubclass(c, base) and c is not base]
    hint = nearest_hint(name, known, otherwise=f"{what}s there: {', '.join(known) or 'none'}")
    raise ConfigurationError(f"{what} {reference!r}: no subclass of {base.__name__} with this name; {hint}")


def _module(name: str, where: str) -> ModuleType:
    if kept_out() and not is_ours(name):
        raise KeptOutError(f"{where}: {name} is not imported into a process that may hold a key; call it in a child")
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as exc:  # the user's module: what it raises is a mistake in it, told as one
        line = own_line(exc)
        if isinstance(exc, ImportError) and not line:
            raise ConfigurationError(
                f"{where}: cannot import {name}: {exc}; run from the folder that holds it, or install it"
            ) from exc
        raise ConfigurationError(
            f"{where}: cannot import {name}: {line + ': ' if line else ''}{type(exc).__name__}: {exc}"
        ) from exc

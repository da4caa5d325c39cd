"""Whatever ends a process, raised by a user's code itself, is a reason of its check; a signal to the process is not."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.functions import EscapedError, contained
from mlratchet.models.gates.checks.outside import load_check
from mlratchet.models.gates.evidence import Evidence
from mlratchet.models.gates.judge import judge_gate
from mlratchet.models.gates.policy import GatePolicy
from mlratchet.models.gates.result import CheckResult
from mlratchet.models.metrics.outside import estimates, load_metric
from mlratchet.models.metrics.rows import RowOutputs

Classified = Callable[..., RowOutputs]
Module = Callable[[str], None]
PLACES = """
import asyncio
import signal
from mlratchet.models.gates.checks.base import Check
from mlratchet.models.metrics.base import Metric

class Stop(BaseException):
    pass

def leave():
    ANSWER

def judge(evidence):
    leave()

def slices(rows):
    leave()

class Leaves(Check):
    gates = ("champion",)
    wears = True

    def judge(self, case):
        leave()

class Metric(Metric):
    name, direction, unit, formula, tasks = "m", "higher", "share", "m", ("classification",)

    def value(self, rows):
        leave()

    def weighted(self, rows, weights_RN):
        leave()

    def influence(self, rows):
        leave()
"""
CHECKS: list[dict[str, Any]] = [
    {"kind": "custom", "function": "shop:judge"},
    {"kind": "shop:Leaves"},
    {"kind": "absolute", "metric": "shop:Metric", "minimum": 0.1},
    {"kind": "slice", "metric": "accuracy", "function": "shop:slices", "minimum": 0.1},
]
ANSWERS = {
    "raise SystemExit(3)": "SystemExit: 3",
    "raise KeyboardInterrupt": "KeyboardInterrupt",
    "raise asyncio.CancelledError('late')": "CancelledError: late",
    "raise GeneratorExit": "GeneratorExit",
    "raise Stop('enough')": "Stop: enough",
}


def found(check: dict[str, Any], rows: RowOutputs) -> CheckResult:
    absolute = {"kind": "absolute", "metric": "accuracy", "minimum": 0.1}
    policy = GatePolicy.model_validate(
        {"data": [{"kind": "data", "measure": "rows", "minimum": 1.0}], "candidate": [absolute],
         "staging": [absolute], "champion": [check, absolute]}
    )  # fmt: skip
    return judge_gate(
        policy, "champion", Evidence(candidate=rows), first_model=False, task="classification",
        class_names=("0", "1", "2"), now_s=0.0,
    ).checks[0]  # fmt: skip


@pytest.mark.parametrize("check", CHECKS, ids=lambda one: str(one["kind"]))
@pytest.mark.parametrize("answer", ANSWERS)
def test_what_would_end_the_process_is_the_checks_reason(
    module: Module, classified: Classified, check: dict[str, Any], answer: str
) -> None:
    module(PLACES.replace("ANSWER", answer))
    result = found(check, classified())
    assert result.verdict == "inconclusive"
    assert f"raised {ANSWERS[answer]}" in result.reason


@pytest.mark.parametrize("answer", ANSWERS)
def test_showing_a_metric_and_loading_a_class_end_nothing_either(
    module: Module, classified: Classified, answer: str
) -> None:
    module(PLACES.replace("ANSWER", answer))
    (shown,) = estimates(["shop:Metric"], classified(), "classification").values()
    assert f"raised {ANSWERS[answer]}" in shown.reason
    module(PLACES.replace("ANSWER", answer) + "\nleave()")
    for load in (lambda: load_check("shop:Leaves"), lambda: load_metric("shop:Metric", "classification", "w")):
        with pytest.raises(ConfigurationError, match=ANSWERS[answer]):
            load()
    judged = found({"kind": "custom", "function": "shop:judge"}, classified())
    assert (judged.verdict, ANSWERS[answer] in judged.reason) == ("inconclusive", True)


@pytest.mark.parametrize("check", CHECKS, ids=lambda one: str(one["kind"]))
@pytest.mark.parametrize("hidden", ["", "except BaseException: return None", "except BaseException: raise ValueError"])
def test_control_c_stops_the_run_whatever_the_code_makes_of_it(
    module: Module, classified: Classified, check: dict[str, Any], hidden: str
) -> None:
    sent = "signal.raise_signal(signal.SIGINT)"
    module(PLACES.replace("ANSWER", f"try: {sent}\n    {hidden}" if hidden else sent))
    rows = classified()
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        found(check, rows)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_request_to_leave_is_nobodys_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Prefect asks for it: its handler of SIGTERM raises in whatever runs."""

    class Asked(BaseException):
        pass

    def asked(*_: Any) -> None:
        raise Asked

    before = signal.signal(signal.SIGTERM, asked)
    try:
        with pytest.raises(Asked):
            contained(lambda: signal.raise_signal(signal.SIGTERM))
    finally:
        signal.signal(signal.SIGTERM, before)


def test_in_another_thread_an_interrupt_can_only_be_the_codes_own() -> None:
    told: list[BaseException] = []

    def leave() -> None:
        raise KeyboardInterrupt

    def work() -> None:
        try:
            contained(leave)
        except EscapedError as error:
            told.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert [str(error) for error in told] == ["KeyboardInterrupt"]

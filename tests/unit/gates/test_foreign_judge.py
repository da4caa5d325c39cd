"""A user's check, metric and slice are judged in children: whatever they try, they decide their own verdict alone."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlratchet.infra.child.call import ForkedChildren
from mlratchet.models.decisions import foreign_judge
from mlratchet.models.decisions.judge_again import verdict_on
from mlratchet.models.decisions.stored_evidence import Basis
from mlratchet.models.errors import ConfigurationError, InfrastructureError
from mlratchet.models.functions import KeptOutError, load_function
from mlratchet.models.gates.checks.told import ToldCheck
from mlratchet.models.gates.evidence import Evidence
from mlratchet.models.gates.policy import GatePolicy
from mlratchet.models.gates.result import CheckResult
from mlratchet.models.gates.validation import validate_policy
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.ports.children import HungError, InProcess, KilledError, children, install
from pydantic import ValidationError

from tests.left_out import most_slow

Classified = Callable[..., RowOutputs]
CLASSES = ("0", "1", "2")
SHOP = '''
import os, time
from typing import ClassVar
import numpy as np
from mlratchet.models.gates.checks.base import Check
from mlratchet.models.gates.result import CheckResult
from mlratchet.models.metrics.base import CountMetric

OK = {"value": 1.0, "verdict": "pass", "reason": "ok"}

def fine(evidence, bound=0.5):
    share = float((evidence.candidate.output.argmax(axis=1) == evidence.candidate.y).mean())
    return {"value": share, "verdict": "pass" if share >= bound else "fail", "reason": "share", "threshold": bound}

def rewrites(evidence):
    array = evidence.candidate.output
    while array is not None:
        try:
            array.flags.writeable = True
        except (AttributeError, ValueError):
            pass
        try:
            array[:] = 0
            array[range(len(array)), evidence.candidate.y.astype(int)] = 1
        except (ValueError, TypeError, IndexError):
            pass
        array = getattr(array, "base", None)
    evidence.candidate.ids.clear()
    return OK

def hangs(evidence):
    while True:
        time.sleep(1)

def killed(evidence):
    os.kill(os.getpid(), 9)  # as the kernel does where memory has run out

def ends(evidence):
    os._exit(0)

def array(evidence):
    return {**OK, "verdict": np.array(["pass"])}

def junk(evidence):
    return {**OK, "threshold": object()}

def patches(evidence):
    from mlratchet.models.gates.checks import outside, custom
    from mlratchet.models.gates import judge
    everything = lambda *_, **__: CheckResult(kind="absolute", metric="accuracy", verdict="pass", reason="ok",
                                              threshold="", value=1.0)
    judge.result_in = custom.CustomCheck.judge = everything
    import mlratchet.models.decisions.foreign_judge as mine
    mine.result_in = everything
    mine.asdict = lambda _: {"kind": "absolute", "metric": "accuracy", "verdict": "pass", "reason": "ok",
                             "threshold": "", "value": 1.0, "interval": None, "n": 1, "method": "", "seed": None,
                             "parts": []}
    return OK

class Level(Check):
    """A check of the user's."""
    kind: str
    gates: ClassVar[tuple[str, ...]] = ("champion",)
    wears: ClassVar[bool] = True
    minimum: float = 0.25

    def judge(self, case):
        value = float((case.evidence.candidate.output.argmax(axis=1) == case.evidence.candidate.y).mean())
        verdict = "pass" if value >= self.minimum else "fail"
        return CheckResult(kind=self.kind, metric="l", verdict=verdict, reason="l", threshold="", value=value, n=3)

class Strange(Level):
    """One whose facts are none."""

    @property
    def metric_names(self):
        return ({"a": "set"},)
'''


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder that the user works in; this process keeps its modules out."""
    (tmp_path / "shop.py").write_text(SHOP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    install(ForkedChildren(None))
    yield tmp_path
    install(None)
    assert "shop" not in sys.modules


def policy(*checks: dict[str, Any]) -> GatePolicy:
    absolute = {"kind": "absolute", "metric": "accuracy", "minimum": 0.8}
    return GatePolicy.model_validate(
        {"data": [{"kind": "data", "measure": "rows", "minimum": 1.0}], "candidate": [absolute],
         "staging": [absolute], "champion": [*checks, absolute]}
    )  # fmt: skip


def judged(rows: RowOutputs, *checks: dict[str, Any]) -> tuple[CheckResult, ...]:
    basis = Basis(gate="champion", first_model=False, task="classification", class_names=CLASSES, now_s=0.0)
    return verdict_on(policy(*checks), Evidence(candidate=rows), basis).checks


def custom(name: str, **parameters: Any) -> dict[str, Any]:
    return {"kind": "custom", "function": f"shop:{name}", "parameters": parameters}


@pytest.mark.usefixtures("shop")
def test_a_custom_check_is_judged_as_it_is_in_this_process(classified: Classified) -> None:
    rows = classified()
    away = judged(rows, custom("fine"), custom("fine", bound=0.95))
    install(None)
    assert judged(rows, custom("fine"), custom("fine", bound=0.95)) == away
    assert [one.verdict for one in away] == ["pass", "fail", "pass"]
    assert "source" in away[0].method
    sys.modules.pop("shop")


@pytest.mark.usefixtures("shop")
def test_a_custom_check_rewrites_no_evidence(classified: Classified) -> None:
    rows = classified(accuracy=0.4)
    before = rows.output.copy()
    first, second = judged(rows, custom("rewrites"))
    assert np.array_equal(rows.output, before)
    assert (first.verdict, second.verdict) == ("pass", "fail")


@pytest.mark.slow
@pytest.mark.usefixtures("shop")
def test_a_custom_check_holds_no_gate_for_ever(classified: Classified, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign_judge, "LIMIT_S", 1.0)
    began = time.monotonic()
    first, second = judged(classified(), custom("hangs"))
    assert (first.verdict, second.verdict) == ("inconclusive", "pass")
    assert "no answer within 1 s" in first.reason
    assert time.monotonic() - began < 120


class CallsOf:
    """A children port of calls that were prepared, in their order."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)

    def call(self, *_: Any, **__: Any) -> Any:
        found = self.answers.pop(0)
        if isinstance(found, Exception):
            raise found
        return found


PASSED = {"kind": "custom", "metric": "m", "verdict": "pass", "reason": "ok", "threshold": "", "value": 1.0,
          "interval": None, "n": 1, "method": "", "seed": None, "parts": []}  # fmt: skip


@pytest.mark.usefixtures("shop")
def test_a_check_whose_child_was_killed_gets_no_verdict_that_could_be_signed(classified: Classified) -> None:
    with pytest.raises(InfrastructureError, match="killed"):
        judged(classified(), custom("killed"))


@pytest.mark.usefixtures("shop")
def test_a_check_that_answers_late_is_asked_once_more(classified: Classified) -> None:
    late = HungError("no answer within 300 s")
    declared, rows = custom("fine"), classified()
    for answers, verdict in (([late, PASSED], "pass"), ([late, late, PASSED], "inconclusive")):
        install(CallsOf(*answers))
        assert judged(rows, declared)[0].verdict == verdict


@pytest.mark.usefixtures("shop")
def test_a_users_class_whose_child_was_killed_is_not_absent() -> None:
    install(CallsOf(KilledError("its process was killed")))
    with pytest.raises(KilledError):
        policy({"kind": "shop:Level"})


@pytest.mark.parametrize("name", most_slow(["ends", "array", "junk", "missing"], keep=2))
@pytest.mark.usefixtures("shop")
def test_what_is_no_verdict_of_its_own_is_inconclusive(classified: Classified, name: str) -> None:
    first, second = judged(classified(accuracy=0.4), custom(name))
    assert first.verdict == "inconclusive", first
    assert second.verdict == "fail"


@pytest.mark.usefixtures("shop")
def test_a_check_that_changes_the_judge_changes_it_for_itself_alone(classified: Classified) -> None:
    first, second, third = judged(classified(accuracy=0.4), custom("patches"), custom("fine"))
    assert [first.kind, second.verdict, third.verdict] == ["custom", "fail", "fail"]


def test_a_result_of_another_kind_is_no_checks_own() -> None:
    (check,) = policy(custom("fine")).champion[:1]
    other = CheckResult(kind="absolute", metric="accuracy", verdict="pass", reason="ok", threshold="", value=1.0)
    assert foreign_judge.signed_for(check, other).verdict == "inconclusive"


@pytest.mark.usefixtures("shop")
def test_a_users_class_is_told_of_and_judged_in_children(classified: Classified) -> None:
    declared = policy({"kind": "shop:Level"})
    check = declared.champion[0]
    assert isinstance(check, ToldCheck)
    assert (check.gates, check.wears, check.user_code) == (("champion",), True, ("shop:Level",))
    install(None)
    assert policy({"kind": "shop:Level"}).digest() == declared.digest()
    sys.modules.pop("shop")
    install(ForkedChildren(None))
    assert validate_policy(declared, "classification", CLASSES) == validate_policy(policy(), "classification", CLASSES)
    assert [one.verdict for one in judged(classified(), {"kind": "shop:Level"})] == ["pass", "pass"]
    assert judged(classified(), {"kind": "shop:Level", "minimum": 0.99})[0].verdict == "fail"


@pytest.mark.usefixtures("shop")
def test_a_users_class_is_refused_as_it_is_in_this_process() -> None:
    with pytest.raises(ValidationError, match="unknown key 'minimun'; did you mean 'minimum'"):
        policy({"kind": "shop:Level", "minimun": 0.1})
    with pytest.raises(ValidationError, match="minimum: Input should be a valid number"):
        policy({"kind": "shop:Level", "minimum": "much"})
    with pytest.raises(ConfigurationError, match=r"gates\.champion\.0: .*shop has no class 'Levels'"):
        validate_policy(policy({"kind": "shop:Levels"}), "classification", CLASSES)
    with pytest.raises(ConfigurationError, match=r"gates\.champion\.0: .*no function 'find'; did you mean 'fine'"):
        validate_policy(policy(custom("find")), "classification", CLASSES)
    with pytest.raises(ConfigurationError, match=r"no parameter of shop:fine 'bond'|'bond'"):
        validate_policy(policy(custom("fine", bond=1)), "classification", CLASSES)


@pytest.mark.usefixtures("shop")
def test_facts_that_are_none_make_a_check_absent(classified: Classified) -> None:
    assert judged(classified(), {"kind": "shop:Strange"})[0].verdict == "inconclusive"


@pytest.mark.usefixtures("shop")
def test_where_children_are_no_users_module_is_imported() -> None:
    with pytest.raises(KeptOutError):
        load_function("shop:fine", "here")
    install(None)
    assert isinstance(children(), InProcess)
    assert load_function("shop:fine", "here")
    sys.modules.pop("shop")

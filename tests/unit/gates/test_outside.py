"""A check and a metric of the user's: one file each, beside the pipeline, and named in it."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
import yaml
from mlratchet.flows.check_file import check_pipeline
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.gates.checks.base import Check
from mlratchet.models.gates.checks.case import Case
from mlratchet.models.gates.checks.statistical import OnMetric
from mlratchet.models.gates.evidence import Evidence
from mlratchet.models.gates.judge import Rules, judge
from mlratchet.models.gates.kinds import CHECKS
from mlratchet.models.gates.policy import GatePolicy, HoldoutPolicy
from mlratchet.models.gates.result import CheckResult, GateResult, against_bound
from mlratchet.models.gates.validation import validate_policy
from mlratchet.models.metrics.rows import RowOutputs
from pydantic import ValidationError

Classified = Callable[..., RowOutputs]
Module = Callable[[str], None]
CLASSES = ("0", "1", "2")

PASSES = "return CheckResult(kind='x', metric='x', verdict='pass', reason='ok', threshold='', value=1.0"

CHECK, METRIC = re.findall(
    r"```python\n(.*?)```", (Path(__file__).parents[3] / "docs" / "gates.md").read_text(), re.DOTALL
)  # what a user reads is what is tried


def policy(*checks: dict[str, Any]) -> GatePolicy:
    absolute = {"kind": "absolute", "metric": "accuracy", "minimum": 0.1}
    return GatePolicy.model_validate(
        {"data": [{"kind": "data", "measure": "rows", "minimum": 1.0}], "candidate": [absolute],
         "staging": [absolute], "champion": [*checks, absolute]}
    )  # fmt: skip


def decide(declared: GatePolicy, **evidence: Any) -> GateResult:
    return judge(
        "champion", declared.checks("champion"), Evidence(**evidence), first_model=False, task="classification",
        class_names=CLASSES, rules=Rules(),
    )  # fmt: skip


def found(check: dict[str, Any], **evidence: Any) -> CheckResult:
    return decide(policy(check), **evidence).checks[0]


MONOTONY = {"kind": "shop:Monotony", "maximum_share": 0.5}


def test_a_users_check_is_one_file(module: Module, tmp_path: Path, digits_file: Path) -> None:
    module(CHECK)
    document = yaml.safe_load(digits_file.read_text())
    document["gates"]["champion"].append(MONOTONY)
    file = tmp_path / "digits.yaml"
    file.write_text(yaml.safe_dump(document))
    spec, _ = check_pipeline(file)
    assert type(spec.gates.champion[-1]).__name__ == "Monotony"
    assert spec.gates.champion[-1].user_code == ("shop:Monotony",)
    document["gates"]["champion"][-1] = {**MONOTONY, "maximum_shar": 0.5}
    file.write_text(yaml.safe_dump(document))
    with pytest.raises(ConfigurationError, match=r"\d+: unknown key 'maximum_shar'; did you mean 'maximum_share'"):
        check_pipeline(file)


def test_a_users_check_judges_and_says_whose_code_it_was(module: Module, classified: Classified) -> None:
    module(CHECK)
    rows = classified()
    good = found(MONOTONY, candidate=rows)
    assert (good.verdict, good.kind, good.n) == ("pass", "shop:Monotony", len(rows.ids))
    assert "monotony 0.3" in good.reason
    assert "source" in good.method
    assert found({**MONOTONY, "maximum_share": 0.1}, candidate=rows).verdict == "fail"
    assert found(MONOTONY).verdict == "inconclusive"


def test_a_policy_with_a_users_check_is_stored_and_read_back(module: Module) -> None:
    module(CHECK)
    declared = policy(MONOTONY)
    stored = declared.model_dump_json()
    assert GatePolicy.model_validate_json(stored) == declared
    assert MONOTONY.items() <= declared.model_dump(mode="json")["champion"][0].items()


def test_without_its_module_a_check_keeps_the_policys_digest_and_passes_nothing(
    module: Module, classified: Classified
) -> None:
    module(CHECK)
    declared = policy(MONOTONY)
    module("")
    absent = GatePolicy.model_validate_json(declared.model_dump_json())
    assert absent.digest() == declared.digest()
    result = decide(absent, candidate=classified())
    assert result.checks[0].verdict == result.verdict == "inconclusive"
    assert "shop has no class 'Monotony'" in result.checks[0].reason
    with pytest.raises(ConfigurationError, match=r"gates\.champion\.0: .*shop has no class 'Monotony'"):
        validate_policy(absent, "classification", CLASSES)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("raise KeyError('no such luck')", "raised KeyError"),
        ("raise SystemExit(0)", "raised SystemExit"),
        ("return True", "gave bool, expected a CheckResult"),
        ("return CheckResult(kind='x', metric='x', verdict='passed', reason='ok', threshold='')", "verdict must be"),
        ("return CheckResult(kind='x', metric='x', verdict='pass', reason='ok', threshold='')", "a finite value"),
        ("return CheckResult(kind='x', metric='x', verdict='pass', reason=' ', threshold='', value=1.0)", "reason"),
        ("return CheckResult(kind='x', metric='x', verdict='pass', reason='ok', threshold='', value=1.0, n=-1)", "n "),
        ("return CheckResult(kind='x', metric='x', verdict='fail', reason='ok', threshold='', value=float('nan'))",
         "cannot be recorded"),
        ("case.evidence.candidate.output[:] = 0", "raised ValueError"),
        (f"{PASSES}, parts=('x',))", "cannot be recorded: parts.0"),
        (f"{PASSES}, interval=(1.0,))", "cannot be recorded: interval"),
        (f"{PASSES}, seed='s')", "cannot be recorded: seed"),
        ("return CheckResult(kind='x', metric=None, verdict='pass', reason='ok', threshold='', value=1.0)",
         "cannot be recorded: metric"),
        ("return CheckResult(kind='x', metric='x', verdict='fail', reason='ok', threshold='', value='much')",
         "cannot be recorded: value"),
    ],
)  # fmt: skip
def test_whatever_a_users_check_does_wrong_is_inconclusive(
    module: Module, classified: Classified, answer: str, words: str
) -> None:
    module(
        "from mlratchet.models.gates.checks.base import Check\nfrom mlratchet.models.gates.result import CheckResult\n"
        "class Wrong(Check):\n    gates = ('champion',)\n    wears = False\n"
        f"    def judge(self, case):\n        {answer}\n"
    )
    result = found({"kind": "shop:Wrong"}, candidate=classified())
    assert result.verdict == "inconclusive"
    assert words in result.reason


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("class Bare: pass", "expected a subclass"),
        ("from mlratchet.models.gates.checks.base import Check\nclass Bare(Check): pass", "it has no judge"),
        (CHECK.replace("    wears = False\n", "") + "\nBare = Monotony", "does not say wears"),
        (CHECK.replace('"champion")', '"champoin")') + "\nBare = Monotony", "gates must be some of"),
        ("from mlratchet.models.gates.checks.size import SizeCheck as Bare", "give the class `kind: str`"),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
def test_what_is_no_check_is_refused_before_a_run(module: Module, text: str, words: str) -> None:
    module(text)
    with pytest.raises(ConfigurationError, match=words):
        validate_policy(policy({"kind": "shop:Bare"}), "classification", CLASSES)


def test_a_users_check_stands_only_where_it_says(module: Module) -> None:
    module(CHECK.replace('"champion")', '"staging")'))
    with pytest.raises(ValidationError, match="put it under candidate or staging"):
        policy(MONOTONY)


def test_a_users_check_that_looks_at_the_test_rows_wears_them(module: Module, classified: Classified) -> None:
    rule = Rules(holdout=HoldoutPolicy(warn_after=1, then="rotate"))
    for wears, kinds in ((False, ["shop:Monotony"]), (True, ["shop:Monotony", "holdout"])):
        module(CHECK.replace("wears = False", f"wears = {wears}"))
        result = judge(
            "champion", policy(MONOTONY).checks("champion")[:1], Evidence(candidate=classified(), holdout_uses=5),
            first_model=False, task="classification", class_names=CLASSES, rules=rule,
        )  # fmt: skip
        assert [check.kind for check in result.checks] == kinds


ROTATE = Rules(holdout=HoldoutPolicy(warn_after=1, then="rotate"))
AGREES = {"kind": "custom", "function": "tests.unit.gates.gate_functions:agrees"}


@pytest.mark.parametrize("gate", ["data", "candidate", "staging", "champion", "probation"])
@pytest.mark.parametrize("check", [AGREES, {"kind": "shop:Looks"}], ids=["a function", "a class"])
def test_a_users_code_wears_the_test_rows_where_it_is_given_them(
    module: Module, classified: Classified, gate: str, check: dict[str, Any]
) -> None:
    """At the data gate and in probation there are none, and nobody counts their uses."""
    everywhere = 'gates = ("data", "candidate", "staging", "champion", "probation")'
    text = CHECK.replace('gates = ("candidate", "staging", "champion")', everywhere)
    text = text.replace("wears = False", "wears = True").replace("maximum_share: float", "maximum_share: float = 0.9")
    module(text.replace("class Monotony", "class Looks"))
    scored = gate in ("candidate", "staging", "champion")
    evidence = Evidence(candidate=classified(), holdout_uses=5) if scored else Evidence()
    only = [
        one
        for one in GatePolicy.model_validate({**policy().model_dump(), gate: [check]}).checks(gate)
        if one.kind == check["kind"]
    ]
    result = judge(gate, only, evidence, first_model=False, task="classification", class_names=CLASSES, rules=ROTATE)
    assert [one.kind for one in result.checks] == [check["kind"], *(["holdout"] if scored else [])]


# --- a class that leaves something out ------------------------------------------------------------------------------


def judged(self: Check, case: Case) -> CheckResult:
    return against_bound(self.kind, "x", 1.0, 1, minimum=0.0)


@pytest.mark.parametrize(
    ("bases", "body", "words"),
    [
        ((Check,), {"wears": False, "judge": judged}, "does not say gates"),
        ((Check,), {"gates": ("champion",), "judge": judged}, "does not say wears"),
        ((Check,), {"gates": (), "wears": False, "judge": judged}, "gates must be some of"),
        ((Check,), {"gates": ("champion",), "wears": "no", "judge": judged}, "wears must be True or False"),
        ((OnMetric,), {"gates": ("champion",), "wears": True, "judge": judged, "power_of": lambda *_: "",
                       "levels": ()}, "does not say margins"),
        ((Check,), {"gates": ("champion",), "wears": True, "kind": "forgotten"}, "has no judge"),
    ],
)  # fmt: skip
def test_a_class_that_leaves_a_declaration_out_is_refused_when_it_is_defined(
    bases: tuple[type, ...], body: dict[str, Any], words: str
) -> None:
    hints: dict[str, Any] = {"kind": Literal["forgotten"]} if "kind" in body else {}
    hints |= {name: ClassVar[Any] for name in ("gates", "wears") if name in body}
    rest = {name: value for name, value in body.items() if name != "kind"}
    with pytest.raises(TypeError, match=words):
        type("Forgetful", bases, {**rest, "__annotations__": hints, "__module__": __name__})


def test_every_check_of_the_product_says_everything() -> None:
    assert len(CHECKS) >= 24  # none is lost; a new one is a file, and no number here
    for kind, cls in CHECKS.items():
        assert all(hasattr(cls, name) for name in cls.declarations), kind
        assert cls.model_fields["kind"].is_required(), kind
    assert list(CHECKS) == sorted(CHECKS)


# --- metrics --------------------------------------------------------------------------------------------------------

TOP_TWO = {"kind": "absolute", "metric": "shop:TopTwo", "minimum": 0.9, "resamples": 1000}


def test_a_users_metric_is_one_file(module: Module, tmp_path: Path, digits_file: Path) -> None:
    module(METRIC)
    document = yaml.safe_load(digits_file.read_text())
    margin = {"kind": "non_inferiority", "metric": "shop:TopTwo", "margin": 0.001}
    document["gates"]["champion"] += [TOP_TWO, margin]
    file = tmp_path / "digits.yaml"
    file.write_text(yaml.safe_dump(document))
    spec, notes = check_pipeline(file)
    assert spec.gates.champion[-1].user_code == ("shop:TopTwo",)
    assert any("an equally good model passes a margin of 0.001" in note for note in notes)
    document["gates"]["champion"][-2] = {**TOP_TWO, "minimum": 90.0}
    file.write_text(yaml.safe_dump(document))
    with pytest.raises(ConfigurationError, match="minimum 90 lies outside shop:TopTwo, which is 0 to 1"):
        check_pipeline(file)


def test_a_users_metric_judges_with_an_interval_and_in_every_check(module: Module, classified: Classified) -> None:
    module(METRIC)
    rows = classified(n=900)
    rows = dataclasses.replace(rows, columns={"side": ["a", "b", "c"] * 300})
    exact = found({**TOP_TWO, "compare": "interval", "minimum": 0.5}, candidate=rows)
    hit = (rows.output.argsort(axis=1)[:, -2:] == rows.y[:, None]).any(axis=1)
    assert (exact.verdict, exact.value) == ("pass", pytest.approx(hit.mean()))
    assert exact.interval is not None
    assert exact.interval[0] < hit.mean() < exact.interval[1]
    on = {"metric": "shop:TopTwo", "resamples": 1000}
    for check in (
        {"kind": "non_inferiority", "margin": 0.05, **on},
        {"kind": "slice", "by": ["side"], "minimum": 0.5, **on},
        {"kind": "fairness", "by": ["side"], "maximum_gap": 0.3, **on},
    ):
        assert found(check, candidate=rows, champion=rows).verdict == "pass", check["kind"]


def test_a_users_metric_that_fails_or_is_gone_passes_nothing(module: Module, classified: Classified) -> None:
    rows = classified()
    module(METRIC.replace("return sums[..., 0] / sums[..., 1]", "raise RuntimeError('no such luck')"))
    result = found(TOP_TWO, candidate=rows)
    assert (result.verdict, "raised RuntimeError: no such luck" in result.reason) == ("inconclusive", True)
    module("")
    result = found(TOP_TWO, candidate=rows)
    assert (result.verdict, "shop has no class 'TopTwo'" in result.reason) == ("inconclusive", True)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("class TopTwo: pass", "expected a subclass"),
        (METRIC.replace("def from_sums", "def sums_to"), "has no from_sums"),
        (METRIC.replace('"higher"', '"up"'), "direction must be higher or lower"),
        (METRIC.replace('"classification"', '"ranking"'), "is for ranking, the task is classification"),
        (METRIC.replace('    tasks = ("classification",)\n', ""), "does not say its tasks"),
        ("import nothing_of_the_kind", "cannot import shop"),
    ],
)
def test_what_is_no_metric_is_refused_before_a_run(module: Module, text: str, words: str) -> None:
    module(text)
    with pytest.raises(ConfigurationError, match=words):
        validate_policy(policy(TOP_TWO), "classification", CLASSES)


# --- a new kind of the product's ------------------------------------------------------------------------------------

NEW = """
from typing import Literal
from mlratchet.models.gates.checks.base import Check
from mlratchet.models.gates.result import against_bound

class RowsCheck(Check):
    gates = ("champion",)
    wears = True
    kind: Literal["rows"]
    minimum: float

    def judge(self, case):
        return against_bound(self.kind, "rows", float(len(case.evidence.candidate.ids)), 1, minimum=self.minimum)
"""
IN_A_FRESH_PROCESS = """
import json, sys
from mlratchet.models.gates import checks
checks.__path__.append(sys.argv[1])
from mlratchet.models.gates.policy import GatePolicy
from mlratchet.models.gates.kinds import CHECKS
one = {"kind": "absolute", "metric": "accuracy", "minimum": 0.1}
policy = GatePolicy.model_validate({"data": [{"kind": "data", "measure": "rows", "minimum": 1.0}], "candidate": [one],
    "staging": [one], "champion": [{"kind": "rows", "minimum": 5.0}]})
print(json.dumps([list(CHECKS), type(policy.champion[0]).__name__, policy.champion[0].user_code]))
"""


def test_a_new_kind_is_one_file_in_the_package(tmp_path: Path) -> None:
    (tmp_path / "rows.py").write_text(NEW)
    done = subprocess.run(
        [sys.executable, "-c", IN_A_FRESH_PROCESS, str(tmp_path)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    kinds, name, user_code = json.loads(done.stdout)
    assert sorted([*CHECKS, "rows"]) == kinds
    assert (name, user_code) == ("RowsCheck", [])

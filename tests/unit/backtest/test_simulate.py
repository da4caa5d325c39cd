"""The history that a policy would have made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields as fields_of

from mlratchet.models.backtest.plot import timeline
from mlratchet.models.backtest.simulate import Past, simulate
from mlratchet.models.gates.names import GATES
from mlratchet.models.gates.result import CheckResult, GateResult, Verdict
from mlratchet.models.ledger.entry import LedgerEntry

ACCURACY = {1: 0.80, 2: 0.85, 3: 0.84, 4: 0.90}
VERSIONS = [Past(version=v, work_key=str(v), registered_s=100.0 * v) for v in ACCURACY]


def entry(generation: int, version: int, at_s: float, action: str = "promote") -> LedgerEntry:
    fields = {field.name: "" for field in fields_of(LedgerEntry)}
    made = {**fields, "generation": generation, "version": version, "at_s": at_s, "action": action, "name": "m"}
    return LedgerEntry(**made)  # type: ignore[arg-type]  # only what a backtest reads matters here


def result(gate: str, verdict: Verdict, reason: str = "") -> GateResult:
    check = CheckResult(kind="absolute", metric="accuracy", verdict=verdict, reason=reason, threshold="")
    return GateResult(gate=gate, verdict=verdict, checks=(check,))


def better_than_the_champion(gate: str, past: Past, champions: Sequence[Past]) -> GateResult:
    if gate != "champion" or not champions:
        return result(gate, "pass")
    ours, theirs = ACCURACY[past.version], ACCURACY[champions[-1].version]
    return result(gate, "pass" if ours > theirs else "fail", f"{ours} against {theirs}")


def test_a_version_is_judged_against_the_champion_of_this_history() -> None:
    entries = [entry(1, 1, 110), entry(2, 2, 210), entry(3, 3, 310)]
    found = simulate(VERSIONS, entries, better_than_the_champion)
    assert [step.promoted for step in found.steps] == [True, True, False, True]
    assert [step.against for step in found.steps] == [None, 1, 2, 2]
    assert found.steps[2].reasons == ("0.84 against 0.85",)
    assert [(span.from_s, span.version) for span in found.served] == [(100, 1), (200, 2), (400, 4)]
    assert [step.version for step in found.differs] == [3, 4]


def test_the_gates_after_the_first_that_says_no_are_not_asked() -> None:
    asked: list[tuple[str, int]] = []

    def judge(gate: str, past: Past, _champions: Sequence[Past]) -> GateResult:
        asked.append((gate, past.version))
        return result(gate, "inconclusive" if gate == "candidate" else "pass", "unsure")

    found = simulate(VERSIONS[:1], [], judge)
    assert [gate for gate, _ in asked] == list(GATES[:2])
    assert found.steps[0].verdicts == {"data": "pass", "candidate": "inconclusive"}
    assert not found.steps[0].promoted
    assert found.served == ()


def test_a_rollback_is_what_was_and_not_what_the_policy_says() -> None:
    entries = [entry(1, 1, 110), entry(2, 2, 210), entry(3, 1, 250, "rollback")]
    found = simulate(VERSIONS[:2], entries, better_than_the_champion)
    assert [span.version for span in found.did_serve] == [1, 2, 1]
    assert [span.version for span in found.served] == [1, 2]
    assert found.differs == ()


def test_the_order_is_that_of_registration() -> None:
    found = simulate(list(reversed(VERSIONS)), [], better_than_the_champion)
    assert [step.version for step in found.steps] == [1, 2, 3, 4]


def test_the_picture_is_a_png_even_without_a_past() -> None:
    for versions in (VERSIONS, []):
        png = timeline(simulate(versions, [], better_than_the_champion), name="m", until_s=900.0)
        assert png.startswith(b"\x89PNG")

"""A signed document is what its types say, whatever else it says; and its bytes are those of its values."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from typing import Any

import pytest
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.decisions.decision import build_decision, described, explain, load_decision, plain_checks, table
from mlratchet.models.decisions.document import as_decision
from mlratchet.models.decisions.signature import parse_decision, publish_decision
from mlratchet.models.errors import SecurityError
from mlratchet.models.gates.result import CheckResult, GateResult, Part
from mlratchet.models.identity.canonical import canonical_json
from mlratchet.models.identity.signing import Signer

PART = Part(label="region=eu", verdict="pass", n=40, value=math.nan, interval=(0.1, math.inf))
CHECKS = (
    CheckResult(kind="absolute", metric="accuracy", verdict="pass", reason="0.9 >= 0.8", threshold=">= 0.8", value=0.9,
                interval=(0.85, 0.95), n=100, method="Clopper-Pearson", seed=None),
    CheckResult(kind="slice", metric="accuracy", verdict="inconclusive", reason="not surely", threshold="> 0",
                value=math.inf, n=40, seed=3, parts=(PART,)),
)  # fmt: skip


def document() -> dict[str, Any]:
    result = GateResult(gate="champion", verdict="inconclusive", checks=CHECKS, holdout_uses=2)
    decision = build_decision(
        "digits", "champion", result, version=2, work_key="w", champion_version=1, digests={"policy": "p"},
        actor="ada", now_s=5.0, run_id="r", environment={"numpy": "2"}, times={"judged_s": 6.0},
    )  # fmt: skip
    held: dict[str, Any] = json.loads(canonical_json(decision))
    return held


def test_the_checks_are_the_fields_of_the_results_and_numbers_alone() -> None:
    (first, second) = plain_checks(GateResult(gate="champion", verdict="pass", checks=CHECKS))
    said = [{name: held for name, held in asdict(one).items() if name != "interval_level"} for one in CHECKS]
    assert first == {**said[0], "interval": [0.85, 0.95], "parts": []}
    assert second == {**said[1], "value": None, "parts": [{**asdict(PART), "value": None, "interval": None}]}


def test_an_interval_is_told_with_its_confidence_where_that_is_known() -> None:
    known = replace(CHECKS[0], interval_level=0.9)
    for check, words in ((known, "0.8500 to 0.9500 (90 %)"), (CHECKS[0], "0.8500 to 0.9500")):
        result = GateResult(gate="champion", verdict="pass", checks=(check,))
        decision = build_decision(
            "digits", "champion", result, version=2, work_key="w", champion_version=1, digests={}, actor="ada",
            now_s=5.0, run_id="r",
        )  # fmt: skip
        assert table(decision)[0]["interval"] == words
        assert ("interval_level" in decision["checks"][0]) == (check is known)


def test_the_description_begins_with_the_verdict_outside_any_block() -> None:
    """Prefect's card of an artifact has one line, and an empty box for a block that begins in it."""
    decision = as_decision(document(), "test")
    headline, empty, *block = described(decision).splitlines()
    assert headline == "champion gate of digits, version 2, compared with version 1: inconclusive"
    assert (empty, block[0], block[-1]) == ("", "```", "```")
    assert "\n".join([headline, *block[1:-1]]) == explain(decision)


def test_a_decision_reads_back_as_it_was_written(store: MemoryStore) -> None:
    assert load_decision(store, publish_decision(store, document(), Signer.generate())) == document()


def test_what_a_later_release_says_more_stays_and_what_an_older_one_left_out_is_absent() -> None:
    later = {**document(), "weather": {"rain": True}, "checks": [{**document()["checks"][0], "odds": 3}]}
    assert as_decision(later, "it") is later
    assert parse_decision(canonical_json(later), "it") == later
    assert as_decision({"at_s": 1.0}, "it") == {"at_s": 1.0}


@pytest.mark.parametrize(
    ("changed", "place"),
    [
        ({"checks": {}}, "checks"),
        ({"checks": [{"kind": "absolute"}]}, r"checks\.0\.metric"),
        ({"checks": [{**document()["checks"][0], "verdict": "passed"}]}, r"checks\.0\.verdict"),
        ({"checks": [{**document()["checks"][1], "parts": [1]}]}, r"checks\.1\.parts|checks\.0\.parts\.0"),
        ({"version": "2"}, "version"),
        ({"digests": {"policy": 7}}, r"digests\.policy"),
        ({"digests": ["policy"]}, "digests"),
        ({"kind": "wish"}, "kind"),
        ({"verdict": True}, "verdict"),
        ({"at_s": "5"}, "at_s"),
        ({"overrides": [{"gate": "data"}]}, r"overrides\.0\.decision"),
        ({"champion": {"version": "1"}}, r"champion\.version"),
    ],
)
def test_what_has_another_type_was_not_written_by_a_gate(changed: dict[str, Any], place: str) -> None:
    with pytest.raises(SecurityError, match=rf"it: is not a decision \(({place}): "):
        as_decision({**document(), **changed}, "it")


@pytest.mark.parametrize("moment", [math.nan, math.inf])
def test_a_decision_has_a_moment(moment: float) -> None:
    with pytest.raises(SecurityError, match="not a moment"):
        as_decision({**document(), "at_s": moment}, "it")

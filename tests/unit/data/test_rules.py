"""What follows where a delivery breaks a rule is said in the pipeline file: nothing else decides it."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import numpy as np
import pytest
from mlratchet.models.data.rules import (
    AS_USUAL,
    CHANGED,
    OF_A_DELIVERY,
    RULES,
    UNUSABLE,
    QualityConfig,
    RuleBrokenError,
    counted,
    follow,
    refuse_errors,
    ruled,
)
from mlratchet.models.sources.record import Record, Reject, Remark
from pydantic import ValidationError

MODELS = Path(__file__).parents[3] / "models"
REJECTS = [Reject(where=f"a.csv:{n}", code="ragged_row", reason=f"a.csv:{n}: 3 cells, expected 4") for n in (2, 5)]


def record(*codes: str) -> Record:
    remarks = tuple(Remark(code=code, words=f"a.png: {code}") for code in codes)
    return Record(id="a.png", x=np.zeros(1), y=0, where="a.png", remarks=remarks)


NAMED = re.compile(
    r'(?:code=|rule=|(?:Image|Sound|Object|Table|Cell)Error\(\s*|_bad\((?:[^"()]|\{|f"[^"]*")*, |_unreadable\()'
    r'"([a-z]+_[a-z_]+)"'
)


def test_every_rule_that_a_reader_names_is_in_the_list() -> None:
    rooms = ("sources", "schema", "preparation", "workloads", "data")
    texts = [path.read_text() for room in rooms for path in sorted((MODELS / room).glob("*.py"))]
    found = {one for text in texts for one in NAMED.findall(text)}
    assert {"not_whole", "truncated_archive", "not_an_image", "broken_exif", "bad_json"} <= found
    assert len(found) > 40
    assert sorted(found - set(RULES)) == [], "models/data/rules.py: say what follows where these are broken"
    assert len(set(RULES)) == len(RULES)


@pytest.mark.parametrize("rule", UNUSABLE)
def test_a_record_that_cannot_be_used_is_set_aside_and_counted_unless_the_file_says_otherwise(rule: str) -> None:
    rejects = [Reject(where="a:1", code=rule, reason="a:1: r", records=3)]
    assert AS_USUAL.policy_of(rule) == "quarantine"
    assert counted(rejects, AS_USUAL) == 3
    refuse_errors(rejects, AS_USUAL, "shop")
    for policy in ("warn", "ignore"):
        config = QualityConfig(rules={rule: policy})  # type: ignore[dict-item]
        assert counted(rejects, config) == 0
        assert list(ruled(rejects, config)) == rejects
        refuse_errors(rejects, config, "shop")
    with pytest.raises(RuleBrokenError, match=rf"a:1: r: rule {rule} is an error .* 3 records .*--rule {rule}") as told:
        refuse_errors(rejects, QualityConfig(rules={rule: "error"}), "shop")
    assert told.value.exit_code == 3


@pytest.mark.parametrize("rule", CHANGED)
def test_a_record_that_was_changed_is_used_with_a_remark_or_set_aside_or_neither(rule: str) -> None:
    one = record(rule, "told")
    assert list(ruled([one], AS_USUAL)) == [one]
    for policy in ("quarantine", "error"):
        (aside,) = ruled([one], QualityConfig(rules={rule: policy}))  # type: ignore[dict-item]
        assert isinstance(aside, Reject)
        assert (aside.code, aside.reason, aside.where) == (rule, f"a.png: {rule}", "a.png")
    (used,) = ruled([one], QualityConfig(rules={rule: "ignore"}))
    assert isinstance(used, Record)
    assert [remark.code for remark in used.remarks] == ["told"]


@pytest.mark.parametrize("rule", OF_A_DELIVERY)
def test_a_delivery_that_breaks_a_rule_ends_the_run_or_is_told(rule: str, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(RuleBrokenError, match=rf"so it is: rule {rule} is an error; .*quality\.rules\.{rule}: warn"):
        follow(rule, "so it is", QualityConfig(rules={rule: "error"}))
    with caplog.at_level(logging.WARNING):
        follow(rule, "so it is", QualityConfig(rules={rule: "warn"}))
        assert f"{rule}: so it is" in caplog.text
        caplog.clear()
        follow(rule, "so it is", QualityConfig(rules={rule: "ignore"}))
        follow(rule, "", QualityConfig(rules={rule: "error"}))
        assert not caplog.records
    with pytest.raises(ValidationError, match="expected error, warn or ignore"):
        QualityConfig(rules={rule: "quarantine"})


def test_a_rule_that_there_is_not_is_refused_with_the_nearest() -> None:
    with pytest.raises(ValidationError, match=r"no rule 'raged_row'; did you mean 'ragged_row'\?"):
        QualityConfig(rules={"raged_row": "error"})
    with pytest.raises(ValidationError, match="'error', 'quarantine', 'warn' or 'ignore'"):
        QualityConfig(rules={"ragged_row": "stop"})  # type: ignore[dict-item]


def test_the_rules_of_a_reader_of_ones_own_are_the_others() -> None:
    mine = [Reject(where="a:1", code="my_rule", reason="a:1: r")]
    assert counted(mine, AS_USUAL) == 1
    assert counted(mine, QualityConfig(rules={"others": "warn"})) == 0
    assert counted(REJECTS, QualityConfig(rules={"others": "warn"})) == 2
    with pytest.raises(RuleBrokenError, match="my_rule"):
        refuse_errors(mine, QualityConfig(rules={"others": "error"}), "shop")

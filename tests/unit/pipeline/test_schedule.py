"""A schedule that never comes, or that Prefect would refuse later, is refused with its line."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.pipeline.changes import Changes, changed_pipeline
from mlratchet.models.pipeline.cron import CRON_FIELDS, SHORTHANDS, cron_problem
from mlratchet.models.pipeline.loading import parse_pipeline
from prefect._vendor.croniter import CroniterError, croniter
from prefect.client.schemas.schedules import CronSchedule
from pydantic import ValidationError

TWO_LAYERS = Path(__file__).parents[3] / "docs" / "examples" / "two_layers" / "two-layers.yaml"
NOW = datetime(2026, 11, 26, tzinfo=UTC)


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        ('"every day"', "did you mean '0 2 * * *'?"),
        ('""', "expected five fields"),
        ('"60 * * * *"', "minute 60: expected 0 to 59"),
        ('"0 2 * * *", timezone: Europe/Berln', "did you mean 'Europe/Berlin'?"),
        ('"0 2 * * *", timezone: ""', "no such time zone"),
        ('"0 0 30 2 *"', "day 30 of Feb never comes"),
        ('"0 0 31 4,6,9,11 *"', "never comes"),
        ('"*/5 * * * * *"', "not in seconds"),
        ('"0 2 * * mond"', "did you mean 'mon'?"),
        ('"@dayly"', "did you mean '@daily'?"),
        ('"1-5-7 * * * *"', "expected one range"),
        ('"0 0 * * fri#6"', "the first to the fifth"),
        ('"0 0 * * fri#1,mon"', "cannot stand beside"),
        ('"0 0 * L *"', "month 'l'"),
        ('"0 ? * * *"', "? stands for any day"),
        ('"*/0 * * * *"', "the step is 0"),
        ('"H * * * *"', "minute 'h'"),
        ('"0 2 * *"', "got 4"),
    ],
)
@pytest.mark.parametrize("section", ["", "tune: "])
def test_a_schedule_that_cannot_be_kept_is_refused_with_its_line(schedule: str, words: str, section: str) -> None:
    space = '{metric: accuracy, space: {"train.epochs": {values: [1, 2]}}, trials: 2, '
    written = f"{section}{space if section else ''}schedule: {{cron: {schedule}}}{'}' if section else ''}\n"
    text = TWO_LAYERS.read_text()
    with pytest.raises(ConfigurationError) as caught:
        parse_pipeline(f"{text}{written}", where="p.yaml")
    said = str(caught.value)
    assert words in said
    assert said.startswith(f"p.yaml:{len(text.splitlines()) + 1}: ")
    assert "schedule." in said


@pytest.mark.parametrize("cron", ["0 0 30 2 *", "0 2 * * mond", "every day", "*/90 * * * *"])
@pytest.mark.parametrize("section", ["", "tune: "])
def test_what_was_published_is_read_as_it_was_then(cron: str, section: str) -> None:
    space = '{metric: accuracy, space: {"train.epochs": {kind: categorical, choices: [1, 2]}}, trials: 2, '
    place = f'schedule: {{cron: "{cron}", timezone: Europe/Berln}}'
    text = f"{TWO_LAYERS.read_text()}{section}{space if section else ''}{place}{'}' if section else ''}\n"
    spec = parse_pipeline(text, where="revision", published=True)
    assert changed_pipeline(spec, Changes(named={"train.epochs": 3})).train.epochs == 3
    found = spec.tune.schedule if spec.tune is not None else spec.schedule
    assert found is not None
    assert found.cron == cron
    with pytest.raises(ConfigurationError, match=r"schedule\.cron"):
        parse_pipeline(text, where="p.yaml")


@pytest.mark.parametrize(
    "line",
    [
        "0 0 L * *", "0 0 l 2 *", "0 2 1-L/2 * *", "* * * * fri#1", "0 0 * * mon-wed#2,L5", "0 0 * * L5", "0 0 ? * 1",
        "0 0 1 * ?", "0 0 * * sat-sun", "0 0 * * FRI-7", "0 22-2 * * *", "0 0 * dec-feb *", "0 0 30-2 2 *", "@DAILY",
        "@Weekly", "0 0 31-31 2 *", "0 0 L 2 fri#5", "50-10/7 * * * *",
    ],
)  # fmt: skip
def test_lines_that_prefect_takes_are_taken(line: str) -> None:
    assert comes(line)
    assert cron_problem(line) == ""


def comes(line: str) -> bool:
    """What Prefect makes of it."""
    try:
        CronSchedule(cron=line)
        return bool(croniter(line, NOW).get_next(datetime) > NOW)
    except (ValidationError, CroniterError):
        return False


def field(at: int) -> st.SearchStrategy[str]:
    place = CRON_FIELDS[at]
    number = st.integers(place.least - 1, place.most + 1).map(str) | st.sampled_from(place.names or ("0", "1"))
    if place.name == "day of month":
        number |= st.sampled_from(["L", "l"])
    span = number | st.just("*") | st.tuples(number, number).map("-".join)
    if place.name == "day of week":
        span |= st.tuples(span, st.integers(0, 6).map(str)).map("#".join) | st.integers(0, 8).map("L{}".format)
    stepped = span | st.tuples(span, st.integers(0, place.most + 2).map(str)).map("/".join)
    lists = st.lists(stepped, min_size=1, max_size=3).map(",".join)
    plain = st.sampled_from(["*", "?", "1", "1-5"]) if place.names or place.most == 31 else st.just("*")
    return plain | stepped | lists | lists.map(str.upper)


LINES = st.tuples(*map(field, range(5))).map(" ".join) | st.sampled_from([*SHORTHANDS, *map(str.upper, SHORTHANDS)])
ON_PURPOSE = re.compile(r"the step is [1-9]|(day of month|month) 0: expected 1")  # Prefect reads another line into it


@settings(max_examples=400)
@example("* * 30 2 1")
@example("* * 30-30 2 *")
@example("* * 31/2 2 *")
@example("* * * * mon#1,tue")
@example("* * * * sun-sat,mon#1")
@example("* * * * */2#1")
@example("* * L5 * 5L")
@example("* * 1,? * *")
@example("? * * * *")
@given(LINES)
def test_a_line_is_accepted_where_prefect_takes_it_and_it_comes(line: str) -> None:
    problem = cron_problem(line)
    assert comes(line) == (problem == "") or ON_PURPOSE.search(problem), problem

"""A schedule that never comes, or that Prefect would refuse later, is refused with its line."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.pipeline.loading import parse_pipeline
from mlratchet.models.pipeline.schedule import CRON_FIELDS, SHORTHANDS, cron_problem
from prefect._vendor.croniter import CroniterBadDateError, croniter

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
        ('"5-1 * * * *"', "from the smaller to the larger"),
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


def field(at: int) -> st.SearchStrategy[str]:
    place = CRON_FIELDS[at]
    number = st.integers(place.least - 1, place.most + 1).map(str) | st.sampled_from(place.names or ("0", "1"))
    span = number | st.just("*") | st.tuples(number, number).map("-".join)
    stepped = span | st.tuples(span, st.integers(0, 70).map(str)).map("/".join)
    return st.lists(stepped, min_size=1, max_size=3).map(",".join)


LINES = st.tuples(*map(field, range(5))).map(" ".join) | st.sampled_from(SHORTHANDS)


@example("* * 30 2 1")
@given(LINES)
def test_whatever_is_accepted_is_a_line_of_prefects_and_comes(line: str) -> None:
    if cron_problem(line) == "":
        assert croniter.is_valid(line)
        assert croniter(line, NOW, max_years_between_matches=50).get_next(datetime) > NOW


PLAIN = st.sampled_from(["*", "1", "5", "*/2", "1-3", "2,4"])


@given(PLAIN, PLAIN, st.integers(1, 31).map(str) | PLAIN, st.integers(1, 12).map(str) | PLAIN, PLAIN)
def test_a_line_that_comes_is_not_refused(minute: str, hour: str, day: str, month: str, weekday: str) -> None:
    line = f"{minute} {hour} {day} {month} {weekday}"
    try:
        croniter(line, NOW, max_years_between_matches=50).get_next(datetime)
    except CroniterBadDateError:
        assert "never comes" in cron_problem(line)
    else:
        assert cron_problem(line) == ""

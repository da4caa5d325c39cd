"""Ratings with what was known when each was asked for: of the person, of the film, and what both did before.

Everything is of strictly earlier moments, so that a model can be split by time and asked as a client would ask it: who
was never trained on brings what they rated until now.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

Rating = tuple[str, str, int, int]  # user, item, rating, time in seconds

REMEMBERED = 30  # films a list holds, the newest
NEWCOMER = 10  # ratings: who has given fewer is one
LIKED = 4  # stars from which on a film is liked
COLUMNS = (
    "user", "item", "time", "rating", "age", "gender", "occupation", "genres", "year",
    "rated", "mean", "genre_mean", "film_rated", "film_mean", "liked", "disliked", "newcomer",
)  # fmt: skip


@dataclass
class _Tally:
    """Of ratings until now."""

    count: int = 0
    total: int = 0

    def add(self, rating: int) -> None:
        self.count += 1
        self.total += rating


@dataclass
class _Person:
    """What a person did until now."""

    all: _Tally = field(default_factory=_Tally)
    genres: defaultdict[str, _Tally] = field(default_factory=lambda: defaultdict(_Tally))
    liked: list[str] = field(default_factory=list)
    disliked: list[str] = field(default_factory=list)


def with_histories(
    ratings: Iterable[Rating], films: Mapping[str, Mapping[str, str]], people: Mapping[str, Mapping[str, str]]
) -> list[list[str]]:
    """A row of `COLUMNS` per rating, by time. What was not known is an empty cell. Ratings of one moment do not know
    of each other."""
    persons: defaultdict[str, _Person] = defaultdict(_Person)
    of_film: defaultdict[str, _Tally] = defaultdict(_Tally)
    rows = []
    for _, group in groupby(sorted(ratings, key=lambda one: (one[3], one[0], one[1])), key=lambda one: one[3]):
        moment = list(group)
        rows += [_row(one, persons[one[0]], of_film[one[1]], films[one[1]], people[one[0]]) for one in moment]
        for user, item, rating, _ in moment:
            person = persons[user]
            for tally in (person.all, of_film[item], *(person.genres[one] for one in films[item]["class"].split())):
                tally.add(rating)
            (person.liked if rating >= LIKED else person.disliked).append(item)
    return rows


def _row(one: Rating, person: _Person, film: _Tally, about: Mapping[str, str], who: Mapping[str, str]) -> list[str]:
    genres = about["class"].split()
    year = about["release_year"].strip()
    return [
        one[0], one[1], str(one[3]), str(one[2]), who["age"], who["gender"], who["occupation"], " ".join(genres),
        year if year.isdigit() else "", str(person.all.count), _mean([person.all]),
        _mean([person.genres[name] for name in genres]), str(film.count), _mean([film]),
        " ".join(person.liked[-REMEMBERED:]), " ".join(person.disliked[-REMEMBERED:]),
        "yes" if person.all.count < NEWCOMER else "no",
    ]  # fmt: skip


def _mean(tallies: Sequence[_Tally]) -> str:
    count = sum(one.count for one in tallies)
    return f"{sum(one.total for one in tallies) / count:.4f}" if count else ""


def read_rows(text: bytes, by: str) -> dict[str, dict[str, str]]:
    """A table as CSV, its rows by a column."""
    return {row[by]: row for row in csv.DictReader(io.StringIO(text.decode()))}

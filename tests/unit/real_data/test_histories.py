"""What is known at the time of a rating is what came before it, and nothing else."""

from __future__ import annotations

from mlratchet.infra.real_data.histories import COLUMNS, NEWCOMER, REMEMBERED, Rating, with_histories

FILMS = {str(n): {"release_year": "1990" if n else " ", "class": "War Drama" if n % 2 else "Drama"} for n in range(99)}
PEOPLE = {name: {"age": "30", "gender": "F", "occupation": "artist"} for name in "ab"}


def told(*ratings: Rating) -> list[dict[str, str]]:
    return [dict(zip(COLUMNS, row, strict=True)) for row in with_histories(ratings, FILMS, PEOPLE)]


def test_a_row_knows_what_the_person_and_others_did_before() -> None:
    first, second, third = told(("a", "1", 5, 10), ("b", "1", 3, 20), ("a", "2", 4, 30))
    assert (first["rated"], first["mean"], first["film_mean"], first["liked"]) == ("0", "", "", "")
    assert (second["rated"], second["mean"], second["film_rated"], second["film_mean"]) == ("0", "", "1", "5.0000")
    assert (third["rated"], third["mean"], third["genre_mean"], third["film_rated"]) == ("1", "5.0000", "5.0000", "0")
    assert (third["liked"], third["disliked"], third["rating"]) == ("1", "", "4")


def test_ratings_of_one_moment_do_not_know_of_each_other_and_order_does_not_count() -> None:
    ratings: list[Rating] = [("a", "1", 5, 10), ("a", "3", 1, 10), ("b", "1", 2, 10), ("a", "5", 2, 11)]
    rows = told(*ratings)
    assert rows == told(*reversed(ratings))
    assert [(row["rated"], row["film_rated"]) for row in rows] == [("0", "0")] * 3 + [("2", "0")]
    assert (rows[3]["mean"], rows[3]["liked"], rows[3]["disliked"]) == ("3.0000", "1", "3")


def test_a_year_that_is_none_is_a_gap() -> None:
    assert [row["year"] for row in told(("a", "0", 5, 1), ("a", "1", 5, 2))] == ["", "1990"]


def test_a_newcomer_becomes_known_and_lists_hold_the_newest() -> None:
    rows = told(*(("a", str(n), 5, n) for n in range(REMEMBERED + 5)))
    assert [row["newcomer"] for row in rows] == ["yes"] * NEWCOMER + ["no"] * (len(rows) - NEWCOMER)
    assert rows[-1]["liked"].split() == [str(n) for n in range(4, REMEMBERED + 4)]


def test_a_later_rating_changes_no_earlier_row() -> None:
    few: list[Rating] = [("a", str(n), n % 5 + 1, n // 2) for n in range(20)]
    assert told(*few, ("a", "50", 1, 99), ("b", "1", 1, 99))[:20] == told(*few)

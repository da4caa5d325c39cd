"""Real tables: what packages hold, as CSV and as ratings."""

from __future__ import annotations

import csv
import io
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mlratchet.infra.real_data.histories import COLUMNS, read_rows, with_histories
from mlratchet.infra.real_data.packages import PackageUnavailableError


def income(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Words; what was not answered is an empty cell."""
    return {"income.csv": csv_of_frame(_frame(files, "income"))}


def letters(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Whole numbers and a letter."""
    return {"letters.csv": csv_of_frame(_frame(files, "LetterRecognition"))}


def shuttle(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Whole numbers and a state."""
    return {"shuttle.csv": csv_of_frame(_frame(files, "Shuttle"))}


def diabetes(_files: Mapping[str, bytes]) -> dict[str, bytes]:
    """As measured, not scaled."""
    from sklearn.datasets import load_diabetes

    bunch: Any = load_diabetes(scaled=False)
    rows = ([*map(_number, row), _number(target)] for row, target in zip(bunch.data, bunch.target, strict=True))
    return {"diabetes.csv": csv_of([*bunch.feature_names, "progression"], rows)}


def movielens(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """`u.data` as GroupLens writes it (user, item, rating, time, parted by tabs), films and people as CSV; and the
    ratings with what was known at the time of each."""
    by_kind = {name.rpartition(".")[2]: data.decode() for name, data in files.items()}
    ratings = [line.split("\t") for line in by_kind["inter"].splitlines()[1:]]
    lines = [f"{user}\t{item}\t{int(float(rating))}\t{int(float(at))}" for user, item, rating, at in ratings]
    films, people = _atomic_table(by_kind["item"]), _atomic_table(by_kind["user"])
    told = with_histories(
        [(user, item, int(float(rating)), int(float(at))) for user, item, rating, at in ratings],
        read_rows(films, "item_id"),
        read_rows(people, "user_id"),
    )
    return {
        "ratings/u.data": ("\n".join(lines) + "\n").encode(),
        "films/films.csv": films,
        "people/people.csv": people,
        "histories/ratings.csv": csv_of(COLUMNS, told),
    }


def _atomic_table(text: str) -> bytes:
    """A table whose header says `name:type`, parted by tabs."""
    header, *rows = [line.split("\t") for line in text.splitlines()]
    return csv_of([name.partition(":")[0] for name in header], rows)


def _frame(files: Mapping[str, bytes], name: str) -> Any:
    (data,) = files.values()
    try:
        import rdata
    except ImportError as exc:
        raise PackageUnavailableError(
            f"the data is an R file, and the Python package rdata is not installed ({exc}); pip install rdata"
        ) from exc
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that an encoding is assumed: the words are ASCII
        return rdata.conversion.convert(rdata.parser.parse_data(data))[name]


def csv_of_frame(frame: Any) -> bytes:
    """A data frame of R."""
    columns = [[_cell(value) for value in frame[name].tolist()] for name in frame.columns]
    return csv_of(list(frame.columns), zip(*columns, strict=True))


def _cell(value: Any) -> str:
    if value is None or value != value:
        return ""
    return _number(value) if isinstance(value, int | float) else str(value)


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def csv_of(header: Sequence[str], rows: Iterable[Iterable[str]]) -> bytes:
    """A table in UTF-8, lines ended by one character."""
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return sink.getvalue().encode()

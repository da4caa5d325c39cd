"""Files of a client that are read as deliveries are: packed tables, Parquet, and sequences."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mlratchet.models.errors import DataError
from mlratchet.models.sources.base import Format
from mlratchet.models.sources.fasta import FASTA, FASTQ, Fasta, FastaOptions
from mlratchet.models.sources.parquet import SUFFIXES, Parquet, ParquetOptions, as_text
from mlratchet.models.sources.pieces import WHERE
from mlratchet.models.sources.record import RawObject, Reject
from mlratchet.models.sources.unpacking import bare_name, read_bounded, unpacked

ONE = "file/"  # the place of a file that lies in none
READ: Mapping[str, Callable[[], Format]] = {
    **dict.fromkeys(SUFFIXES, lambda: Parquet(ParquetOptions(prefix=ONE))),
    **dict.fromkeys(FASTA + FASTQ, lambda: Fasta(FastaOptions(prefix=ONE))),
}
"""By the suffix of what is not packed."""


def suffix_of(file: Path) -> str:
    """Of what is in a file, in lower case: that of `rows.csv.gz` is `.csv`."""
    return Path(bare_name(file.name)).suffix


def unpacked_bytes(file: Path, data: bytes) -> bytes:
    """What is in a file, as its suffix says that it is packed. Raises ``DataError`` for damaged bytes, and
    ``SecurityError`` for far more than they may unpack to."""
    item = _object(file, data)
    return read_bounded(unpacked(io.BytesIO(data), item), item)


def rows_of_delivery(file: Path, data: bytes) -> Iterator[tuple[str, dict[str, Any]]]:
    """Place and cells of each row, as JSON holds them. Raises ``DataError`` for the first that
    cannot be read."""
    for one in READ[suffix_of(file)]().tables([_object(file, data)], lambda _: io.BytesIO(data), None):
        if isinstance(one, Reject):
            raise DataError(one.reason)
        for row in one.table.to_pylist():
            where = row.pop(WHERE)
            yield where, {name: cell_of(cell) for name, cell in row.items()}


def cell_of(cell: Any) -> Any:
    """A typed cell as JSON holds it: a moment as ISO 8601, a decimal number in its digits."""
    return cell if cell is None or isinstance(cell, bool | int | float | str | list | dict) else as_text(cell)


def check_sendable(value: Any, where: str, name: str) -> None:
    """Raises ``DataError`` for what no request can hold: NaN, infinity, and what lists hold beside numbers and
    words."""
    if isinstance(value, float) and not math.isfinite(value):
        raise DataError(f"{where}: column {name!r}: got {value}, expected a finite number")
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: column {name!r}: cannot be sent: {error}") from error


def _object(file: Path, data: bytes) -> RawObject:
    return RawObject(key=str(file), size_bytes=len(data), sha256="")

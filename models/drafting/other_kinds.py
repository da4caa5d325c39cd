"""Files of kinds that are not read, and what to do with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

SHEET = "save each sheet as CSV UTF-8"
COLUMNS = "write it as CSV, Parquet or JSON lines"
PICKLED = "it can run code when it is read: write what it holds as CSV, Parquet or JSON lines"
PACKED = "unpack it (tables and JSON lines are read as .gz and .zst, too)"
SOUND = "write it as WAV, FLAC or OGG"
NEXT: Mapping[str, str] = {
    **dict.fromkeys((".xlsx", ".xls", ".xlsm", ".xlsb", ".ods", ".numbers"), SHEET),
    **dict.fromkeys((".pkl", ".pickle", ".joblib", ".pt", ".pth", ".rds", ".rda", ".rdata"), PICKLED),
    **dict.fromkeys(
        (
            ".feather", ".arrow", ".ipc", ".orc", ".avro", ".dta", ".sav", ".sas7bdat", ".xpt", ".h5", ".hdf5", ".mat",
            ".npy", ".npz", ".db", ".sqlite", ".sqlite3", ".duckdb", ".sql", ".xml", ".html", ".htm", ".yaml", ".yml",
            ".pdf", ".log",
        ),
        COLUMNS,
    ),
    **dict.fromkeys((".zip", ".7z", ".rar", ".bz2", ".xz", ".gz", ".zst"), PACKED),
    **dict.fromkeys((".mp3", ".m4a", ".aac", ".wma", ".aiff", ".aif"), SOUND),
    **dict.fromkeys((".heic", ".avif", ".svg", ".jp2", ".ppm", ".pgm"), "write it as PNG or JPEG"),
    **dict.fromkeys((".tar", ".tgz"), "init does not look into it: write source.format: webdataset (docs/formats.md)"),
}  # fmt: skip
"""How a name ends -> what to do."""


def next_step(files: Iterable[Path]) -> str:
    """Of the first of them of which something is known, with its name; empty where there is none."""
    for file in files:
        words = NEXT.get(file.suffix.lower())
        if words is not None:
            return f"{file.name}: {words}"
    return ""

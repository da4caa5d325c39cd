"""What becomes of a delivery is the same to the byte, however it is read: records, what is set aside, index, shards.

The digests were taken before reading was made faster; ids, sides, indexes and shards that stand in buckets hang on
them.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.config import WorkloadRef
from mlratchet.models.data import records as record_files
from mlratchet.models.data.config import DataConfig
from mlratchet.models.data.preprocess import read_dataset_records, write_dataset
from mlratchet.models.data.snapshot import take_snapshot
from mlratchet.models.identity.canonical import digest
from mlratchet.models.sources.csv import CsvOptions
from mlratchet.models.sources.jsonl import JsonlOptions
from mlratchet.models.workloads import fields
from mlratchet.models.workloads.fields import SchemaWorkload

NUMBER = {"kind": "number"}
YES = {"kind": "category", "values": ["no", "yes"]}
PLAIN = {"label": "y", "fields": {"a": NUMBER, "b": {**NUMBER, "minimum": -2.5}, "y": YES}}
WORDS = {
    "label": "y", "id": "who", "group": "shop", "time": "at",
    "fields": {
        "a": {**NUMBER, "nullable": True}, "w": {"kind": "text", "nullable": True}, "c": {"kind": "category"},
        "at": {"kind": "time", "nullable": True}, "y": NUMBER,
    },
}  # fmt: skip
TEXTS = [
    "plain",
    "two words",
    '"quoted ""cell"", and more"',
    '"line\nbreak"',
    "",
    "é",
    "e\u0301",
    "\\back",
    " blank\u00a0",
]


def _plain(rows: int, mark: str = ".", cut: str = ",") -> str:
    rng = np.random.default_rng(3)
    lines = [cut.join(["a", "b", "y"])]
    for a, b in np.round(rng.normal(size=(rows, 2)), 3):
        cells = [f"{a:g}", f"{b}", "yes" if a > 0 else "no"]
        lines.append(cut.join(cell.replace(".", mark) for cell in cells))
    return "\n".join(lines) + "\n"


def _words(rows: int) -> str:
    rng = np.random.default_rng(4)
    lines = ["who,shop,at,a,w,c,y"]
    for row in range(rows):
        a = ["", "1,234.5", "7", "nan?", "-0.25", "1e-7"][rng.integers(6)]
        at = f"2024-0{1 + row % 9}-1{row % 10} 0{row % 10}:00" if row % 7 else ""
        word, kind = TEXTS[rng.integers(len(TEXTS))], TEXTS[rng.integers(6)] or "none"
        cells = [f"r{row % (rows - 9):03d}", f"s{row % 17}", at, f'"{a}"', word, kind, f"{row % 23}"]
        lines.append(",".join(cells[: 5 if row % 41 == 40 else 7]))
    return "\r\n".join(lines)


def _objects(rows: int) -> str:
    told = [{"a": n / 3, "b": n % 11 - 5, "y": ["no", "yes", "?"][n % 23 % 3]} for n in range(rows)]
    lines = [json.dumps(one) for one in told]
    return "\n".join([*lines[:50], "{broken", '["a list"]', lines[3], *lines[50:]]) + "\n"


CASES: dict[str, tuple[dict[str, Any], str, dict[str, bytes], dict[str, Any]]] = {
    "plain": (PLAIN, "csv", {"a.csv": _plain(7000).encode(), "b.csv": _plain(40).encode() + b"1,x,yes\n1,2\n"}, {}),
    "commas": (PLAIN, "csv", {"a.csv": _plain(900, ",", ";").encode()}, {}),
    "packed": (PLAIN, "csv", {"a.tsv.gz": gzip.compress(_plain(500, cut="\t").encode("utf-16"), mtime=0)}, {}),
    "words": (WORDS, "csv", {"a.csv": _words(800).encode()}, {"id_column": "who", "group_column": "shop"}),
    "latin": (WORDS, "csv", {"a.csv": _words(90).encode("cp1252", "replace")}, {"encoding": "cp1252"}),
    "objects": (PLAIN, "jsonl", {"a.jsonl": _objects(600).encode()}, {}),
}
EXPECTED = {  # read at once, and in small pieces: in which order rows are set aside differs
    "plain": (
        "01baf315e2b2efc544957eb2dcb27d77bd9d03697015c447166de8e7d2525410",
        "722dd12d8a33d0594e2c2e7796eb7e5785b856b7738b7869dbb82955eac18c8d",
    ),
    "commas": (
        "946bf02d29d044845fd8f75728049972c3a873e191c6b1f82cb0d14022e2287b",
        "946bf02d29d044845fd8f75728049972c3a873e191c6b1f82cb0d14022e2287b",
    ),
    "packed": (
        "b91ea8d4b9f8c642315915d975448a8c0017957e3ccd035aac2b61d246b2ec5b",
        "b91ea8d4b9f8c642315915d975448a8c0017957e3ccd035aac2b61d246b2ec5b",
    ),
    "words": (
        "82a566d5d09b8365e5f15fc1a81db9ae99aaeea0650a287c0c8104773ac90df9",
        "82a566d5d09b8365e5f15fc1a81db9ae99aaeea0650a287c0c8104773ac90df9",
    ),
    "latin": (
        "728b87846e9583cf4b138366c81dfcf7085851a58406046236e3e6cea35dcee1",
        "728b87846e9583cf4b138366c81dfcf7085851a58406046236e3e6cea35dcee1",
    ),
    "objects": (
        "32bc7b66b483071ef73c8ba5a75421501affed9cdf55a6fd207e41274d035162",
        "d8d6a9e93b6ab3bcf92c7e1831b89a766d65ac26fe44e277234e5f2fa8697057",
    ),
}


def became(schema: dict[str, Any], form: str, objects: dict[str, bytes], options: dict[str, Any], scratch: Path) -> str:
    """A digest of all that there is afterwards."""
    raw, store = MemoryStore("raw"), MemoryStore("store")
    for name, data in objects.items():
        raw.put(f"t/{name}", data)
    source: Any = {"csv": CsvOptions, "jsonl": JsonlOptions}[form](
        prefix="t/", format=form, label_column="y", **options
    )
    workload = SchemaWorkload(schema=schema)
    snapshot = take_snapshot(raw, store, prefix="t/")
    records, rejects = read_dataset_records(store, snapshot, workload, source, scratch=scratch)
    columns = {name: [] for name in sorted(records.table(0).column_names)}  # type: dict[str, list[Any]]
    for table in records.tables():
        for name, column in columns.items():
            column += [one.hex() if isinstance(one, bytes) else one for one in table[name].to_pylist()]
    made = write_dataset(
        store, snapshot, records, "same", WorkloadRef(use="mlratchet.models.workloads.fields:SchemaWorkload"),
        DataConfig(), source, class_names=workload.class_names(), tensors=workload.tensors(),
    )  # fmt: skip
    return digest([columns, [astuple(one) for one in rejects], made.model_dump(mode="json")])


@pytest.mark.parametrize("small", [False, True], ids=["in memory", "in pieces"])
@pytest.mark.parametrize("case", CASES)
def test_a_delivery_becomes_the_same_bytes(
    case: str, small: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if small:
        monkeypatch.setattr(record_files, "HELD_BYTES", 40_000)
        monkeypatch.setattr(fields, "STRETCH_ROWS", 128)
        monkeypatch.setattr(fields, "AT_HAND_BYTES", 1)
    assert became(*CASES[case], tmp_path) == EXPECTED[case][small]

"""A drafted file trains a model that its own gates let pass, over the memory stores."""

from __future__ import annotations

import csv
import datetime as dt
import json
import math
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.data.preprocess import read_dataset_records, write_dataset
from mlratchet.models.data.snapshot import take_snapshot
from mlratchet.models.drafting.draft import draft
from mlratchet.models.gates.checks.absolute import AbsoluteCheck
from mlratchet.models.objectives.naming import metrics_for
from mlratchet.models.pipeline.checking import check_gates, check_source
from mlratchet.models.pipeline.loading import parse_pipeline
from mlratchet.models.workloads.loading import load_workload
from sklearn import datasets

from tests.training import trained_rows


def table(name: str, folder: Path) -> Path:
    bunch = getattr(datasets, f"load_{name}")()
    names = [str(one) for one in getattr(bunch, "target_names", [])]
    lines = [",".join([*map(str, bunch.feature_names), "target"])]
    for values, target in zip(bunch.data.tolist(), bunch.target.tolist(), strict=True):
        lines.append(",".join([*map(repr, values), names[target] if names else repr(target)]))
    file = folder / f"{name}.csv"
    file.write_text("\n".join(lines) + "\n")
    return file


SHOP = ["Bestellnr", "Bestelldatum", "Land", "Kategorie", "Preis (€)", "Menge", "Alter", "Rabatt %", "Notiz", "Retoure"]


def shop(folder: Path) -> Path:
    """An export with words, gaps, dates, quotes and decimal commas; who orders clothes sends them back."""
    draw = random.Random(3)
    file = folder / "shop.csv"
    with file.open("w", newline="", encoding="utf-8-sig") as sink:
        rows = csv.writer(sink, lineterminator="\r\n")
        rows.writerow(SHOP)
        for at in range(800):
            kind = draw.choice(["Bücher", "Kleidung", "Elektronik", "Spiel; Spaß", "N/A"])
            age = draw.choice(["", *range(18, 85)])
            day = dt.datetime(2026, 1, 1) + dt.timedelta(minutes=draw.randrange(60 * 24 * 300))
            price = math.exp(draw.gauss(3.3, 0.9))
            odds = -1.2 + 2.2 * (kind == "Kleidung") + 0.8 * (day.month > 10) + 0.02 * (price - 30) / 10
            back = draw.random() < 1 / (1 + math.exp(-odds))
            note = draw.choice(["", "bitte klingeln", "Hinterhof,\n2. Stock", 'Sie sagte: "schnell!"'])
            rows.writerow(
                [f"B-{100000 + at}", f"{day:%d.%m.%Y %H:%M}", draw.choice(["DE", "AT", "São Tomé", ""]), kind,
                 f"{price:.2f}".replace(".", ","), draw.randint(1, 5), age, draw.choice(["0.0", "5.0", "20.5"]), note,
                 "ja" if back else "nein"]
            )  # fmt: skip
    return file


def with_gaps(folder: Path) -> Path:
    """Numbers alone, a sixth of them not given."""
    draw = random.Random(5)
    lines = ["nr\ta\tb\tkind"]
    for at in range(240):
        kind = draw.randrange(3)
        cells = [f"{draw.gauss(kind * 3, 1):.3f}" if draw.random() > 1 / 6 else "NA" for _ in range(2)]
        lines.append("\t".join([f"g{at}", *cells, ("low", "middle", "high")[kind]]))
    file = folder / "gaps.tsv"
    file.write_text("\n".join(lines) + "\n")
    return file


def flats(folder: Path, ending: str) -> Path:
    """A rent that follows from size, town and what is written of it."""
    draw = random.Random(7)
    rows = []
    for at in range(300):
        town, size = draw.choice(["Bonn", "Köln", "Ulm"]), draw.randint(20, 120)
        words = draw.choice(["quiet flat under the roof", "bright and with a garden", "needs some work"])
        rent = 9.5 * size + 200 * (town == "Köln") + 150 * ("garden" in words) + draw.gauss(0, 20)
        known = {"nr": f"f{at}", "town": town, "size": size if at % 8 else None, "balcony": at % 3 == 0}
        told = {"since": f"2026-0{1 + at % 9}-11", "words": f"{words}, number {at}", "rent": round(rent, 2)}
        rows.append({**known, **told})
    file = folder / f"flats{ending}"
    if ending == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), file)
    else:
        file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return file


def promoters(folder: Path) -> Path:
    """A third of the sequences, told in the description, are full of TATA."""
    draw = random.Random(9)
    lines = []
    for at in range(240):
        label = "binds" if at % 3 == 0 else "rests"
        parts = [draw.choice(["TATA", "ACGT"] if label == "binds" else ["GCGC", "ACGT"]) for _ in range(8)]
        lines += [f">s{at} label={label} source=made", "".join(parts)]
    file = folder / "promoters.fasta"
    file.write_text("\n".join(lines) + "\n")
    return file


def ratings(folder: Path) -> Path:
    """As MovieLens has them: no header, parted by tabs; some items are better, and some users kinder."""
    draw = random.Random(11)
    lines = []
    for user in range(40):
        for item in draw.sample(range(30), 20):
            stars = round(2 + 2 * (item % 3 == 0) + (user % 2) + draw.gauss(0, 0.5))
            moment = 880000000 + draw.randrange(10_000_000)
            lines.append(f"{user + 1}\t{item + 1}\t{min(max(stars, 1), 5)}\t{moment}")
    file = folder / "u.data"
    file.write_text("\n".join(lines) + "\n")
    return file


def tones(folder: Path) -> Path:
    """High and low tones, a folder each."""
    draw = np.random.default_rng(13)
    for at in range(60):
        label, hertz = ("high", 1800) if at % 2 else ("low", 300)
        wave = np.sin(2 * np.pi * (hertz + draw.normal(0, 40)) * np.arange(4000) / 8000)
        file = folder / "tones" / label / f"{at}.wav"
        file.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(file, (0.5 * wave).astype(np.float32), 8000, subtype="PCM_16")
    return folder / "tones"


TABLES: dict[str, Callable[[Path], Path]] = {
    "iris": partial(table, "iris"),
    "diabetes": partial(table, "diabetes"),
    "shop": shop,
    "gaps": with_gaps,
    "jsonl": partial(flats, ending=".jsonl"),
    "parquet": partial(flats, ending=".parquet"),
    "fasta": promoters,
    "ratings": ratings,
    "sounds": tones,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TABLES)
def test_a_drafted_file_trains_what_its_own_gates_let_pass(
    name: str, tmp_path: Path, store: MemoryStore, raw: MemoryStore
) -> None:
    made = TABLES[name](tmp_path)
    files = sorted(one for one in made.rglob("*") if one.is_file()) if made.is_dir() else [made]
    base = made if made.is_dir() else made.parent
    trained_by_its_own_file([made], {str(one.relative_to(base)): one.read_bytes() for one in files}, store, raw)


def trained_by_its_own_file(
    paths: list[Path], delivery: dict[str, bytes], store: MemoryStore, raw: MemoryStore
) -> None:
    """What `ratchet init`, `validate`, `upload` and `run` do, as far as the first gate."""
    spec = parse_pipeline(draft(paths).text, where="drafted.yaml")
    workload = load_workload(spec.workload.use, dict(spec.workload.parameters))
    check_gates(spec, workload)
    check_source(spec, workload)
    for key, data in delivery.items():
        raw.put(f"{spec.source.prefix}{key}", data)
    snapshot = take_snapshot(raw, store, prefix=spec.source.prefix)
    records, rejects = read_dataset_records(store, snapshot, workload, spec.source)
    assert rejects == []
    prepared = workload.input_spec().example is not None
    manifest = write_dataset(
        store, snapshot, records, "code", spec.workload, spec.data, spec.source, class_names=workload.class_names(),
        tensors=workload.tensors() if prepared else (), prepared=prepared,
    )  # fmt: skip
    rows = trained_rows(store, manifest, spec.workload, spec.train)
    metrics = metrics_for(workload.objective.reference, workload.class_names())
    floors = [check for check in spec.gates.candidate if isinstance(check, AbsoluteCheck)]
    assert len(floors) == 1
    for check in floors:
        value = metrics[check.metric].estimate(rows).value
        assert check.minimum is not None
        assert value > check.minimum

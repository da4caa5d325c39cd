"""`ratchet init`, `ratchet schema show` and `ratchet schema diff`, as they are typed before any stack is up."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    lines = ["größe,land,klasse"]
    for number in range(100):
        x = random.normal()
        lines.append(f"{x:.3f},{['DE', 'AT'][number % 2]},{'a' if x > 0 else 'b'}")
    (tmp_path / "Käufe.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_init_writes_a_file_once_and_says_what_comes_next(ratchet: Any, folder: Path) -> None:
    report = json.loads(ratchet("init", "Käufe.csv", "--json"))
    file = folder / "deployments" / "pipelines" / "kaufe.yaml"
    assert report["file"] == "deployments/pipelines/kaufe.yaml"
    assert report["next"][2] == "ratchet run kaufe"
    before = file.read_text()
    assert "is there already" in ratchet("init", "Käufe.csv", code=2)
    assert "is there already" in ratchet("init", "none/kaufe.csv", code=2)  # before anything is looked at
    assert file.read_text() == before
    assert "label 'klasse'" in ratchet("init", "Käufe.csv", "--out", "other.yaml")
    assert (folder / "other.yaml").exists()
    assert "DATA: none.csv: no such file" in ratchet("init", "none.csv", code=3)


def test_show_prints_what_is_proposed_and_what_a_pipeline_has(ratchet: Any, folder: Path) -> None:
    assert "land: {kind: category, values: [AT, DE]}" in ratchet("schema", "show", "Käufe.csv")
    ratchet("init", "Käufe.csv")
    shown = json.loads(ratchet("schema", "show", "kaufe", "--json"))
    assert (shown["label"], shown["fields"]["größe"]) == ("klasse", {"kind": "number", "decimal": "."})
    assert "did you mean 'kaufe'" in ratchet("schema", "show", "kaufen", code=2)


def test_folders_and_sequences_have_a_schema_too(ratchet: Any, folder: Path) -> None:
    for number in range(8):
        for kind, data in (("bilder", b"\x89PNG1234567890"), ("stimmen", b"RIFF1234WAVE")):
            place = folder / kind / "ab"[number % 2] / f"{number}.{'png' if kind == 'bilder' else 'wav'}"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
    (folder / "gene.fasta").write_text(
        "".join(f">g{number}\nACGTAC\nGTAC{'ACGT'[number % 4]}\n" for number in range(8))
    )
    sounds = json.loads(ratchet("schema", "show", "stimmen", "--json"))["schema"]
    assert (sounds["fields"]["sound"], sounds["label"]) == ({"kind": "audio"}, "label")
    genes = json.loads(ratchet("schema", "show", "gene.fasta", "--json"))["schema"]
    assert (genes["fields"]["sequence"], genes["id"]) == ({"kind": "letters", "alphabet": "dna"}, "id")


def test_diff_exits_with_3_where_a_delivery_is_more_than_compatible(ratchet: Any, folder: Path) -> None:
    ratchet("init", "Käufe.csv")
    assert "nothing changes" in ratchet("schema", "diff", "kaufe", "Käufe.csv")
    text = (folder / "Käufe.csv").read_text()
    (folder / "neu.csv").write_text(text.replace("AT", "CH"))
    said = ratchet("schema", "diff", "kaufe", "neu.csv", code=3)
    assert "question    'land': new categories: 'CH' (50)" in said
    assert "the schema that takes this delivery:" in said
    assert "values: [AT, DE, CH]" in said
    (folder / "mehr.csv").write_text("\n".join(f"{line},{n}" for n, line in enumerate(text.splitlines())))
    told = json.loads(ratchet("schema", "diff", "kaufe", "mehr.csv", "--json"))
    assert (told["compatible"], [one["effect"] for one in told["changes"]]) == (True, ["compatible"])


def test_a_file_that_a_spreadsheet_wrote_is_looked_at_as_it_is_said_to_be_written(ratchet: Any, folder: Path) -> None:
    text = (folder / "Käufe.csv").read_text()
    (folder / "Export von heute.csv").write_bytes(text.replace(",", ";").encode("cp1252"))
    refused = ratchet("init", "Export von heute.csv", code=3)
    assert "Export von heute.csv:1: bad encoding: got byte 0xf6" in refused
    assert "--encoding" in refused
    said = ["--encoding", "cp1252", "--delimiter", ";", "--quotes", "none"]
    report = json.loads(ratchet("init", "Export von heute.csv", *said, "--name", "heute", "--json"))
    assert report["next"][1] == "ratchet upload heute 'Export von heute.csv'"
    file = (folder / "deployments" / "pipelines" / "heute.yaml").read_text()
    assert all(f"{line} " in file for line in ("encoding: cp1252", 'delimiter: ";"', "quotes: none"))
    assert "größe" in json.loads(ratchet("schema", "show", "heute", "--json"))["fields"]
    assert "nothing changes" in ratchet("schema", "diff", "heute", "Export von heute.csv")
    assert '"größe":' in ratchet("schema", "show", "Export von heute.csv", "--encoding", "cp1252")


def test_rows_that_cannot_be_read_are_told_and_packed_files_are_read(ratchet: Any, folder: Path) -> None:
    text = (folder / "Käufe.csv").read_bytes()
    (folder / "mit.csv.gz").write_bytes(gzip.compress(text + b"1,M\xfcn,a\n"))
    assert "note: 1 of 101 rows cannot be read and are not looked at: mit.csv.gz:102: bad encoding" in ratchet(
        "init", "mit.csv.gz"
    )
    (folder / "oft.csv").write_bytes(text + 9 * b"1,M\xfcn,a\n")
    said = ratchet("init", "oft.csv", code=3)
    assert "DATA: 9 of 109 rows cannot be read, and a file about the rest would know too little" in said
    assert "oft.csv:102: bad encoding" in said
    assert "ratchet init --encoding" in said
    assert not (folder / "deployments" / "pipelines" / "oft.yaml").exists()
    (folder / "ab.csv.gz").write_bytes(gzip.compress(text)[:-20])
    assert "DATA: ab.csv.gz: cannot be unpacked as gzip" in ratchet("init", "ab.csv.gz", code=3)

"""Real data comes out of packages by name, is what was pinned, and where it cannot be had that is said."""

from __future__ import annotations

import csv
import gzip
import io
import lzma
import subprocess
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from mlratchet.infra.real_data import archives, catalogue, packages
from mlratchet.infra.real_data.archives import files_of
from mlratchet.infra.real_data.catalogue import REAL_DATA, PackagePart, RealData, objects_of
from mlratchet.infra.real_data.media import mnist, prompts
from mlratchet.infra.real_data.packages import Package, PackageUnavailableError, archive_of
from mlratchet.infra.real_data.sequences import glosses, peptides
from mlratchet.infra.real_data.tables import movielens
from mlratchet.infra.seed import bring_to
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.data.near_duplicates import clusters_of
from mlratchet.models.errors import ConfigurationError, SecurityError
from mlratchet.models.schema.fields import Schema
from mlratchet.models.sources.formats import read_tables
from mlratchet.models.sources.pieces import RawPiece
from mlratchet.models.sources.ranged import opening_whole
from mlratchet.models.sources.record import Record, Reject
from mlratchet.models.sources.stored_examples import EXAMPLE

from tests.unit.sources.sources import Delivery, codes, reader


def wheel(files: Mapping[str, bytes]) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, data in files.items():
            opened.writestr(name, data)
    return sink.getvalue()


def deb(files: Mapping[str, bytes], links: Mapping[str, str] | None = None) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as opened:
        for name, data in files.items():
            info = tarfile.TarInfo(f"./{name}")
            info.size = len(data)
            opened.addfile(info, io.BytesIO(data))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(f"./{name}")
            info.type, info.linkname = tarfile.SYMTYPE, target
            opened.addfile(info)
    members = {"debian-binary": b"2.0\n", "control.tar.xz": b"odd", "data.tar.xz": lzma.compress(sink.getvalue())}
    whole = archives.AR
    for name, data in members.items():
        whole += (
            f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n".encode() + data + b"\n" * (len(data) % 2)
        )
    return whole


@pytest.mark.parametrize("make", [wheel, deb])
def test_files_come_out_by_name_alone(make: Any) -> None:
    held = {"a/one.csv": b"1", "a/two.csv": b"2", "a/b/../../up": b"evil"}
    assert files_of(make(held), "p", lambda name: name.startswith("a/") and name.endswith(".csv")) == {
        "a/one.csv": b"1", "a/two.csv": b"2",
    }  # fmt: skip


def test_links_are_no_files_and_damage_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    archive = deb({"a/one": b"1" * 5000}, {"a/two": "/etc/passwd"})
    assert list(files_of(archive, "p", lambda name: True)) == ["a/one"]
    for bad in (archive[:300], b"neither", archive[:-40], archive[: len(archive) // 2]):
        with pytest.raises(SecurityError, match="p: "):
            files_of(bad, "p", lambda name: True)
    monkeypatch.setattr(archives, "MOST_BYTES", 1000)
    with pytest.raises(SecurityError, match="unpacks to more than"):
        files_of(archive, "p", lambda name: True)


class Registry:
    """What a package client would answer."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, files: Mapping[str, bytes], error: str = "") -> None:
        self.commands: list[list[str]] = []
        self.environments: list[dict[str, str]] = []
        self._files, self._error = files, error
        monkeypatch.setattr(packages.subprocess, "run", self.run)
        monkeypatch.setattr(packages.shutil, "which", lambda name: f"/usr/bin/{name}")

    def run(self, command: list[str], *, cwd: Path, env: dict[str, str], **_: Any) -> subprocess.CompletedProcess[str]:
        self.commands.append(command)
        self.environments.append(env)
        for name, data in self._files.items():
            (cwd / name).write_bytes(data)
        return subprocess.CompletedProcess(command, 1 if self._error else 0, "", self._error)


PIP = Package(client="pip", name="shop", version="1.0")
APT = Package(client="apt", name="r-shop")


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A data set `shop` of one package."""
    data = b"a,b\n1,2\n"
    pinned = catalogue._digest_of({"shop/t.csv": data}, whole=False)
    part = PackagePart(package=PIP, below="shop/t.csv", sha256=pinned)
    made = RealData(
        words="w", licence="l", format="csv", make=lambda files: {"t.csv": files["shop/t.csv"]}, parts=(part,)
    )
    monkeypatch.setattr(catalogue, "REAL_DATA", {"shop": made})
    return data


def test_a_data_set_is_fetched_once_checked_and_put_into_the_bucket(
    shop: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RATCHET_S3_SECRET_KEY", "s3cr3t")
    registry = Registry(monkeypatch, {"shop-1.0-py3-none-any.whl": wheel({"shop/t.csv": shop, "shop/x.py": b"no"})})
    raw = MemoryStore()
    raw.put("shop/old.csv", b"gone")
    for written in (2, 0):
        files = objects_of("shop", tmp_path / "kept")
        assert bring_to(raw, "shop/", files, on_progress=lambda done, total: None) == written
    assert [(info.key, raw.get(info.key)) for info in raw.list()] == [("shop/t.csv", shop)]
    (command,) = registry.commands
    assert command[1:4] == ["-m", "pip", "download"]
    assert {"--no-deps", "--only-binary=:all:", "shop==1.0"} <= set(command)
    assert "s3cr3t" not in str(registry.environments)


def test_other_bytes_than_were_pinned_are_refused_and_not_kept(
    shop: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for held in ({"shop/t.csv": b"a,b\n9,9\n"}, {}):
        Registry(monkeypatch, {"shop-1.0-py3-none-any.whl": wheel(held)})
        with pytest.raises(SecurityError, match=r"pip package shop 1\.0: shop/t\.csv: got SHA-256"):
            objects_of("shop", tmp_path / "kept")
        assert list((tmp_path / "kept").iterdir()) == []


@pytest.mark.parametrize(
    ("package", "files", "error", "words"),
    [
        (
            PIP,
            {},
            "WARNING: x\nERROR: No matching distribution found for shop==1.0\n",
            "ERROR: No matching distribution",
        ),
        (APT, {}, "E: Unable to locate package r-shop\n", "E: Unable to locate package r-shop"),
        (APT, {}, "", "0 files came"),
        (PIP, {"shop.tar.gz": b"x"}, "", "0 files came"),
    ],
)
def test_a_package_that_cannot_be_had_is_told_with_the_reason(
    package: Package, files: dict[str, bytes], error: str, words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    Registry(monkeypatch, files, error)
    with pytest.raises(
        PackageUnavailableError, match=f"{package.client} package .*cannot be had here: {words}"
    ) as told:
        archive_of(package, tmp_path)
    assert told.value.exit_code == 5
    assert list(tmp_path.iterdir()) == []


def test_a_machine_without_a_client_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(packages.shutil, "which", lambda name: None)
    with pytest.raises(PackageUnavailableError, match="no apt-get"):
        archive_of(APT, tmp_path)


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match="no data set 'incom'; did you mean 'income'"):
        objects_of("incom", Path("unused"))


def test_small_packages_become_what_formats_read() -> None:
    row = ",".join(["0"] * 783 + ["255", "7"])
    (key,) = mnist({"m": gzip.compress(f"{row}\n".encode(), mtime=0)})
    assert key == "7/0000.png"
    noun = b'  1 licence\n00001740 03 n 01 entity 0 000 | that, which is; "it"  \n'
    assert glosses({"data.noun": noun})["glosses.csv"] == b'id,gloss,class\nn00001740,"that, which is; ""it""",Tops\n'
    assert peptides({"p": b"2,1,UniProt,AMP\nGLW, 1\nAAA, 0\n"})["peptides.fasta"] == (
        b">p0001 class=AMP\nGLW\n>p0002 class=UniProt\nAAA\n"
    )
    films = movielens({
        "x.inter": b"user_id:token\titem_id:token\trating:float\ttimestamp:float\n1\t2\t3\t4\n",
        "x.item": b"item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n2\tOne, two\t\tWar\n",
        "x.user": b"user_id:token\tage:token\tgender:token\toccupation:token\n1\t24\tM\twriter\n",
    })  # fmt: skip
    assert films["ratings/u.data"] == b"1\t2\t3\t4\n"
    assert films["films/films.csv"] == b'item_id,movie_title,release_year,class\n2,"One, two",,War\n'
    assert films["histories/ratings.csv"].splitlines()[1] == b"1,2,4,3,24,M,writer,War,,0,,,0,,,,yes"
    june = "usr/share/asterisk/sounds/fr_CA_f_June"
    spoken = prompts({f"{june}/digits/1.wav": b"RIFF", f"{june}/beep.wav": b"x"})
    assert list(spoken) == ["prompts.csv", "fr_june/digits/1.wav"]
    assert spoken["prompts.csv"].splitlines()[1] == b"fr_june/digits/1.wav,fr_june,fr,digits/1"


READ = {
    "income": ({}, 8993), "letters": ({}, 20_000), "shuttle": ({}, 58_000), "diabetes": ({}, 442), "mnist": ({}, 5000),
    "glosses": ({"id_column": "id", "label_column": "class"}, 82_115),
    "prompts": ({"labels": "prompts.csv", "label_column": "voice", "group_column": "prompt"}, 3767),
    "movielens": ({"select": {"below": ["ratings/"]}}, 100_000), "peptides": ({"label_column": "class"}, 5200),
    "splice": ({}, 30_483),
}  # fmt: skip
"""The options with which its format reads it, and how many examples that are."""
EXPECTED = {
    "income": (1, 1_103_015), "letters": (1, 712_000), "shuttle": (1, 1_901_000), "diabetes": (1, 18_506),
    "mnist": (5000, 1_385_000), "glosses": (1, 7_757_000), "prompts": (3769, 166_278_000), "movielens": (4, 27_103_000),
    "peptides": (1, 274_600), "splice": (1, 431_713),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    # 120 MB of xz take a core half a minute
    "name",
    [pytest.param(name, marks=[pytest.mark.full] if name == "prompts" else []) for name in REAL_DATA],
)
def test_the_data_set_is_there_where_the_network_is(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    kept = tmp_path_factory.getbasetemp() / "packages"
    try:
        found = objects_of(name, kept)
    except PackageUnavailableError as error:
        pytest.skip(f"REAL DATA {name} NOT TRIED: {error}")
    objects, size = EXPECTED[name]
    assert len(found) == objects
    assert sum(map(len, found.values())) == pytest.approx(size, rel=0.01)
    assert all(key.startswith(f"{name}/") for key in found)
    delivery = Delivery({key.partition("/")[2]: data for key, data in found.items()})
    options, examples = READ[name]
    kind = reader(REAL_DATA[name].format, **options)
    pieces = list(read_tables(kind, delivery.objects(), opening_whole(delivery.fetch)))
    assert sum(piece.table.num_rows for piece in pieces if isinstance(piece, RawPiece)) == examples
    rejects = codes([one for one in pieces if isinstance(one, Reject)])
    assert [code for _, code in rejects] == (["empty_sound"] if name == "prompts" else [])


def examples_of(found: Mapping[str, bytes], name: str, field: str) -> list[Record]:
    """As a schema of one field reads them."""
    if name == "peptides":
        (text,) = found.values()
        parts = [one.splitlines() for one in text.decode().split(">")[1:]]
        rows = [(lines[0].split()[0], "".join(lines[1:])) for lines in parts]
    else:
        (text,) = found.values()
        rows = [(one["id"], one["gloss"]) for one in csv.DictReader(io.StringIO(text.decode()))]
    return [
        Record(id=identity, x={EXAMPLE: np.frombuffer(orjson.dumps({field: one}), dtype=np.uint8)}, y=0)
        for identity, one in rows
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "kind", "near", "repeats"),
    [
        ("peptides", {"kind": "letters", "alphabet": "protein"}, 1202, 558),
        ("glosses", {"kind": "text"}, 1999, None),
    ],
)
def test_near_duplicates_of_real_data_are_found(
    name: str, kind: dict[str, str], near: int, repeats: int | None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    try:
        found = objects_of(name, tmp_path_factory.getbasetemp() / "packages")
    except PackageUnavailableError as error:
        pytest.skip(f"REAL DATA {name} NOT TRIED: {error}")
    records = examples_of(found, name, "field")
    clusters = clusters_of(records, schema=Schema.model_validate({"fields": {"field": kind}}))
    assert len(clusters) == pytest.approx(near, rel=0.01)
    same: dict[bytes, list[str]] = {}
    for one in records:
        assert isinstance(one.x, Mapping)
        same.setdefault(one.x[EXAMPLE].tobytes(), []).append(one.id)
    assert repeats in (None, sum(len(ids) - 1 for ids in same.values()))
    assert all(len({clusters.get(one, one) for one in ids}) == 1 for ids in same.values())

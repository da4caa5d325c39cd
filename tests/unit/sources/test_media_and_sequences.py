"""Tar shards, sounds, sequences and ratings: what they hold is read or set aside, and an archive that could write
elsewhere is refused."""

from __future__ import annotations

import gzip
import io
import pickle
import tarfile
from typing import Any

import numpy as np
import pytest
import soundfile
from mlratchet.models.errors import DataError, SecurityError

from tests.unit.sources.sources import Delivery, codes, damaged
from tests.unit.sources.test_formats import PICTURES, png, read

END = bytes(1024)


def tar(members: dict[str, bytes] | None = None, *infos: tarfile.TarInfo) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as opened:
        for name, data in (members or {}).items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            opened.addfile(info, io.BytesIO(data))
        for info in infos:
            opened.addfile(info)
    return sink.getvalue()


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def head(name: str, kind: bytes, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    return info.tobuf(tarfile.GNU_FORMAT)


WHOLE = tar({"a.txt": b"hi", "b.txt": b"ho"})
HOSTILE = {
    "headers about headers": (head("././@LongLink", b"L", 4) + b"abc\0".ljust(512, b"\0")) * 3000 + WHOLE,
    "a size that nobody can skip": head("a.txt", b"0", 2**62) + END,
    "a size in words, below zero": head("x", b"x", 11) + b"11 size=-5\n".ljust(512, b"\0") + WHOLE,
    "a size of a kind that nobody knows": head("a.txt", b"Z", 2**50) + END,
    "two archives in one": WHOLE + WHOLE,
}


@pytest.mark.timeout(10)
@pytest.mark.parametrize("how", HOSTILE)
def test_an_archive_that_says_what_it_does_not_hold_ends_and_is_told(how: str) -> None:
    rows, rejects = Delivery({"s.tar": HOSTILE[how]}).rows("webdataset")
    assert codes(rejects) == [("s.tar", "bad_archive")]
    assert len(rows) == (2 if how == "two archives in one" else 0)


@pytest.mark.parametrize("stopped", [TimeoutError, ConnectionError, KeyboardInterrupt, MemoryError])
def test_who_stops_the_reading_of_an_archive_is_not_taken_for_a_fault_of_it(
    stopped: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise stopped

    monkeypatch.setattr(tarfile.TarFile, "extractfile", stop)
    with pytest.raises(stopped):
        Delivery({"s.tar": WHOLE}).rows("webdataset")


def sound(seconds: float = 0.1, kind: str = "WAV", **options: Any) -> bytes:
    samples = np.sin(np.arange(int(8000 * seconds)) / 5).astype(np.float32) / 2
    sink = io.BytesIO()
    soundfile.write(sink, samples, 8000, format=kind, **options)
    return sink.getvalue()


def test_a_shard_gives_a_sample_per_name_and_today_s_pictures_read_it() -> None:
    members = {
        "a/0001.png": png(10), "a/0001.cls": b"cat\n", "a/0001.json": b'{"site": "n", "n": 3}',
        "a/0002.png": png(20), "a/0002.cls": b"dog", "a/0003.cls": b"dog", "a/0003.png": png(5)[:45],
    }  # fmt: skip
    for key, data in (
        ("s.tar", tar(members)),
        ("s.tar.gz", gzip.compress(tar(members), mtime=0)),
        ("s.tgz", gzip.compress(tar(members), mtime=0)),
    ):
        rows, rejects = Delivery({key: data}).rows("webdataset")
        assert [(row["@where"], row["@id"], row["label"], row.get("site"), row["picture"]) for row in rows] == [
            (f"{key}/a/0001", "a/0001", "cat", "n", png(10)), (f"{key}/a/0002", "a/0002", "dog", None, png(20)),
        ]  # fmt: skip
        assert codes(rejects) == [(f"{key}/a/0003", "truncated_image")]
    records, rejects = read(PICTURES, "format: webdataset", {"s.tar": tar(members)})
    assert [(one.id, one.y) for one in records] == [("a/0001", 0), ("a/0002", 1)]
    assert records[0].x == pytest.approx(np.full((3, 8, 8), 10 / 255, np.float32))
    assert codes(rejects) == [("s.tar/a/0003", "truncated_image")]


@pytest.mark.parametrize(
    "data",
    [
        tar({"../up.txt": b"x"}), tar({"/etc/x.txt": b"x"}), tar({"a\\..\\b.txt": b"x"}),
        tar({"a.txt": b"x"}, special("b.txt", tarfile.SYMTYPE, "/etc/passwd")),
        tar({"a.txt": b"x"}, special("b.txt", tarfile.LNKTYPE, "a.txt")),
        tar({"a.txt": b"x"}, special("b.txt", tarfile.CHRTYPE)),
        tar({"a.txt": b"x"}, special("b.txt", tarfile.FIFOTYPE)),
    ],
)  # fmt: skip
def test_an_archive_that_could_write_elsewhere_is_refused_as_a_whole(data: bytes) -> None:
    for ask in (Delivery({"s.tar": data}).rows, Delivery({"s.tar": data}).examples):
        with pytest.raises(SecurityError, match=r"s\.tar: ") as told:
            ask("webdataset")
        assert told.value.exit_code == 6


class Evil:
    """Runs when it is unpickled."""

    def __reduce__(self) -> Any:
        return (pytest.fail, ("a member was unpickled",))


def test_two_files_of_a_sample_that_say_different_things_set_it_aside() -> None:
    data = tar({"a.txt": b"cat", "a.json": b'{"text": "dog"}', "b.txt": b"cat", "b.json": b'{"text": "cat"}'})
    rows, rejects = Delivery({"s.tar": data}).rows("webdataset")
    assert [row["text"] for row in rows] == ["cat"]
    assert codes(rejects) == [("s.tar/a", "contradiction")]


@pytest.mark.parametrize("kind", ["pyd", "pickle", "pkl", "pth", "pt"])
def test_a_pickled_member_is_never_read(kind: str) -> None:
    data = tar({"1.cls": b"a", f"1.{kind}": pickle.dumps(Evil()), "2.cls": b"b"})
    rows, rejects = Delivery({"s.tar": data}).rows("webdataset")
    assert [row["label"] for row in rows] == ["b"]
    assert codes(rejects) == [("s.tar/1", "pickled_member")]


def test_what_is_wrong_with_a_sample_sets_it_aside() -> None:
    members = {
        "1.json": b"[1]", "2.txt": b"\xff", "3.bin": b"x", "4.png": png(1), "4.jpg": png(1), "5.txt": b"fine",
        "6.json": b"[" * 100_000, "7.txt": b"a\0b", "8.json": b'{"text": "a", "text": "b"}',
    }  # fmt: skip
    rows, rejects = Delivery({"s.tar": tar(members)}).rows("webdataset")
    assert [row["text"] for row in rows] == ["fine"]
    assert codes(rejects) == [
        ("s.tar/1", "bad_json"), ("s.tar/2", "bad_encoding"), ("s.tar/3", "unknown_member"), ("s.tar/4", "bad_sample"),
        ("s.tar/6", "bad_json"), ("s.tar/7", "nul_byte"), ("s.tar/8", "bad_json"),
    ]  # fmt: skip


def test_a_cut_archive_is_told_also_between_two_files() -> None:
    whole = tar({f"{n}.txt": b"x" * 100 for n in range(5)})
    files = 5 * 1024
    for cut in (files, files - 400, files - 512):
        _, rejects = Delivery({"s.tar": whole[:cut]}).rows("webdataset")
        assert {one.code for one in rejects} & {"truncated_archive", "bad_archive"}, cut


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG"])
def test_a_sound_is_read_to_its_end(kind: str) -> None:
    name = f"ann/1.{kind.lower()}"
    delivery = Delivery({name: sound(kind=kind), "bob/2.wav": sound(0.2), "stray.wav": sound(), "bob/x.txt": b"x"})
    rows, rejects = delivery.rows("audio_folder")
    assert [(row["label"], row["@id"], row["rate_hz"], row["channels"]) for row in rows] == [
        ("ann", name, "8000", "1"), ("bob", "bob/2.wav", "8000", "1"),
    ]  # fmt: skip
    assert float(rows[1]["seconds"]) == pytest.approx(0.2)
    assert rows[1]["sound"] == delivery.files["bob/2.wav"]
    assert codes(rejects) == [("bob/x.txt", "not_a_sound"), ("stray.wav", "no_class")]
    examples, _ = delivery.examples("audio_folder")
    assert [one.values["label"] for one in examples] == ["ann", "bob"]


def test_a_table_names_sounds_and_what_has_no_partner_is_set_aside() -> None:
    table = b"file,voice,prompt\na.wav,ann,hello\nb.wav,bob,hello\nc.wav,bob,bye\n"
    delivery = Delivery({"prompts.csv": table, "a.wav": sound(), "b.wav": sound()[:900], "d.wav": sound()})
    options = {"labels": "prompts.csv", "label_column": "voice", "group_column": "prompt"}
    rows, rejects = delivery.rows("audio", **options)
    assert [(row["voice"], row["prompt"], row["@where"], row["@group"]) for row in rows] == [
        ("ann", "hello", "prompts.csv:2", "hello")
    ]
    assert sorted(codes(rejects)) == [
        ("d.wav", "no_label"), ("prompts.csv:3", "truncated_sound"), ("prompts.csv:4", "no_file"),
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG"])
def test_a_damaged_sound_is_set_aside_or_read_and_nothing_is_raised(kind: str) -> None:
    whole = sound(0.5, kind)
    name = f"ann/1.{kind.lower()}"
    for what, bad in damaged(whole):
        rows, rejects = Delivery({name: bad, "bob/2.wav": sound()}).rows("audio_folder")
        assert [row["label"] for row in rows][-1] == "bob", what
        assert len(rows) + len(rejects) == 2, what
        if what.startswith("cut") and kind != "OGG":
            assert rejects, what
    other = {"WAV": "FLAC", "FLAC": "WAV", "OGG": "WAV"}[kind]
    _, rejects = Delivery({name: sound(kind=other), "bob/2.wav": sound()}).rows("audio_folder")
    assert codes(rejects) == [(name, "content_unlike_extension")]


def test_a_sound_that_is_too_long_empty_or_not_finite_is_set_aside() -> None:
    nothing, odd = io.BytesIO(), io.BytesIO()
    soundfile.write(nothing, np.zeros(0, np.float32), 8000, format="WAV")
    soundfile.write(odd, np.array([0.0, np.nan], np.float32), 8000, format="WAV", subtype="FLOAT")
    files = {"a/1.wav": sound(2.0), "a/2.wav": nothing.getvalue(), "a/3.wav": odd.getvalue()}
    _, rejects = Delivery(files).rows("audio_folder", max_seconds=1.0)
    assert codes(rejects) == [("a/1.wav", "too_long"), ("a/2.wav", "empty_sound"), ("a/3.wav", "non_finite")]


FASTA = b">p1 class=AMP length=4\nGLW\nS\n\n>p2 class=no\nAAA*\n>p3\n\n>p4 class=AMP\nG1W\n>\nAA\n"
FASTQ = b"@r1 class=x\nACGT\n+\nIIII\n@r2\nAC\n+\nIII\n@r3\nAC\n+r3\n@I\n"


def test_a_description_replaces_no_letters_and_names_no_group() -> None:
    data = b">a sequence=TTTT id=b description=c gene=x\nACGT\n>b gene=x gene=y\nAC\n>c @group=g\nAC\n"
    examples, rejects = Delivery({"s.fa": data}).examples("fasta")
    assert [(one.id, one.values["id"], one.values["sequence"], one.values["gene"]) for one in examples] == [
        ("a", "a", "ACGT", "x")
    ]
    assert codes(rejects) == [("s.fa:3", "bad_record"), ("s.fa:5", "bad_record")]


def test_sequences_are_read_with_what_their_description_says() -> None:
    for key, data in (("a.fasta", FASTA), ("a.fa.gz", gzip.compress(FASTA, mtime=0))):
        rows, rejects = Delivery({key: data}).rows("fasta", label_column="class")
        assert [(row["id"], row["sequence"], row["class"], row["length"], row["@where"]) for row in rows] == [
            ("p1", "GLWS", "AMP", "4", f"{key}:1"), ("p2", "AAA*", "no", None, f"{key}:5"),
        ]  # fmt: skip
        assert codes(rejects) == [
            (f"{key}:7", "empty_sequence"), (f"{key}:9", "bad_letter"), (f"{key}:11", "missing_id"),
        ]  # fmt: skip
    rows, rejects = Delivery({"a.fastq": FASTQ}).rows("fasta", label_from="file", label_column="class")
    assert [(row["id"], row["sequence"], row["quality"], row["class"]) for row in rows] == [
        ("r1", "ACGT", "IIII", "a"), ("r3", "AC", "@I", "a"),
    ]  # fmt: skip
    assert codes(rejects) == [("a.fastq:5", "truncated_record")]
    examples, _ = Delivery({"AMP/a.fa": b">p1\nGLW\n"}).examples("fasta", label_from="folder")
    assert [(one.id, one.label, one.values["label"]) for one in examples] == [("p1", "AMP", "AMP")]


def test_a_name_that_a_description_says_twice_is_refused_where_it_says_two_things() -> None:
    data = b">a len=4 len=4 label=x\nGL\n>b label=x label=y\nGL\n>c [db_xref=A:1] [db_xref=B:2] label=y\nGL\n"
    rows, rejects = Delivery({"s.fa": data}).rows("fasta")
    assert [(row["id"], row["label"]) for row in rows] == [("a", "x"), ("c", "y")]
    assert [(one.where, one.code) for one in rejects] == [("s.fa:3", "bad_record")]


@pytest.mark.parametrize("kind", ["fasta", "webdataset", "ratings"])
def test_a_damaged_file_is_told_and_nothing_is_raised(kind: str) -> None:
    key, data = {
        "fasta": ("t.fastq.gz", gzip.compress(b"".join(b"@r%d\nACGT\n+\nIIII\n" % n for n in range(200)))),
        "webdataset": ("t.tar", tar({f"{n}.txt": b"text" * 30 for n in range(20)})),
        "ratings": ("u.data", b"".join(b"%d\t%d\t3\t881250949\n" % (n, n * 7) for n in range(200))),
    }[kind]
    for what, bad in damaged(data):
        try:
            rows, rejects = Delivery({key: bad}).rows(kind)
        except (DataError, SecurityError) as error:  # of a delivery of one file
            assert key in str(error), what  # noqa: PT017 - whichever of the two
            continue
        assert rows or rejects, what


INTER = (
    b"user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    b"1\t2\t3\t881250949\n4\t5\t1.5\t881250950\n\t5\t1\t1\n4\t5\tx\t1\n4\t5\n"
)


@pytest.mark.parametrize(
    ("key", "data"),
    [
        ("u.data", b"1\t2\t3\t881250949\n4\t5\t1.5\t881250950\n\t5\t1\t1\n4\t5\tx\t1\n4\t5\n"),
        ("ratings.csv", b"userId,movieId,rating,timestamp\n1,2,3,881250949\n4,5,1.5,881250950\n,5,1,1\n4,5,x,1\n4,5\n"),
        ("ratings.dat", b"1::2::3::881250949\n4::5::1.5::881250950\n::5::1::1\n4::5::x::1\n4::5\n"),
        ("m.inter", INTER),
    ],
)  # fmt: skip
def test_ratings_are_read_as_they_are_written_somewhere(key: str, data: bytes) -> None:
    first = 1 if key in ("u.data", "ratings.dat") else 2
    rows, rejects = Delivery({key: data}).rows("ratings")
    assert rows == [
        {"user": "1", "item": "2", "rating": "3", "time": "881250949", "@where": f"{key}:{first}"},
        {"user": "4", "item": "5", "rating": "1.5", "time": "881250950", "@where": f"{key}:{first + 1}"},
    ]
    assert sorted(codes(rejects)) == [
        (f"{key}:{first + 2}", "missing_user"), (f"{key}:{first + 3}", "bad_rating"),
        (f"{key}:{first + 4}", "ragged_row"),
    ]  # fmt: skip
    examples, _ = Delivery({key: data}).examples("ratings", group_column="user")
    assert [(one.id, one.label, one.group) for one in examples] == [
        ("1:2:881250949", "3", "1"), ("4:5:881250950", "1.5", "4"),
    ]  # fmt: skip


def test_what_is_asked_for_may_be_the_file_itself() -> None:
    table = b"file,label\na.png,cat\nb.wav,dog\n"
    asked = [
        ("image_folder", {"cat/a.png": png(1)}, ["picture", "label"]),
        ("images", {"labels.csv": table, "a.png": png(1)}, ["picture", "label"]),
        ("audio_folder", {"cat/b.wav": sound()}, ["sound", "label", "seconds"]),
        ("audio", {"labels.csv": table, "b.wav": sound()}, ["sound", "label", "seconds"]),
    ]
    for kind, files, columns in asked:
        (row,), _ = Delivery(files).rows(kind, columns)
        assert set(columns) <= set(row), kind
        with pytest.raises(DataError, match="colour"):
            Delivery(files).rows(kind, [*columns, "colour"])

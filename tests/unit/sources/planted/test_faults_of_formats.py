"""Every format that is no table, with one planted fault of every kind that it can have: caught wholly, told wholly."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from mlratchet.models.errors import DataError, RatchetError, SecurityError

from tests.unit.sources.planted.media import WHOLE, cut, edit, gone, png, put, samples, tar, wav
from tests.unit.sources.planted.reading import COUNT, Files, read

Planted = tuple[Callable[[Files], Files], list[tuple[str, str, str, str]], int]
FAULTS: dict[str, dict[str, Planted]] = {  # by format: how, then where, rule, field and value of each reject
    "image_folder": {
        "truncated": (cut("x/6.png"), [("x/6.png", "truncated_image", "", "")], COUNT - 1),
        "another content": (put("x/6.png", wav(1)), [("x/6.png", "not_an_image", "", "")], COUNT - 1),
        "empty": (put("x/6.png", b""), [("x/6.png", "not_an_image", "", "")], COUNT - 1),
        "another suffix": (put("x/6.jpg", png(6)), [("x/6.jpg", "content_unlike_extension", "", "")], COUNT),
        "no class": (put("6.png", png(60)), [("6.png", "no_class", "", "")], COUNT),
        "a strange class": (put("z/6.png", png(60)), [("z/6.png", "unknown_label", "who", "z")], COUNT),
        "no picture": (put("x/6.txt", b"x"), [("x/6.txt", "not_an_image", "", "")], COUNT),
    },
    "images": {
        "truncated": (cut("a/6.png"), [("t.csv:8", "truncated_image", "", "")], COUNT - 1),
        "no file": (gone("a/6.png"), [("t.csv:8", "no_file", "", "")], COUNT - 1),
        "no row": (put("a/99.png", png(9)), [("a/99.png", "no_label", "", "")], COUNT),
        "a bad cell": (edit("t.csv", ",26,", ",abc,"), [("t.csv:8", "not_a_number", "age", "abc")], COUNT - 1),
        "too small": (edit("t.csv", ",26,", ",6,"), [("t.csv:8", "below_minimum", "age", "6")], COUNT - 1),
        "a strange label": (edit("t.csv", "x,26", "z,26"), [("t.csv:8", "unknown_label", "who", "z")], COUNT - 1),
        "no group": (edit("t.csv", "x,26,g3", "x,26,"), [("t.csv:8", "missing_group", "g", "")], COUNT - 1),
        "a ragged row": (edit("t.csv", "x,26,g3", "x,26,g3,1"), [("t.csv:8", "ragged_row", "", "")], COUNT - 1),
    },
    "audio_folder": {
        "truncated": (cut("x/6.wav"), [("x/6.wav", "truncated_sound", "", "")], COUNT - 1),
        "another content": (put("x/6.wav", png(1)), [("x/6.wav", "not_a_sound", "", "")], COUNT - 1),
        "no class": (put("6.wav", wav(60)), [("6.wav", "no_class", "", "")], COUNT),
        "a strange class": (put("z/6.wav", wav(60)), [("z/6.wav", "unknown_label", "who", "z")], COUNT),
    },
    "audio": {
        "truncated": (cut("a/6.wav"), [("t.csv:8", "truncated_sound", "", "")], COUNT - 1),
        "no file": (gone("a/6.wav"), [("t.csv:8", "no_file", "", "")], COUNT - 1),
        "no row": (put("a/99.wav", wav(9)), [("a/99.wav", "no_label", "", "")], COUNT),
        "a bad cell": (edit("t.csv", ",26,", ",abc,"), [("t.csv:8", "not_a_number", "age", "abc")], COUNT - 1),
        "a strange label": (edit("t.csv", "x,26", "z,26"), [("t.csv:8", "unknown_label", "who", "z")], COUNT - 1),
        "no group": (edit("t.csv", "x,26,g3", "x,26,"), [("t.csv:8", "missing_group", "g", "")], COUNT - 1),
    },
    "webdataset": {
        "a bad picture": (samples(s06_png=png(6)[:200]), [("s.tar/s06", "truncated_image", "", "")], COUNT - 1),
        "bad JSON": (samples(s06_json=b"{bad"), [("s.tar/s06", "bad_json", "", "")], COUNT - 1),
        "too small": (
            samples(s06_json=b'{"age": 6, "note": "x"}'), [("s.tar/s06", "below_minimum", "age", "6")], COUNT - 1,
        ),
        "a field is missing": (
            samples(s06_json=b'{"note": "x"}'), [("s.tar/s06", "missing_value", "age", "")], COUNT - 1,
        ),
        "a strange class": (samples(s06_cls=b"z"), [("s.tar/s06", "unknown_label", "who", "z")], COUNT - 1),
        "no class": (samples(s06_cls=None), [("s.tar/s06", "missing_label", "who", "")], COUNT - 1),
        "a pickle": (samples(s06_pkl=b"x"), [("s.tar/s06", "pickled_member", "", "")], COUNT - 1),
    },
    "fasta": {
        "a bad letter": (edit("a.fa", "ACGTGGG", "ACG!GGG"), [("a.fa:7", "bad_letter", "", "")], COUNT - 1),
        "a strange letter": (
            edit("a.fa", "ACGTGGG", "ACGEGGG"), [("a.fa:7", "strange_letter", "sequence", "ACGEGGGGG")], COUNT - 1,
        ),
        "a strange label": (
            edit("a.fa", "p6 label=x", "p6 label=z"), [("a.fa:19", "unknown_label", "label", "z")], COUNT - 1,
        ),
        "no label": (edit("a.fa", "p6 label=x", "p6"), [("a.fa:19", "missing_label", "label", "")], COUNT - 1),
        "an id twice": (edit("a.fa", ">p6 ", ">p0 "), [("a.fa:19", "duplicate_id", "", "")], COUNT - 1),
        "no number": (edit("a.fa", "ph=6.5", "ph=zz"), [("a.fa:19", "not_a_number", "ph", "zz")], COUNT - 1),
        "no sequence": (put("b.fa", b">q label=x ph=1.5\n"), [("b.fa:1", "empty_sequence", "", "")], COUNT),
    },
    "ratings": {
        "no user": (edit("u.data", "2\t6\t", "\t6\t"), [("u.data:7", "missing_user", "", "")], COUNT - 1),
        "no item": (edit("u.data", "2\t6\t", "2\t\t"), [("u.data:7", "missing_item", "", "")], COUNT - 1),
        "no rating": (edit("u.data", "2\t6\t2", "2\t6\tzz"), [("u.data:7", "bad_rating", "", "")], COUNT - 1),
        "too large": (edit("u.data", "2\t6\t2", "2\t6\t9"), [("u.data:7", "above_maximum", "rating", "9")], COUNT - 1),
        "no time": (edit("u.data", "881250955", "soon"), [("u.data:7", "not_a_time", "time", "soon")], COUNT - 1),
        "ragged": (edit("u.data", "\t881250955", ""), [("u.data:7", "ragged_row", "", "")], COUNT - 1),
    },
    "joined": {
        "truncated": (
            cut("photos/x/6.png"),
            [("photos/x/6.png", "truncated_image", "", ""), ("tables/t.csv:8", "no_partner", "", "")], COUNT - 1,
        ),
        "too small": (
            edit("tables/t.csv", "6;26", "6;6"), [("photos/x/6.png", "below_minimum", "age", "6")], COUNT - 1,
        ),
        "no partner": (edit("tables/t.csv", "6;26\n", ""), [("photos/x/6.png", "no_partner", "", "")], COUNT - 1),
        "no picture": (
            edit("tables/t.csv", "6;26\n", "6;26\n66;30\n"), [("tables/t.csv:9", "no_partner", "", "")], COUNT,
        ),
        "a partner twice": (
            edit("tables/t.csv", "6;26\n", "6;26\n6;27\n"), [("tables/t.csv:9", "duplicate_id", "", "")], COUNT,
        ),
    },
}  # fmt: skip
PLANTED = [(name, fault) for name, faults in FAULTS.items() for fault in faults]


@pytest.mark.parametrize("name", WHOLE)
def test_a_good_delivery_of_a_format_is_used_whole(name: str) -> None:
    one = WHOLE[name]
    records, rejects = read(one.files, one.schema, one.source)
    assert (len(records), rejects) == (COUNT, [])


@pytest.mark.parametrize(("name", "fault"), PLANTED)
def test_a_planted_fault_is_caught_wholly(name: str, fault: str) -> None:
    one = WHOLE[name]
    plant, expected, good = FAULTS[name][fault]
    records, rejects = read(plant(one.files), one.schema, one.source)
    told = [(r.where, r.code, r.field, r.value) for r in rejects]
    assert [(where, rule) for where, rule, *_ in told] == [(where, rule) for where, rule, *_ in expected]
    assert len(records) == good
    for found, (_, _, field, value) in zip(told, expected, strict=True):
        assert not field or found[2:] == (field, value)
    for reject in rejects:
        assert reject.reason.partition(":")[0].split("/")[0] in {key.split("/")[0] for key in plant(one.files)}


ENDS: dict[str, tuple[str, Callable[[Files], Files], type[RatchetError], str]] = {
    "a tar with a way out": (
        "webdataset", lambda _: {"s.tar": tar({"../a.png": png(1), "a.cls": b"x"})}, SecurityError, r"s\.tar: ",
    ),
    "a key with a way out": ("image_folder", put("x/../6.png", png(1)), SecurityError, r"'\.\.'"),
    "keys of one name": ("image_folder", put("X/6.png", png(1)), DataError, "differ only in case or Unicode form"),
    "a table that is gone": ("images", gone("t.csv"), DataError, r"t\.csv"),
    "a column that is gone": ("images", edit("t.csv", "age", "ages"), DataError, "column 'age' is missing.*'ages'"),
    "a part that is gone": ("joined", gone("tables/t.csv"), DataError, "tables/: no object begins so; correct"),
}  # fmt: skip


@pytest.mark.parametrize("fault", ENDS)
def test_what_is_wrong_with_a_delivery_as_a_whole_ends_it(fault: str) -> None:
    name, plant, error, words = ENDS[fault]
    one = WHOLE[name]
    with pytest.raises(error, match=words):
        read(plant(one.files), one.schema, one.source)


def test_a_shard_that_was_cut_is_read_up_to_there_and_told() -> None:
    one = WHOLE["webdataset"]
    records, rejects = read(cut("s.tar", 0.5)(one.files), one.schema, one.source)
    assert 0 < len(records) < COUNT
    assert {r.code for r in rejects} & {"truncated_archive", "bad_archive"}

"""Archives of programs that were forged: nothing of them is loaded, whatever torch would have done with it."""

from __future__ import annotations

import io
import json
import pickle
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mlratchet.infra.artifact.exported import load_exported
from mlratchet.infra.artifact.program_archive import is_harmless, refuse_other_than_tensors
from mlratchet.models.errors import SecurityError

GENUINE = sorted((Path(__file__).parents[2] / "fixtures" / "bucket_9309f01").rglob("model.pt2"))
Records = dict[str, bytes]


class Bomb:
    """Goes off when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return pytest.fail, ("it was unpickled",)


def saved(value: Any) -> bytes:
    sink = io.BytesIO()
    torch.save(value, sink)
    return sink.getvalue()


def changed(records: Records, record: str, change: Callable[[Any], None]) -> Records:
    """With a JSON record that was changed in place."""
    held = json.loads(records[record])
    change(held)
    return records | {record: json.dumps(held).encode()}


def entry(path: str, *, pickled: bool) -> dict[str, Any]:
    return {"path_name": path, "is_param": False, "use_pickle": pickled, "tensor_meta": None}


WEIGHTS, CONSTANTS = "model/data/weights/model_weights_config.json", "model/data/constants/model_constants_config.json"
PROGRAM, SAMPLES = "model/models/model.json", "model/data/sample_inputs/model.pt"
EVIL = "__import__('os').system('touch /tmp/it-was-evaluated')"


def with_expression(program: Any) -> None:
    symbols = program["graph_module"]["graph"]["sym_int_values"]
    symbols["s99"] = {"as_expr": {"expr_str": EVIL, "hint": None}}


CODE = 'training", print("it ran")) is 7 or next(getattr(self, "parameters")()) if 1 else getattr(self, "x'


def renamed(held: Any, what: str) -> None:
    """With code in the place of a name or a text."""
    graph, inputs = held["graph_module"]["graph"], held["graph_module"]["signature"]["input_specs"]
    if what == "parameter":
        next(one["parameter"] for one in inputs if "parameter" in one)["parameter_name"] = CODE
    elif what == "argument":
        graph["nodes"][0]["inputs"].append({"name": "x", "arg": {"as_string": CODE}, "kind": 1})
    elif what == "comment":
        graph["nodes"][0]["metadata"]["torch_fn"] = "a\nsystem(0);"
    elif what == "trace":
        graph["nodes"][0]["metadata"]["stack_trace"] = "a\rsystem(0)"
    elif what == "value":
        graph["tensor_values"][CODE] = next(iter(graph["tensor_values"].values()))
    else:
        graph["nodes"][0][what] = CODE


FORGED: dict[str, Callable[[Records], Records]] = {
    "samples of a bare pickle": lambda r: r | {SAMPLES: pickle.dumps(Bomb())},
    "samples with an object": lambda r: r | {SAMPLES: saved(((Bomb(),), {}))},
    "a weight that is a pickle": lambda r: changed(
        r | {"model/data/weights/weight_0": saved(Bomb())},
        WEIGHTS,
        lambda held: next(iter(held["config"].values())).update(use_pickle=True),
    ),
    "a constant that is a pickle": lambda r: changed(
        r | {"model/data/constants/opaque_obj_0": pickle.dumps(Bomb())},
        CONSTANTS,
        lambda held: held["config"].update(x=entry("opaque_obj_0", pickled=False)),
    ),
    "a constant of another kind": lambda r: changed(
        r | {"model/data/constants/custom_obj_0": pickle.dumps(Bomb())},
        CONSTANTS,
        lambda held: held["config"].update(x=entry("custom_obj_0", pickled=True)),
    ),
    "a constant elsewhere": lambda r: changed(
        r | {"model/data/x": pickle.dumps(Bomb())},
        CONSTANTS,
        lambda held: held["config"].update(x=entry("tensor_/../../x", pickled=True)),
    ),
    "a weight that nobody lists": lambda r: r | {"model/data/weights/weight_99": pickle.dumps(Bomb())},
    "a library": lambda r: r | {"model/data/aotinductor/model/model.so": b"\x7fELF"},
    "a text that is a pickle": lambda r: r | {"model/byteorder": b"cposix\nsystem\n(S'id'\ntR."},
}
OURS_ALONE: dict[str, Callable[[Records], Records]] = {
    "a library's list": lambda r: r | {"model/data/aotinductor/model/weights_config.json": b"{}"},
    "an extra text": lambda r: r | {"model/extra/words": b"1"},
    "a second program": lambda r: r | {"model/models/other.json": r[PROGRAM]},
    "the name of another case": lambda r: r | {"model/Models/Model.json": r[PROGRAM]},
    "another root": lambda r: r | {"other/models/model.json": r[PROGRAM]},
    "an expression that does something": lambda r: changed(r, PROGRAM, with_expression),
    "a guard that does something": lambda r: changed(r, PROGRAM, lambda held: held.update(guards_code=[EVIL])),
    **{
        f"code for a {what}": lambda r, what=what: changed(r, PROGRAM, lambda held: renamed(held, what))
        for what in ("parameter", "argument", "comment", "trace", "value", "target", "name")
    },
    "code for a weight": lambda r: changed(
        r, WEIGHTS, lambda held: held["config"].update({CODE: next(iter(held["config"].values()))})
    ),
    "no list of constants": lambda r: {name: body for name, body in r.items() if name != CONSTANTS},
}


def records_of(archive: Path) -> Records:
    with zipfile.ZipFile(archive) as opened:
        return {info.filename: opened.read(info) for info in opened.infolist()}


def written(folder: Path, records: Records, compression: int = zipfile.ZIP_STORED) -> Path:
    archive = folder / "data" / "model.pt2"
    archive.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(archive, "w", compression) as opened:
        for name, body in records.items():
            opened.writestr(name, body)
    return archive


def test_what_torch_wrote_is_loaded_as_it_stands_and_as_it_is_written_here(tmp_path: Path) -> None:
    assert len(GENUINE) == 5
    for archive in GENUINE:
        refuse_other_than_tensors(archive)
    written(tmp_path, records_of(GENUINE[0]))
    assert load_exported(tmp_path) is not None


def test_a_trace_may_show_a_line_with_a_tab(tmp_path: Path) -> None:
    def tabbed(held: Any) -> None:
        held["graph_module"]["graph"]["nodes"][0]["metadata"]["stack_trace"] = 'File "x.py", line 1\n    x = 1\t# one'

    refuse_other_than_tensors(written(tmp_path, changed(records_of(GENUINE[0]), PROGRAM, tabbed)))


@pytest.mark.parametrize("how", [*FORGED, *OURS_ALONE])
def test_a_forged_archive_is_refused_before_torch_sees_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(torch.export, "load", lambda *_: pytest.fail("torch was asked"))
    written(tmp_path, (FORGED | OURS_ALONE)[how](records_of(GENUINE[0])))
    with pytest.raises(SecurityError, match="nothing of it is loaded"):
        load_exported(tmp_path)


def doubled(archive: Path) -> None:
    with warnings.catch_warnings(), zipfile.ZipFile(archive, "a") as opened:
        warnings.simplefilter("ignore")
        opened.writestr(SAMPLES, pickle.dumps(Bomb()))


def commented(archive: Path) -> None:
    with zipfile.ZipFile(archive, "a") as opened:
        opened.comment = b"PK\x05\x06" + b"\0" * 18


CONTAINERS: dict[str, Callable[[Path], Any]] = {
    "a record twice": doubled,
    "a comment that another reader takes for the end": commented,
    "bytes in front": lambda archive: archive.write_bytes(b"#!/bin/sh\n" + archive.read_bytes()),
    "no archive": lambda archive: archive.write_bytes(pickle.dumps(Bomb())),
    "nothing": lambda archive: archive.write_bytes(b""),
    "cut": lambda archive: archive.write_bytes(archive.read_bytes()[:5000]),
    "compressed": lambda archive: written(archive.parents[1], records_of(archive), zipfile.ZIP_DEFLATED),
}


@pytest.mark.parametrize("how", CONTAINERS)
def test_an_archive_that_readers_could_read_differently_is_refused(tmp_path: Path, how: str) -> None:
    archive = written(tmp_path, records_of(GENUINE[0]))
    CONTAINERS[how](archive)
    with pytest.raises(SecurityError):
        refuse_other_than_tensors(archive)


def test_what_mlflow_refuses_is_refused_here_too(tmp_path: Path) -> None:
    theirs = pytest.importorskip("mlflow.pytorch")._validate_pt2_archive_is_pickle_free
    refused = []
    for how, forge in (FORGED | OURS_ALONE).items():
        archive = written(tmp_path, forge(records_of(GENUINE[0])))
        try:
            theirs(str(archive))
        except theirs.__globals__["MlflowException"]:
            refused.append(how)
    assert refused == list(FORGED)  # each of which is refused above; the others are ours alone
    theirs(str(GENUINE[0]))


@pytest.mark.parametrize(
    "text",
    [
        "Symbol('s31', positive=True, integer=True)", "2*s31 + 1", "Max(1, u0)", "Mul(Integer(2), Symbol('s0'))",
        "L['x'].size()[0] >= 2", "L['args'][0].size()[1] % 8 == 0", "Eq(u0, s31)", "s77 <= int_oo",
    ],
)  # fmt: skip
def test_sizes_and_guards_are_expressions_over_numbers(text: str) -> None:
    assert is_harmless(text)


@pytest.mark.parametrize(
    "text",
    [
        EVIL, "().__class__", "S('1')", "Symbol('s0').func('1')", "Symbol('a b').__class__", "sympify('x')",
        "[1 for _ in x]", "lambda: 1", "open('x')", "L['x'].numpy()", "x := 1", "a; b", "f'{x}'", "b'x'", "1" * 20_001,
    ],
)  # fmt: skip
def test_whatever_else_torch_would_evaluate_is_none(text: str) -> None:
    assert not is_harmless(text)

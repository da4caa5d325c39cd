"""Archives of programs that were forged: nothing of them is loaded, whatever torch would have done with it."""

from __future__ import annotations

import io
import json
import pickle
import threading
import warnings
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from mlratchet.infra.artifact.exported import load_exported
from mlratchet.models.errors import SecurityError
from mlratchet.models.tensors.program_archive import is_harmless, read_program, refuse_other_than_tensors

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


def calling(target: str, **argument: Any) -> Callable[[Records], Records]:
    """With a node in front of the others that calls something else; `argument`: what it is given, by its kind."""
    inputs = [{"name": "", "arg": {kind: value}, "kind": 1} for kind, value in argument.items()]
    node = {"target": target, "inputs": inputs, "outputs": [], "metadata": {}, "is_hop_single_tensor_return": None}
    return lambda r: changed(r, PROGRAM, lambda held: held["graph_module"]["graph"]["nodes"].insert(0, node))


def inside(held: Any) -> None:
    """A call in the graph of a branch."""
    graph = held["graph_module"]["graph"]
    branch = {"nodes": [{"target": "torch.ops.aten.from_file.default", "inputs": [], "outputs": [], "metadata": {}}]}
    argument = {"name": "", "arg": {"as_graph": {"name": "true_graph_0", "graph": branch}}, "kind": 1}
    graph["nodes"].insert(
        0, {"target": "torch.ops.higher_order.cond", "inputs": [argument], "outputs": [], "metadata": {}}
    )


def specified(context: Any, kind: str = "builtins.dict") -> Callable[[Records], Records]:
    """With a description of the inputs that torch would import modules for."""
    spec = json.dumps([1, {"type": kind, "context": json.dumps(context), "children_spec": []}])

    def change(held: Any) -> None:
        held["graph_module"]["module_call_graph"][0]["signature"]["in_spec"] = spec

    return lambda r: changed(r, PROGRAM, change)


FOREIGN = (
    "aten.from_file.default", "aten._print.default", "aten.save.default", "aten.set_.source_Tensor",
    "aten.set_.source_Storage", "aten.resize_.default", "aten.empty_strided.default", "aten.new_empty_strided.default",
    "aten.empty.out", "aten.empty_like.out", "aten.empty_permuted.default", "aten.record_stream.default",
    "aten._sparse_csr_tensor_unsafe.default",
    "aten._nested_view_from_buffer.default", "aten._test_string_default.default", "aten.format.default",
    "aten.linear.nowhere", "aten.linear", "aten.nowhere.default", "prims.device_put.default",
    "prim.Print.default", "shop.price.default", "c10d.send.default", "symm_mem.one_shot_all_reduce.default",
    "_c10d_functional.all_reduce.default", "inductor.resize_storage_bytes_.default", "quantized.linear.default",
    "export.access_subclass_inner_tensor.default", "higher_order.print", "higher_order.call_torchbind",
    "higher_order.auto_functionalized", "higher_order.auto_functionalized_v2",
    "higher_order.triton_kernel_wrapper_functional", "higher_order.triton_kernel_wrapper_mutation",
    "higher_order.with_effects", "higher_order.invoke_leaf_function", "higher_order.executorch_call_delegate",
    "higher_order.aoti_call_delegate", "higher_order.inline_asm_elementwise", "higher_order.flat_apply",
)  # fmt: skip
PYTHON = (
    "torch.export.custom_ops._call_custom_autograd_function_in_pre_dispatch", "torch.load", "torch.hub.load",
    "torch.ops.load_library", "torch._C._set_grad_enabled", "torch._functorch.predispatch._vmap_increment_nesting",
    "_operator.call", "_operator.attrgetter", "math.factorial", "os.system", "#shop:price", "builtins.eval", "",
)  # fmt: skip
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
    **{f"a call of {name}": calling(f"torch.ops.{name}") for name in FOREIGN},
    **{f"a call of {name or 'nothing'}": calling(name, as_string="antigravity.x") for name in PYTHON},
    "an operator as an argument": calling("torch.ops.aten.relu.default", as_operator="torch.ops.aten.relu.default"),
    "a call in a branch": lambda r: changed(r, PROGRAM, inside),
    "an enumeration in a description of inputs": specified([{"__enum__": True, "fqn": "antigravity:x", "name": "x"}]),
    "a factory in a description of inputs": specified(
        {"default_factory_module": "antigravity", "default_factory_name": "x", "dict_context": []},
        "collections.defaultdict",
    ),
    "nodes that are none": lambda r: changed(r, PROGRAM, lambda held: held["graph_module"]["graph"].update(nodes=7)),
    "another verifier": lambda r: changed(r, PROGRAM, lambda held: held.update(verifiers=["EDGE"])),
    "no verifier": lambda r: changed(r, PROGRAM, lambda held: held.update(verifiers=[])),
    "a source that torch looks up": lambda r: changed(
        r,
        PROGRAM,
        lambda held: held["graph_module"]["graph"]["nodes"][0]["metadata"].update(source_fn_stack="x,torch.x"),
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
        "FloatPow(ToFloat(Symbol('s77', positive=True, integer=True)), Float('0.5', precision=53))",
        "Pow(Symbol('s0', positive=True, integer=True), Rational(1, 2))", "(s0 + 3)**2*(s1 - 1)", "s0**(-1)", "u0 << 3",
        "Add(Integer(-1), Mul(Integer(4), FloorDiv(Symbol('s0'), Integer(8))))",
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


@pytest.mark.parametrize(
    "text",
    [
        "2**10**10", "Pow(Integer(10), Pow(Integer(10), Integer(10)))", "((((9**64)**64)**64)**64)", "1 << 10**9",
        "LShift(Integer(1), Integer(9999999999))", "9**s0", "PowByNatural(Integer(7), Symbol('s0'))", "10**'1e9'",
        "*".join(f"(s{n} + u{n})" for n in range(60)), "(s0 + s1 + s2 + s3 + s4 + s5)**40", "*".join(["9" * 300] * 60),
        "Integer('" + "9" * 40 + "')**64", "2**-(10**10)",
    ],
)  # fmt: skip
def test_what_is_short_and_never_done_is_not_evaluated(text: str) -> None:
    assert not is_harmless(text)


class Remembering(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(2, 3))
        self.norm = torch.nn.BatchNorm1d(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.get_buffer("seen").view(-1)[1:3].copy_(x[0, :2])
        return x + self.get_buffer("seen")[0]


class Normalising(Remembering):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        norm = self.norm
        return torch.nn.functional.batch_norm(x, norm.running_mean, norm.running_var, training=True)


class Quiet(Remembering):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.get_buffer("seen").clone()
        y[0].add_(1)
        found: torch.Tensor = torch.relu_(self.norm(x) + y[0])
        return found


@pytest.mark.parametrize(("kind", "name"), [(Remembering, "seen"), (Normalising, "norm.running_mean")])
def test_a_program_that_keeps_what_it_was_asked_is_not_read(kind: type[Remembering], name: str, tmp_path: Path) -> None:
    archive = tmp_path / "model.pt2"
    torch.export.save(torch.export.export(kind().eval(), (torch.ones(4, 3),)), archive)
    with pytest.raises(SecurityError, match=rf"writes to its own '{name}' \(aten\.\w+\.default\)"):
        read_program(archive)


def test_a_program_that_writes_to_what_it_made_is_read(tmp_path: Path) -> None:
    archive = tmp_path / "model.pt2"
    torch.export.save(torch.export.export(Quiet().eval(), (torch.ones(4, 3),)), archive)
    assert read_program(archive).module()(torch.ones(4, 3)).shape == (4, 3)


def test_programs_are_read_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch keeps what it is reading in a global, and refuses a second one: of several champions none was served."""
    real, inside, overlapped = torch.export.load, threading.Lock(), threading.Event()

    def alone(*given: Any) -> Any:
        if not inside.acquire(blocking=False):
            overlapped.set()
            return real(*given)
        overlapped.wait(0.3)  # as long as another thread could come in
        found = real(*given)
        inside.release()
        return found

    monkeypatch.setattr(torch.export, "load", alone)
    with ThreadPoolExecutor(2) as pool:
        assert len(list(pool.map(read_program, [GENUINE[0], GENUINE[0]]))) == 2
    assert not overlapped.is_set()

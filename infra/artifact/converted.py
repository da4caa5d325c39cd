"""A verified program in a form for other consumers: ONNX or TorchScript, made in a child and held against the program
before anything of it is handed over."""

from __future__ import annotations

import importlib.util
import json
import logging
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mlratchet.infra.artifact.exported import load_program
from mlratchet.infra.child.handed_back import read_handed_back
from mlratchet.infra.machine.temporary import temporary_folder
from mlratchet.infra.settings import forbid_pickle
from mlratchet.models.artifact.elsewhere import Made
from mlratchet.models.artifact.files import PREPARED_EXAMPLE, PROGRAM
from mlratchet.models.artifact.prepared_example import PreparedExample
from mlratchet.models.artifact.signature import Signature
from mlratchet.models.artifact.tried_inputs import SIZES, tried_inputs
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.ports.children import Workplace, children
from mlratchet.models.serving.schema import rows_of
from mlratchet.models.tensors.batch import Batch, ByName, Model, batch_of
from mlratchet.models.tensors.named import Inputs
from mlratchet.models.tensors.program_archive import read_program

CONVERT, CONVERT_S = f"{__name__}:convert", 1800.0
MADE = "made"  # the file in the scratch
MOST_BYTES = 8 << 30
BOUND = 1e-4  # largest difference of an output, relative above 1
NEEDED = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "torchscript": ()}
ONNX_INPUT, ONNX_OUTPUT = "x", "output"  # names of the only input, and of the output


def converted(directory: Path, to: Made) -> bytes:
    """The program of a verified model directory in another form.

    Raises ``ConfigurationError`` where what makes it is not installed, where the program has no such form, and where
    that answers otherwise than the program.
    """
    absent = [name for name in NEEDED[to] if importlib.util.find_spec(name) is None]
    if absent:
        raise ConfigurationError(
            f"--to {to} needs {', '.join(NEEDED[to])}, of which {absent[0]} is not installed; "
            "`pip install 'mlratchet[onnx]'`"
        )
    with temporary_folder("convert") as folder:
        scratch = Path(folder)
        told = children().call(
            CONVERT, {"directory": str(directory), "to": to}, scratch=scratch, reads=(directory,),
            time_limit_s=CONVERT_S,
        )  # fmt: skip
        if told != "done":
            raise ConfigurationError(f"--to {to}: {told}"[:1000])
        return read_handed_back(scratch / MADE, most_bytes=MOST_BYTES)


def convert(request: Mapping[str, Any], workplace: Workplace) -> str:
    """In the child: `done`, or why not."""
    directory, to, file = Path(request["directory"]), request["to"], workplace.scratch / MADE
    signature = Signature.from_json((directory / "signature.json").read_text())
    program = load_program(directory)
    example = example_of(directory, signature)
    make = {"onnx": make_onnx, "torchscript": make_torchscript}[to]
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            other = make(directory, program, example, file)
        except Exception as error:  # noqa: BLE001 - a converter raises whatever it likes at what it does not know
            words = " ".join(f"{type(error).__name__}: {error}".split())
            return f"the program has no such form: {words[:600]}"
        return difference(program, other, example, signature) or "done"


def example_of(directory: Path, signature: Signature) -> Inputs:
    """The input example of an artifact as the program takes it."""
    kept = directory / PREPARED_EXAMPLE
    if kept.is_file():
        return rows_of(PreparedExample.model_validate_json(kept.read_bytes()).instances, signature)
    told = json.loads((directory / "serving_input_example.json").read_text())
    table = told.get("dataframe_split")
    instances = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]] if table else told["inputs"]
    return rows_of(instances, signature)


def make_onnx(directory: Path, program: Model, _example: Inputs, file: Path) -> Model:
    """Written to `file`; how it answers in ONNX's own runtime."""
    forbid_pickle()
    names = list(program.names) if isinstance(program, ByName) else [ONNX_INPUT]
    made = torch.onnx.export(
        read_program(directory / PROGRAM), dynamo=True, verbose=False, input_names=names, output_names=[ONNX_OUTPUT],
    )  # fmt: skip
    assert made is not None
    made.save(file, external_data=False)
    import onnxruntime  # type: ignore[import-untyped,import-not-found,unused-ignore]  # an extra, without types

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])

    def answer(batch: Batch) -> torch.Tensor:
        given = {ONNX_INPUT: batch} if isinstance(batch, torch.Tensor) else {name: batch[name] for name in names}
        return torch.from_numpy(session.run(None, {name: one.numpy() for name, one in given.items()})[0])

    return answer


def make_torchscript(_directory: Path, program: Model, example: Inputs, file: Path) -> Model:
    """Written to `file`; how it answers."""
    module: Any = program.module if isinstance(program, ByName) else program
    batch = batch_of(_two_rows(example), least=2)
    with torch.inference_mode():
        if isinstance(program, ByName):
            assert isinstance(batch, dict)
            named = {name: batch[name] for name in program.names}
            traced = torch.jit.trace(module, example_kwarg_inputs=named, check_trace=False)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        else:
            traced = torch.jit.trace(module, (batch,), check_trace=False)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    torch.jit.save(traced, str(file))
    loaded: Callable[..., torch.Tensor] = torch.jit.load(str(file))  # type: ignore[no-untyped-call]  # as above
    return ByName(loaded, program.names) if isinstance(program, ByName) else loaded


def _two_rows(example: Inputs) -> Inputs:
    return example if len(example) > 1 else Inputs.concat([example, example])


def difference(program: Model, other: Model, example: Inputs, signature: Signature) -> str:
    """Where the two answer otherwise, in words; empty where they do not."""
    with torch.inference_mode():
        for x in tried_inputs(example, signature.tensors, np.random.default_rng(0)):
            batch = batch_of(x)
            expected = program(batch).float()
            try:
                got = other(batch).float()
            except Exception as error:  # noqa: BLE001 - as above
                return f"it does not answer {len(x)} rows: {' '.join(str(error).split())[:300]}"
            if got.shape != expected.shape:
                return f"of {len(x)} rows its output is {list(got.shape)}, that of the program {list(expected.shape)}"
            apart = (got - expected).abs() / expected.abs().clamp(min=1.0)
            if not bool((apart <= BOUND).all()):
                at = int(apart.reshape(len(x), -1).nan_to_num(nan=float("inf")).amax(dim=1).argmax())
                return (
                    f"of {len(x)} rows it answers row {at} with {_shown(got[at])}, the program with "
                    f"{_shown(expected[at])}: expected at most {BOUND:g} apart"
                )
    return ""


def _shown(output: torch.Tensor) -> str:
    return str([round(value, 6) for value in output.reshape(-1)[:6].tolist()])


def tried_words() -> str:
    """On what it was tried, for whoever asks."""
    return f"the input example and batches of {', '.join(map(str, SIZES))} rows, at most {BOUND:g} apart"

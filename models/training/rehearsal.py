"""Try a workload before anything trains: a training in small, a resume, an export, with one, two and many rows.

Everything is done by what does it later: the loop, the engine of the mode, checkpoints, and the export of the artifact.
Whatever raises is told with the user's own line. Runs in a process of its own (`infra/launch/rehearsal.py`).
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass, replace

import torch
from mlratchet.models.config import WorkloadRef
from mlratchet.models.errors import ConfigurationError, RatchetError
from mlratchet.models.own_line import own_line
from mlratchet.models.ports.memory import ObjectsInMemory
from mlratchet.models.ports.storage import ObjectStore
from mlratchet.models.sources.record import Split
from mlratchet.models.tensors.batch import (
    Batch,
    ByName,
    Model,
    aligned,
    asked_by_name,
    batch_of,
    count_of,
    export_program,
    first_rows,
    program_model,
    widened,
)
from mlratchet.models.tensors.program_archive import as_stored, is_plain_name
from mlratchet.models.tensors.program_writes import overwritten
from mlratchet.models.training.config import CheckpointConfig, TrainConfig
from mlratchet.models.training.fast import refuse_unused
from mlratchet.models.training.fitting import check_names
from mlratchet.models.training.forward_lines import (
    class_line,
    fixed_sizes,
    last_line,
    line_of_call,
    line_of_chance,
    line_of_lost_rows,
    line_of_node,
)
from mlratchet.models.training.job import TrainingError, TrainJob
from mlratchet.models.training.loop import Trainer
from mlratchet.models.training.rehearsal_rows import fitted_to_made_up, made_up, write_small_dataset
from mlratchet.models.training.resumable import check_resumed
from mlratchet.models.workloads.base import Workload
from mlratchet.models.workloads.loading import load_workload
from torch import nn

WIDER = 3  # zeros behind the end of every row
STEPS = 3  # of the training in small; it is resumed after the second
SHARDS = 2
MANY = 5  # rows
BATCH = 2 * SHARDS  # rows of a step, or queries: two for each shard, as BatchNorm needs
TOLERANCE = 1e-2  # of an exported output against the model's, relative: more is another answer, not another rounding
SCALED = (
    "columns are standardised by default, and as they are they pass: write workload.parameters.standardise: false, or "
    "name the columns that it may scale"
)


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """What a rehearsal found."""

    problem: str = ""  # what has to be mended, with the place; empty: nothing
    notes: tuple[str, ...] = ()


def rehearse(
    store: ObjectStore, ref: WorkloadRef, train: TrainConfig, *, world: int, rows: Split | None = None
) -> Rehearsal:
    """Try a workload with a training's settings.

    Args:
        store: An empty one, which is thrown away.
        ref: The workload.
        train: Its settings; sizes and times are made small.
        world: Processes that will train.
        rows: Training rows; without them rows of 0 and 1 are made up from the workload's input.
    """
    found = _tried(store, ref, train, world, rows)
    raw = _with_raw_columns(ref) if found.problem else None
    if raw is not None and not _tried(ObjectsInMemory("rehearsal"), raw, train, world, rows).problem:
        return replace(found, problem=f"{found.problem}; {SCALED}")
    return found


def _with_raw_columns(ref: WorkloadRef) -> WorkloadRef | None:
    """The workload with its columns as they are; None where they are already, or nobody can say so."""
    try:
        workload = load_workload(ref.use, dict(ref.parameters))
    except Exception:  # noqa: BLE001 - the user's code may raise anything, and what it is was told
        return None
    if not getattr(workload, "standardise", False) or "standardise" not in inspect.signature(type(workload)).parameters:
        return None
    return ref.model_copy(update={"parameters": {**ref.parameters, "standardise": False}})


def _tried(store: ObjectStore, ref: WorkloadRef, train: TrainConfig, world: int, rows: Split | None) -> Rehearsal:
    notes: list[str] = []
    try:
        workload = load_workload(ref.use, dict(ref.parameters))
        check_names(workload)
        if rows is None and workload.input_spec().example is not None:
            ref = fitted_to_made_up(workload, ref)
            workload = load_workload(ref.use, dict(ref.parameters))
        rows = made_up(workload) if rows is None else rows
        specs = workload.tensors()
        x = aligned(batch_of(rows.x.rows(slice(MANY)), least=2))
        torch.manual_seed(train.seed)
        fresh = workload.prepared_model().eval()
        check_tensor_names(workload, fresh)
        check_outputs(workload, asked_by_name(fresh, specs), x, "the model")
        tensors = train_in_small(store, ref, workload, train, rows, world, notes)
        module = workload.prepared_model()
        if tensors is not None:
            module.load_state_dict(tensors)
        check_export(workload, module.eval(), x)
    except RatchetError as error:
        return Rehearsal(problem=str(error), notes=tuple(notes))
    except Exception as error:  # noqa: BLE001 - the user's code may raise anything: that is what is asked
        words = str(error).strip() or "no message"
        where = own_line(error) or class_line(type(workload) if "workload" in locals() else Workload)
        return Rehearsal(problem=f"{where}: {type(error).__name__}: {words[:600]}", notes=tuple(notes))
    return Rehearsal(notes=tuple(notes))


def in_small(train: TrainConfig) -> TrainConfig:
    """The settings of a training of `STEPS` steps of few rows."""
    on_gpu = torch.cuda.is_available() and train.device != "cpu"
    return train.model_copy(
        update={
            "epochs": 1, "global_batch_size": BATCH, "shards": SHARDS, "accumulation": 1, "processes": 1, "nodes": 1,
            "loader_workers": 0, "compile": False, "profile": None, "warm_start": "none", "initial_weights": None,
            "class_weights": None if train.class_weights == "balanced" else train.class_weights,
            "precision": "fp32" if train.precision == "fp16" and not on_gpu else train.precision,
            "checkpoint": CheckpointConfig(every_steps=STEPS - 1, every_seconds=None),
        }
    )  # fmt: skip


def train_in_small(
    store: ObjectStore,
    ref: WorkloadRef,
    workload: Workload,
    train: TrainConfig,
    rows: Split,
    world: int,
    notes: list[str],
) -> dict[str, torch.Tensor] | None:
    """Forward, loss, backward, optimizer step, checkpoint and resume. The weights; None without finite ones."""
    small = in_small(train)
    device = torch.device("cuda", 0) if torch.cuda.is_available() and small.device != "cpu" else torch.device("cpu")
    job = TrainJob(
        work_key="rehearsal", epoch=1, dataset_id=write_small_dataset(store, workload, rows, drawn=STEPS * BATCH),
        workload=ref, train=small, processes=1, scratch=".",
    )  # fmt: skip

    def trainer(epoch: int) -> Trainer:
        made = Trainer(job.model_copy(update={"epoch": epoch}), store, rank=0, world=1, device=device)
        made.run()
        return made

    try:
        whole = trainer(1)
    except TrainingError as error:
        if "loss or gradient is" not in str(error) and "nothing was learnt" not in str(error):
            raise
        notes.append("the loss was not finite on the few rows of the rehearsal: its resume was not tried")
        return None
    if small.mode == "fast" and world > 1:
        refuse_unused(whole.module)
    check_resumed(whole, trainer(2))
    return whole.settle()


def check_outputs(workload: Workload, module: Model, x: Batch, which: str) -> None:
    """One row of numbers per row, as many as the objective asks for. Raises ``ConfigurationError`` with the line."""
    wanted = workload.objective.output_shapes(workload.class_names())
    for count in (1, 2, count_of(x)):
        with torch.inference_mode():
            output = module(first_rows(x, count))
        if not isinstance(output, torch.Tensor):
            raise ConfigurationError(
                f"{_last(workload, module, x)}: {which} gives a {type(output).__name__}, expected one tensor"
            )
        shape = tuple(output.shape)
        if shape[:1] == (count,) and shape[1:] in wanted and output.is_floating_point():
            continue
        expected = " or ".join(str([count, *one]) for one in sorted(wanted))
        got = f"{which} gives {str(output.dtype).removeprefix('torch.')} {list(shape)} for {count} rows"
        if count == 1 and isinstance(module, nn.Module | ByName):
            line = line_of_lost_rows(module, x) or class_line(type(workload))
            raise ConfigurationError(
                f"{line}: {got.removesuffix('s')}, expected {expected}: the server and the last batch may have one row "
                "alone; name the dimension that squeeze() or flatten() takes away, e.g. squeeze(-1), flatten(1)"
                if len(shape) < 1 + min(map(len, wanted))
                else f"{line}: {got.removesuffix('s')}, expected {expected}{_outputs(workload)}"
            )
        raise ConfigurationError(f"{_last(workload, module, x)}: {got}, expected {expected}{_outputs(workload)}")


def _last(workload: Workload, module: Model, x: Batch) -> str:
    return last_line(module, x) or class_line(type(workload))


def _outputs(workload: Workload) -> str:
    names = workload.class_names()
    return f": a number for each of {len(names)} classes or labels" if names else ": a number per row"


def check_repeats(workload: Workload, module: Model, x: Batch) -> None:
    """The same rows have the same answer, as long as nothing trains. Raises ``ConfigurationError`` with the line."""
    with torch.inference_mode():
        answers = [module(x) for _ in range(2)]
    if not _alike(*answers):
        raise ConfigurationError(
            f"{line_of_chance(module, x) or class_line(type(workload))}: the model is random in eval: it answers the "
            "same rows otherwise the second time; draw only while self.training, e.g. "
            "dropout(x, p, training=self.training) or nn.Dropout"
        )


def _alike(output: torch.Tensor, expected: torch.Tensor) -> bool:
    return output.shape == expected.shape and torch.allclose(
        output, expected, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True
    )


def check_padding(workload: Workload, model: Model, x: Batch) -> None:
    """A row's answer is its own, whatever longer row is beside it. Raises ``ConfigurationError`` with the line."""
    ragged = [spec for spec in workload.tensors() if spec.ragged]
    if not ragged:
        return
    with torch.inference_mode():
        alone, beside = model(x), model(widened(x, [spec.name for spec in ragged], WIDER))
    if not _alike(alone, beside):
        raise ConfigurationError(
            f"{_last(workload, model, x)}: the answer of a row changes with how far its batch is padded: let forward "
            f"take {ragged[0].lengths} and leave out what stands behind a row's end, e.g. "
            f"torch.arange({ragged[0].name}.shape[1]) < {ragged[0].lengths}[:, None]"
        )


def check_tensor_names(workload: Workload, module: nn.Module) -> None:
    """No stored program holds a tensor by another name than a plain one, because torch writes it into code. Raises
    ``ConfigurationError`` naming what a `ModuleDict` or the like calls it."""
    kinds = {"parameter": module.named_parameters(), "buffer": module.named_buffers(), "part": module.named_modules()}
    for kind, named in kinds.items():
        for name, _ in named:
            if is_plain_name(name):
                continue
            part = next((part for part in name.split(".") if not is_plain_name(part)), name)
            of = "part" if kind == "part" or part != name.rpartition(".")[2] else kind
            raise ConfigurationError(
                f"{class_line(type(workload))}: the model names a {of} {part[:60]!r} ({name[:120]!r}), which no "
                "program may hold: call it by at most 100 ASCII letters, digits and _, e.g. as key of its ModuleDict"
            )


def check_writes(workload: Workload, program: torch.export.ExportedProgram) -> None:
    """A model that is asked keeps nothing of it, and leaves the rows as they were. Raises ``ConfigurationError`` with
    the line."""
    for name, node in overwritten(program, inputs=True):
        line = line_of_node(node) or class_line(type(workload))
        own = name not in {spec.arg.name for spec in program.graph_signature.input_specs}
        raise ConfigurationError(
            f"{line}: in eval the model writes to its own {name}: an answer would hold what others asked before; "
            "change it only while self.training"
            if own
            else f"{line}: the model writes to its input {name} in place, which others still read: e.g. x = x * 2 in "
            "place of x *= 2 or x.mul_(2), and nn.ReLU() in place of nn.ReLU(inplace=True)"
        )


def stored(workload: Workload, program: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    """The program as servers read it. Raises ``ConfigurationError`` with the line of what no stored program may call,
    and for one that torch cannot write."""
    try:
        return as_stored(program)
    except Exception as error:  # whatever torch raises at what it has no form for
        words = " ".join(str(error).split())[:400]
        line = line_of_call(program) or class_line(type(workload))
        raise ConfigurationError(f"{line}: the exported program cannot be stored: {words}") from error


def check_export(workload: Workload, module: nn.Module, x: Batch) -> None:
    """The program that is served takes any number of rows, of any length, and answers as the model does."""
    specs = workload.tensors()
    model = asked_by_name(module, specs)
    check_repeats(workload, model, x)
    check_padding(workload, model, x)
    fixed: list[str] = []
    with fixed_sizes(fixed):
        exported = export_program(module, first_rows(x, 2), specs)
    check_writes(workload, exported)
    program = program_model(stored(workload, exported))
    lines = [line for line in dict.fromkeys(fixed) if line]
    ragged = [spec.name for spec in specs if spec.ragged]
    longer = [(widened(x, ragged, WIDER), "rows of another length")] if ragged else []
    for rows, what in (*((first_rows(x, count), f"{count} rows") for count in (1, 2, count_of(x))), *longer):
        try:
            with torch.inference_mode():
                output = program(rows)
        except Exception as error:
            line = lines[0] if lines else last_line(model, x) or class_line(type(workload))
            raise ConfigurationError(
                f"{line}: the exported program does not take {what} ({str(error).strip()[:200]}): a number of "
                "rows became a part of it; write x.shape[0], or -1, where it says len(x) or int(...), and no condition "
                "on how many rows there are"
            ) from error
        with torch.inference_mode():
            expected = model(rows)
        if not _alike(output, expected):
            raise ConfigurationError(
                f"{lines[0] if lines else class_line(type(workload))}: the exported program answers {what} "
                "otherwise than the model: a branch that was not taken is not in it; let forward depend on x by "
                "tensor operations alone, e.g. torch.where"
            )
    check_outputs(workload, program, x, "the exported program")

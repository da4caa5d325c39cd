"""Check a pipeline file whole, before anything trains. Imports no Prefect: `ratchet validate` is quick."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from mlratchet.infra.launch.local import resolve_processes
from mlratchet.infra.launch.rehearsal import rehearse_before_training
from mlratchet.models.data.dataset import load_dataset
from mlratchet.models.decisions.decision import load_decision
from mlratchet.models.errors import ConfigurationError, RatchetError
from mlratchet.models.evaluation.seen import side_by_side
from mlratchet.models.gates.judge import metrics_of
from mlratchet.models.gates.names import ALL_GATES
from mlratchet.models.gates.pilot import Pilot
from mlratchet.models.gates.policy import GatePolicy
from mlratchet.models.gates.power import power_notes
from mlratchet.models.metrics import Metric
from mlratchet.models.metrics.rows import load_rows
from mlratchet.models.objectives.naming import metrics_over
from mlratchet.models.pipeline.checking import check_gates
from mlratchet.models.pipeline.loading import find_pipeline, read_pipeline, read_shared_policy
from mlratchet.models.pipeline.located import KEY, with_lines
from mlratchet.models.pipeline.reading import parse_yaml, read_text
from mlratchet.models.pipeline.salvage import Left, read_what_holds
from mlratchet.models.pipeline.spec import PipelineSpec
from mlratchet.models.pipeline.store import load_pipeline
from mlratchet.models.promotion.registered import promoted_registration
from mlratchet.models.workloads.base import Workload
from mlratchet.models.workloads.loading import load_workload, workload_source
from mlratchet.tasks.support.check_whole import check_whole
from mlratchet.tasks.wiring import Adapters

OWN_LINE = re.compile(r"^\S+\.py:\d+: ")


def check_pipeline(
    file: Path, adapters: Adapters | None = None, *, overrides: Sequence[str] = (), rehearsing: bool = False
) -> tuple[PipelineSpec, list[str]]:
    """The pipeline of a file, with warnings. Raises ``ConfigurationError`` before anything trains.

    Args:
        file: The pipeline file.
        adapters: With them the margins are held against the test rows that the champion was judged on.
        overrides: `key=value`, for one run.
        rehearsing: Try the workload, in a process of its own: a training of a few made-up rows, a resume, an export.
            A run does so on rows of its own, where something will train.
    """
    left = read_what_holds(file, overrides=overrides)
    if left.spec is None:
        raise ConfigurationError("\n".join(sorted(left.problems, key=partial(line_of, file))))
    spec, problems, warnings, workload = left.spec, left.problems, [], None
    try:
        workload = load_workload(spec.workload.use, dict(spec.workload.parameters))
        workload_source(spec.workload.use)  # a declared file that is not there
        warnings = check_whole(spec).warnings
    except ConfigurationError as error:
        problems += str(located(error, file, left)).splitlines()
    if problems or workload is None:
        told = sorted(dict.fromkeys(problems), key=partial(line_of, file))
        beside = power_beside(left, workload, file) if rehearsing and workload is not None else []
        raise ConfigurationError("\n".join([*told, *beside]))
    notes = list(rehearse_made_up(spec, file, adapters)) if rehearsing else []
    pilot = newest_comparison(adapters, spec, workload) if adapters is not None else None
    known = pilot or Pilot(test_share=spec.data.split.test_share, metrics=_metrics(spec, workload))
    return spec, warnings + spec.train.notes() + notes + power_notes(spec.gates, known)


def power_beside(left: Left, workload: Workload, file: Path) -> list[str]:
    """What the checks that hold say of their power, beside mistakes elsewhere: a note each."""
    assert left.spec is not None
    notes = []
    for gate, number, check in left.spec.gates.all_checks():
        with suppress(RatchetError):  # this check is among the mistakes
            metrics = metrics_of([check], workload.objective.reference, workload.class_names())
            note = check.power_note(Pilot(test_share=left.spec.data.split.test_share, metrics=metrics))
            notes += [f"gates.{gate}.{number}: {note}"] if note else []
    if not notes:
        return []
    placed = with_lines(ConfigurationError("\n".join(notes)), file, left.spec.gates, left.left_out)
    return [f"note: {one}" for one in str(placed).splitlines()]


def line_of(file: Path, problem: str) -> int:
    """Where in the file a problem is; what names no line of it comes first."""
    number = problem.removeprefix(f"{file}:").partition(":")[0]
    return int(number) if problem.startswith(f"{file}:") and number.isdecimal() else 0


def located(error: ConfigurationError, file: Path, left: Left) -> ConfigurationError:
    """With the lines of the keys that it names; what names none is about the workload."""
    assert left.spec is not None
    told = str(with_lines(error, file, left.spec.gates, left.left_out))
    _, lines = parse_yaml(read_text(file), where=str(file), expected="a pipeline file")
    place = f"{file}:{lines.of(('workload', 'use'))}: "
    said = [one if one.startswith(str(file)) or KEY.match(one) else place + one for one in told.splitlines()]
    return ConfigurationError("\n".join(said))


def rehearse_made_up(spec: PipelineSpec, file: Path, adapters: Adapters | None) -> tuple[str, ...]:
    """Notes. Raises ``ConfigurationError`` with the line of the user's code, or else of the workload in the file."""
    world = resolve_processes(spec.train) * spec.train.nodes
    home = adapters.settings.home if adapters is not None else None
    try:
        return rehearse_before_training(spec.workload, spec.train, world=world, home=home)
    except ConfigurationError as error:
        if OWN_LINE.match(str(error)):
            raise
        _, lines = parse_yaml(read_text(file), where=str(file), expected="a pipeline file")
        raise ConfigurationError(f"{file}:{lines.of(('workload', 'use'))}: {error}") from error


def _metrics(spec: PipelineSpec, workload: Workload) -> dict[str, Metric]:
    checks = (check for _, _, check in spec.gates.all_checks())
    return metrics_of(checks, workload.objective.reference, workload.class_names())


def source_of(spec: PipelineSpec) -> str:
    """Where the examples of a checked pipeline come from, and in which format, in words."""
    return check_whole(spec).source


def newest_comparison(adapters: Adapters, spec: PipelineSpec, workload: Workload) -> Pilot | None:
    """The champion's test rows, with its outputs and those of the version it replaced where its decision names them.

    None without a champion or without a stack that answers.
    """
    try:
        entries = adapters.ledger.entries(spec.name)
        head = entries[-1] if entries else None
        record = promoted_registration(adapters.store, head, entries) if head is not None else None
        if head is None or record is None:
            return None
        keys = load_decision(adapters.store, head.decision).get("digests", {})
        ours, theirs = (
            load_rows(adapters.store, keys[name]) if keys.get(name, "none") != "none" else None
            for name in ("rows", "champion_rows")
        )
        then = load_pipeline(adapters.store, record.revision).workload
        names = load_workload(then.use, dict(then.parameters)).class_names()
        if set(names) != set(workload.class_names()):
            ours, names = None, workload.class_names()  # they say nothing of the classes that the file names now
        if ours is not None:
            ours, theirs, names = side_by_side(ours, theirs, names)
        return Pilot(
            test_share=spec.data.split.test_share,
            test_rows=load_dataset(adapters.store, record.dataset_id).rows["test"],
            ours=ours,
            theirs=theirs,
            metrics=_metrics(spec, workload)
            | (metrics_over(workload.objective.reference, names) if ours is not None else {}),
        )
    except RatchetError:
        return None


def policy_of(file: Path, directory: Path, pipeline: str) -> GatePolicy:
    """The policy to try: of a pipeline file, or of a policy file with the pipeline's own gates where it leaves one out.

    Raises ``ConfigurationError`` for a file that is neither, and for checks that do not fit the pipeline's workload.
    """
    own = read_pipeline(find_pipeline(directory, pipeline))
    document, _ = parse_yaml(read_text(file), where=str(file), expected="a policy or pipeline file")
    if "workload" in document or "gates" in document:
        policy = read_pipeline(file).gates
    else:
        shared = read_shared_policy(file)
        rules: dict[str, Any] = {gate: getattr(shared, gate) or own.gates.checks(gate) for gate in ALL_GATES}
        policy = GatePolicy(**rules, on_inconclusive=shared.on_inconclusive, holdout=shared.holdout)
    workload = load_workload(own.workload.use, dict(own.workload.parameters))
    check_gates(own.model_copy(update={"gates": policy}), workload)
    return policy

"""Evaluate: everything the gates judge that comes from the test rows."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mlratchet.infra.artifact.measure import Measurement
from mlratchet.models.data.dataset import DatasetManifest
from mlratchet.models.data.prepared_shards import with_fitted
from mlratchet.models.errors import ConfigurationError, DataError
from mlratchet.models.evaluation.away import ModelAway
from mlratchet.models.evaluation.baselines import Baseline, train_baseline
from mlratchet.models.evaluation.perturb import perturb
from mlratchet.models.evaluation.score import score
from mlratchet.models.gates.evidence import AttributionShift, ContractReplay, Evidence
from mlratchet.models.gates.holdout import record_use
from mlratchet.models.gates.needs import Demands, demands_of
from mlratchet.models.metrics import MetricValue
from mlratchet.models.metrics.outside import estimates
from mlratchet.models.metrics.rows import RowOutputs, load_rows, save_rows
from mlratchet.models.objectives.naming import compute_metrics
from mlratchet.models.ports.children import in_process
from mlratchet.models.ports.storage import DigestMismatch, ObjectNotFound
from mlratchet.models.serving.contract import contract_requests, publish_requests, served_signature
from mlratchet.models.sources.record import Split
from mlratchet.models.tensors.batch import Model, asked_by_name
from mlratchet.models.tensors.named import Inputs
from mlratchet.models.training.cost import training_cost
from mlratchet.models.workloads.cold_start import entities_beside
from mlratchet.tasks.showing.mlflow_pages import show_evaluation
from mlratchet.tasks.step import step
from mlratchet.tasks.steps.train import Trained
from mlratchet.tasks.support.attribute import attribute
from mlratchet.tasks.support.examples import Examples
from mlratchet.tasks.support.exported_candidate import Exported, export_candidate, registered_candidate
from mlratchet.tasks.support.score_versions import Rescored, rescore
from mlratchet.tasks.support.work import Work
from mlratchet.tasks.wiring import Run
from safetensors.torch import load

logger = logging.getLogger(__name__)
TRAINED, WEIGHTS = "mlratchet.models.evaluation.in_child:trained_module", "weights.safetensors"
BLOCK_ROWS = 65_536  # that are compared at once
SAMPLE = 256  # rows that the artifact is measured on


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """Per-row outputs, metrics and what else was measured on the test rows."""

    candidate: RowOutputs
    compared: Rescored
    perturbed: dict[str, RowOutputs]  # by `perturbation_name`
    baselines: dict[str, Baseline]  # by model
    metrics: dict[str, MetricValue]
    keys: dict[str, str]  # of every object the verdicts depend on
    cost: dict[str, float]
    attribution_shift: AttributionShift | None
    missing: dict[str, str]  # what could not be measured -> why
    holdout_uses: int
    sample_x: Inputs  # rows for the staging gate
    sample_output: np.ndarray[Any, Any]  # of the same rows
    parity: float  # largest difference between the trained module and its program, over all test rows
    instances: list[Any] | None = None  # the first rows as clients send them, where a version prepares those
    export: Path | None = None  # the program's directory, where it is not registered yet

    @property
    def rows_key(self) -> str:
        """Store key of the candidate's rows."""
        return self.keys["rows"]

    def digests(self) -> dict[str, str]:
        """What the verdicts depend on."""
        return {**self.keys, "holdout_uses": str(self.holdout_uses)}

    def evidence(self, *, version: int | None = None, staged: Measurement | None = None) -> Evidence:
        """For a gate."""
        measured: dict[str, Any] = {}
        if staged is not None:
            asked = staged.parity_max_difference  # None: the artifact did not answer
            measured = {
                "latency_ms": staged.latency_ms,
                "latency_n": staged.latency_n,
                "size_bytes": staged.size_bytes,
                "memory_mb": staged.memory_mb,
                "parity_max_difference": None if asked is None else max(asked, self.parity),
                "parity_n": max(staged.parity_n, len(self.candidate.ids)),
                "contract": ContractReplay(n=staged.contract_n, failures=staged.contract_failures),
            }
        return Evidence(
            version=version,
            dataset_id=self.candidate.dataset_id,
            candidate=self.candidate,
            champion=self.compared.champion,
            perturbed=self.perturbed,
            versions=self.compared.versions,
            anchor_version=self.compared.anchor_version,
            previous_version=self.compared.previous_version,
            cost=self.cost,
            attribution_shift=self.attribution_shift,
            holdout_uses=self.holdout_uses,
            baselines=self.baselines,
            missing=self.missing,
            **measured,
        )


@step("Evaluate on the test rows")
def evaluate(run: Run, work: Work, dataset: DatasetManifest, trained: Trained) -> Evaluation:
    """Score the candidate, its perturbed copies and every version it is compared with on the same rows: each by the
    program that serves or would serve."""
    store, demands, task = run.adapters.store, demands_of(run.spec.gates), run.workload.objective.reference
    examples = Examples(store, run.spec, dataset, served_signature(run.workload, run.spec.serving))
    rows = examples.rows
    module = load_candidate(run, trained.result.weights_key, trained.result.weights_sha256)
    exported = as_it_would_serve(run, work, module, rows)
    program = exported.program
    candidate = score(program, rows)
    compared = rescore(run, work, examples, demands)
    perturbed = perturbed_rows(run, program, rows, demands)
    baselines, no_baseline = trained_baselines(run, dataset, rows, demands)
    attributed = attribute(run, examples, demands, program, compared.champion_version)
    metrics = compute_metrics(candidate, task, run.workload.class_names())
    metrics |= estimates(demands.metrics, candidate, task)
    show_evaluation(run, trained, candidate, compared, metrics, demands, attributed)
    scored: dict[str, RowOutputs | None] = {
        "rows": candidate,
        "champion_rows": compared.champion,
        **{f"rows under {name}": outputs for name, outputs in perturbed.items()},
        **{f"rows of version {version}": outputs for version, outputs in compared.versions.items()},
        **{f"rows of the {name} baseline": one.outputs for name, one in baselines.items()},
    }
    keys = {name: save_rows(store, outputs) if outputs is not None else "none" for name, outputs in scored.items()}
    keys["program"] = exported.sha256
    instances = examples.instances(SAMPLE)
    sample_x, sample_output = rows.x.rows(slice(SAMPLE)), candidate.output[:SAMPLE]
    keys["requests"] = publish_requests(
        store,
        contract_requests(
            served_signature(run.workload, run.spec.serving),
            sample_x,
            sample_output,
            instances=instances,
        ),
    )
    return Evaluation(
        candidate=candidate,
        compared=compared,
        perturbed=perturbed,
        baselines=baselines,
        metrics=metrics,
        keys=keys | ({"attributions": attributed.digest} if attributed.digest else {}),
        cost=training_cost(store, work.key, trained.result, run.spec.train),
        attribution_shift=attributed.shift,
        missing=compared.missing | no_baseline | ({"attributions": attributed.missing} if attributed.missing else {}),
        holdout_uses=worn(run, work, rows.ids),
        sample_x=sample_x,
        sample_output=sample_output,
        parity=largest_difference(trained_rows(run, trained, module, rows), candidate),
        instances=instances,
        export=exported.directory,
    )


def worn(run: Run, work: Work, ids: Sequence[str]) -> int:
    """How often these rows have gated before; -1 when records of it were removed."""
    heads, name = run.adapters.ledger.heads, run.spec.name
    wear = record_use(
        run.adapters.store, name, work.key, ids, seen=heads.mark(name, "wear") if heads is not None else (0, "")
    )
    if wear.uses < 0:
        logger.warning("holdout/%s/: records of how often rows have gated are gone; `ratchet audit` names them", name)
    elif heads is not None:
        heads.keep_mark(name, "wear", wear.number, wear.digest)
    return wear.uses


def as_it_would_serve(run: Run, work: Work, module: Model | ModelAway, rows: Split) -> Exported:
    """The program of the work's version; of work that has none the export that would become it."""
    if work.done is not None:
        return registered_candidate(run, work.done)
    return export_candidate(run, module, rows.x.rows(slice(2)))


def trained_rows(run: Run, trained: Trained, module: Model | ModelAway, rows: Split) -> RowOutputs:
    """The test rows as the ranks scored them with the trained module, each once; scored now when they did not, or when
    what they scored is not whole."""
    if trained.result.rows_key is not None:
        try:
            return load_rows(run.adapters.store, trained.result.rows_key)
        except (DigestMismatch, ObjectNotFound) as error:
            logger.warning("%s; the rows are scored again", error)
    return score(module, rows)


def largest_difference(trained: RowOutputs, program: RowOutputs) -> float:
    """Over all rows, by their ids; infinite where the two are not about the same rows or a difference is no number."""
    if trained.output.shape == program.output.shape and trained.ids == program.ids:
        return _largest(trained.output, program.output)
    place = {identity: number for number, identity in enumerate(trained.ids)}
    if sorted(place) != sorted(program.ids) or trained.output.shape != program.output.shape:
        return math.inf
    return _largest(trained.output[[place[identity] for identity in program.ids]], program.output)


def _largest(ours: np.ndarray[Any, Any], theirs: np.ndarray[Any, Any]) -> float:
    found = 0.0
    for at in range(0, len(ours), BLOCK_ROWS):
        block = slice(at, at + BLOCK_ROWS)
        one = float(np.abs(ours[block].astype(np.float64) - theirs[block]).max(initial=0.0))
        found = max(found, one) if math.isfinite(one) else math.inf
    return found


def perturbed_rows(run: Run, program: Model | ModelAway, rows: Split, demands: Demands) -> dict[str, RowOutputs]:
    """The candidate on every perturbed copy that the policy declares, one at a time in memory."""
    spec = run.workload.input_spec()
    return {name: score(program, perturb(rows, one, spec)) for name, one in demands.perturbations.items()}


def trained_baselines(
    run: Run, dataset: DatasetManifest, rows: Split, demands: Demands
) -> tuple[dict[str, Baseline], dict[str, str]]:
    """Every baseline that the policy asks for, trained now; and of those that cannot be had, why."""
    found: dict[str, Baseline] = {}
    missing: dict[str, str] = {}
    outputs = len(run.workload.class_names()) or 1
    for model in demands.baselines:
        try:
            found[model] = train_baseline(
                run.adapters.store,
                dataset,
                rows,
                model=model,
                learns=run.workload.objective.linear_model,
                outputs=outputs,
                told=entities_beside(run.workload.input_spec().example),
            )
        except (ConfigurationError, DataError) as error:
            missing[f"{model} baseline"] = str(error)
            logger.warning("the %s baseline cannot be had: %s", model, error)
    return found, missing


def load_candidate(run: Run, weights_key: str, weights_sha256: str) -> Model | ModelAway:
    """The trained module in eval mode; in a child, where there are any. Raises ``DigestMismatch`` for changed
    weights."""
    weights = run.adapters.store.get(weights_key, sha256=weights_sha256)
    if not in_process():
        workload = with_fitted(run.spec.workload, run.fitted).model_dump(mode="json")
        return ModelAway(load=TRAINED, arguments={**workload, "weights": WEIGHTS}, objects={WEIGHTS: weights})
    module = run.workload.prepared_model()
    module.load_state_dict(load(weights))
    return asked_by_name(module.eval(), run.workload.tensors())

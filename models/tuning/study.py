"""A study and its trials, as facts: what makes them the same study and the same trial, and how a trial ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from mlratchet.models.identity.canonical import canonical_json, digest
from mlratchet.models.pipeline.spec import PipelineSpec
from mlratchet.models.ports.storage import ObjectStore
from mlratchet.models.tuning.space import Values, baseline, require_tune

State = Literal["running", "complete", "pruned", "infeasible", "failed", "duplicate"]
COUNTED: tuple[State, ...] = ("complete", "pruned", "infeasible", "failed")
"""States that use up the budget: a duplicate costs nothing, one that runs has not ended."""
BASELINE = 0  # number of the trial with the file's own values


@dataclass(frozen=True, kw_only=True)
class TrialFacts:
    """One trial."""

    number: int
    state: State
    values: Values
    value: float | None = None  # the metric over the scoring rows, of the weights that would be published
    curve: tuple[tuple[int, float], ...] = ()  # (epoch, metric)
    seconds: float = 0.0
    work_key: str = ""
    rows_key: str | None = None  # outputs of the scoring rows
    weights_sha256: str = ""
    reason: str = ""  # why it did not complete
    reused: bool = False  # an earlier study had trained exactly this


def study_id(spec: PipelineSpec, *, dataset_id: str, code: Any, torch_version: str, parent_version: int | None) -> str:
    """SHA-256 hex of everything that decides which trials a study would run. Its budget is not part of it.

    `code` as for `work_parts`.
    """
    return digest(
        {
            "pipeline": spec.name,
            "tune": require_tune(spec).identity(),
            "baseline": baseline(spec),
            "workload": spec.workload.model_dump(mode="json"),
            "code": code,
            "train": spec.train.identity(world=1),
            "dataset": dataset_id,
            "parent": parent_version,
            "torch": torch_version,
        }
    )


def by_study(who: str, study: str) -> str:
    """Who asked for the run that applies the best of a study. The garbage collector knows the words: a study whose best
    became a version is kept with it."""
    return f"{who}, by study {study[:12]}"


def publish_finished(store: ObjectStore, study: str, pipeline: str) -> None:
    """Write down that the budget or the space was used up, and whose study it is; more trials may follow."""
    store.create(f"studies/{study}/finished.json", canonical_json({"study": study, "pipeline": pipeline}))


def best_of(trials: list[TrialFacts], *, higher_is_better: bool) -> TrialFacts | None:
    """The complete trial with the best value; of equal ones the earliest, so that a tie keeps the file's values."""
    complete = [trial for trial in trials if trial.state == "complete" and trial.value is not None]
    sign = -1.0 if higher_is_better else 1.0
    return min(complete, key=lambda trial: (sign * float(trial.value or 0.0), trial.number), default=None)


def counts(trials: list[TrialFacts]) -> dict[str, int]:
    """Trials per state, the states that occur."""
    found: dict[str, int] = {}
    for trial in trials:
        found[trial.state] = found.get(trial.state, 0) + 1
    return found


def document(trial: TrialFacts) -> dict[str, Any]:
    """JSON of a trial, for the report."""
    return {
        "number": trial.number,
        "state": trial.state,
        "values": trial.values,
        "value": trial.value,
        "epochs": len(trial.curve),
        "seconds": round(trial.seconds, 2),
        "reason": trial.reason,
        "reused": trial.reused,
        "weights_sha256": trial.weights_sha256,
    }

"""What a run did, for the command line and for whoever reads the bucket: `runs/<flow run id>.json`."""

from __future__ import annotations

import time
from typing import Any

from mlratchet.models.decisions.gate_run import GateRun
from mlratchet.models.errors import GateRefusedError, RatchetError
from mlratchet.models.identity.canonical import canonical_json
from mlratchet.models.ledger.entry import LedgerEntry
from mlratchet.models.registration.record import Registration
from mlratchet.tasks.steps.evaluate import Evaluation
from mlratchet.tasks.steps.train import Trained
from mlratchet.tasks.support.work import Work
from mlratchet.tasks.wiring import Adapters
from prefect.client.schemas.objects import State, StateType

ENDED_BADLY = {
    "stopped_by_gate": "Stopped by gate",
    "rolled_back": "Rolled back",
    "probation_failed": "Probation failed",
}  # outcome -> state in Prefect; infra/stack/prepare.py knows the names


class Report:
    """Collected while the run climbs."""

    def __init__(self, *, run_id: str, pipeline: str) -> None:
        self.began_s = time.time()
        self.facts: dict[str, Any] = {
            "run_id": run_id,
            "pipeline": pipeline,
            "outcome": "running",
            "exit_code": 0,
            "line": "",
            "gates": [],
        }

    def begin(self, work: Work) -> None:
        """The identity of the work and who served before."""
        self.facts |= {
            "snapshot": work.snapshot_id,
            "work_key": work.key,
            "champion_before": work.champion.version if work.champion else None,
            "why": work.why,
        }

    def read(self, line: str) -> None:
        """What became of every record of the delivery."""
        self.facts["reading"] = line

    def recognised(self, record: Registration, champion: LedgerEntry, url: str) -> None:
        """The work is the champion already, or was until a later one replaced it."""
        line = f"nothing to do: version {record.version} was trained from exactly this and serves"
        if record.version != champion.version:
            line = (
                f"nothing to do: version {record.version} was trained from exactly this and was replaced by version "
                f"{champion.version}; `ratchet rollback {record.name} --to {record.version}` brings it back"
            )
        self.facts |= {"outcome": "unchanged", "version": record.version, "url": url, "line": line}

    def trained(self, trained: Trained) -> None:
        """Steps and seconds."""
        result = trained.result
        self.facts["training"] = {
            "steps": result.steps,
            "seconds": round(result.seconds, 2),
            "resumed_from_step": result.resumed_from_step,
            "parent_version": trained.parent_version,
            "mlflow_run": trained.tracking_run,
        }

    def evaluated(self, evaluation: Evaluation) -> None:
        """Test metrics that are defined."""
        self.facts["metrics"] = {
            name: metric.value for name, metric in evaluation.metrics.items() if metric.value == metric.value
        }

    def gated(self, gate_run: GateRun) -> None:
        """One gate's verdict."""
        self.facts["gates"].append(
            {
                "gate": gate_run.gate,
                "verdict": gate_run.verdict,
                "decision": gate_run.decision,
                "reasons": list(gate_run.reasons),
            }
        )

    def registered(self, record: Registration) -> None:
        """The version."""
        self.facts["version"] = record.version

    def promoted(self, entry: LedgerEntry, url: str) -> None:
        """The end of the road."""
        self.facts |= {
            "outcome": "promoted",
            "url": url,
            "generation": entry.generation,
            "line": f"version {entry.version} is champion (generation {entry.generation}) and serves at {url}",
        }

    def rolled_back(self, entry: LedgerEntry, back: LedgerEntry, gate_run: GateRun, url: str) -> None:
        """The promotion did not stand the probation."""
        line = (
            f"version {entry.version} failed its probation ({'; '.join(gate_run.reasons)}) and was rolled back: "
            f"version {back.version} is champion again (generation {back.generation}) and serves at {url}"
        )
        self.facts |= {
            "outcome": "rolled_back",
            "exit_code": 4,
            "generation": back.generation,
            "champion_after": back.version,
            "url": url,
            "line": line,
        }

    def stays(self, entry: LedgerEntry, gate_run: GateRun) -> None:
        """The probation failed, and there is nothing to go back to."""
        line = (
            f"version {entry.version} failed its probation ({'; '.join(gate_run.reasons)}), but no other version was "
            "champion before: it stays and serves"
        )
        self.facts |= {"outcome": "probation_failed", "exit_code": 4, "line": line}

    def undecided(self, gate_run: GateRun) -> None:
        """The probation found nothing against it, and not enough for it."""
        self.facts["line"] += f"; its probation is inconclusive ({'; '.join(gate_run.reasons)})"

    def failed(self, error: RatchetError) -> Report:
        """Why the road ended early."""
        outcome = "stopped_by_gate" if isinstance(error, GateRefusedError) else "failed"
        self.facts |= {"outcome": outcome, "exit_code": error.exit_code, "line": error.line()}
        return self


def finish(report: Report, adapters: Adapters) -> State[Any]:
    """Publish the report and turn it into the flow run's final state."""
    facts = report.facts
    facts["seconds"] = round(time.time() - report.began_s, 2)
    message = "; ".join(filter(None, (facts["line"], facts.get("reading"))))
    adapters.store.put(f"runs/{facts['run_id']}.json", canonical_json(facts))
    if facts["outcome"] in ENDED_BADLY:
        return State(type=StateType.FAILED, name=ENDED_BADLY[facts["outcome"]], message=message)
    if facts["outcome"] == "failed":
        return State(type=StateType.FAILED, message=message)
    name = "Promoted" if facts["outcome"] == "promoted" else "Unchanged"
    return State(type=StateType.COMPLETED, name=name, message=message)

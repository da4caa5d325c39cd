"""What a run did, for the command line and for whoever reads the bucket: `runs/<flow run id>.json`."""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from typing import Any
from uuid import UUID

from mlratchet.models.decisions.decision import load_decision, table
from mlratchet.models.decisions.gate_run import GateRun
from mlratchet.models.decisions.waiting import forget_waiting
from mlratchet.models.errors import GateRefusedError, RatchetError
from mlratchet.models.identity.canonical import canonical_json
from mlratchet.models.identity.signed_records import ADOPT
from mlratchet.models.ledger.entry import LedgerEntry
from mlratchet.models.monitoring.finding import Finding
from mlratchet.models.ports.storage import ObjectStore, StorageError
from mlratchet.models.promotion.holds import Hold
from mlratchet.models.registration.record import Registration
from mlratchet.tasks.steps.evaluate import Evaluation
from mlratchet.tasks.steps.train import Trained
from mlratchet.tasks.support.work import Work
from mlratchet.tasks.wiring import Adapters
from prefect import get_client
from prefect.client.schemas.objects import State, StateType

ENDED_BADLY = ("stopped_by_gate", "rolled_back", "probation_failed", "failed")
LAST = "runs/last/{pipeline}.json"  # the report of the newest run that ended

logger = logging.getLogger(__name__)


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

    def held(self, holds: list[Hold]) -> None:
        """What holds the pipeline, though this run had nothing to promote."""
        if holds:
            self.facts["held"] = [hold.in_words() for hold in holds]
            self.facts["line"] += f"; {'; '.join(self.facts['held'])}"

    def lifted(self, holds: list[Hold]) -> None:
        """What this run's delivery ended."""
        self.facts["lifted"] = [hold.entry.finding for hold in holds]

    def trained(self, trained: Trained, url: str) -> None:
        """Steps and seconds, and where MLflow shows the training."""
        result = trained.result
        self.facts["training"] = {
            "steps": result.steps,
            "seconds": round(result.seconds, 2),
            "resumed_from_step": result.resumed_from_step,
            "parent_version": trained.parent_version,
            "began_fresh": trained.began_fresh,
            "mlflow_run": trained.tracking_run,
        }
        self.facts["mlflow_url"] = url

    def evaluated(self, evaluation: Evaluation) -> None:
        """Test metrics that are defined."""
        self.facts["metrics"] = {
            name: metric.value for name, metric in evaluation.metrics.items() if metric.value == metric.value
        }

    def gated(self, gate_run: GateRun, store: ObjectStore) -> None:
        """One gate's verdict, with a row per check as pages show it."""
        self.facts["gates"].append(
            {
                "gate": gate_run.gate,
                "verdict": gate_run.verdict,
                "decision": gate_run.decision,
                "reasons": list(gate_run.reasons),
                "checks": table(load_decision(store, gate_run.decision)),
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
            f"version {entry.version} failed its probation ({'; '.join(gate_run.reasons)}), but no promotion "
            "stands before it: it stays and serves"
        )
        self.facts |= {"outcome": "probation_failed", "exit_code": 4, "line": line}

    def undecided(self, gate_run: GateRun) -> None:
        """The probation found nothing against it, and not enough for it."""
        self.facts["line"] += f"; its probation is inconclusive ({'; '.join(gate_run.reasons)})"

    def because(self, finding: Finding | None) -> None:
        """What monitoring found, of a run that it asked for."""
        if finding is not None:
            self.facts |= {"finding": finding.id, "because": finding.reason}

    def answered(self, words: str) -> None:
        """A run that monitoring asked for, and that nobody needs any more."""
        self.facts |= {"outcome": "unchanged", "line": f"nothing to do: {words}"}

    def failed(self, error: RatchetError) -> Report:
        """Why the road ended early."""
        outcome = "stopped_by_gate" if isinstance(error, GateRefusedError) else "failed"
        line = error.line().replace(ADOPT, ADOPT.replace("NAME", str(self.facts["pipeline"])))
        self.facts |= {"outcome": outcome, "exit_code": error.exit_code, "line": line}
        return self


def finish(report: Report, adapters: Adapters) -> State[Any]:
    """Publish the report and turn it into the flow run's final state.

    The states keep Prefect's own names: its pages list no run whose state they do not know. The outcome is the message
    and a tag.
    """
    facts = report.facts
    facts["seconds"] = round(time.time() - report.began_s, 2)
    leave_report(adapters, facts, LAST.format(pipeline=facts["pipeline"]))
    with suppress(StorageError):  # `ratchet reconcile` forgets it
        forget_waiting(adapters.store, str(facts["pipeline"]), str(facts["run_id"]))
    outcome = str(facts["outcome"])
    tag_run(facts["run_id"], outcome.replace("_", " "))
    message = facts["line"] if outcome == "failed" else f"{outcome.replace('_', ' ')}: {facts['line']}"
    because = f"because {facts['because']}" if "because" in facts else ""
    message = "; ".join(filter(None, (message, because, facts.get("reading"))))
    return State(type=StateType.FAILED if outcome in ENDED_BADLY else StateType.COMPLETED, message=message)


def leave_report(adapters: Adapters, facts: dict[str, Any], *also: str) -> None:
    """Publish `runs/<run id>.json`, of a run of any flow, and the same under the names `also`.

    Raises ``StorageError`` where the store is away; nothing of a run that ended badly, which has a reason of its own.
    """
    document = canonical_json(facts)
    try:
        for name in (f"runs/{facts['run_id']}.json", *also):
            adapters.store.put(name, document)
    except RatchetError as error:  # it is signed and stored, and key or store may be what the run failed of
        if isinstance(error, StorageError) and facts.get("outcome") not in ENDED_BADLY:
            raise  # then it has not ended well, whatever its last step said
        logger.warning("run %s leaves no report: %s", facts["run_id"], error.line())


def tag_run(run_id: str, tag: str) -> None:
    """Shown beside the run in every list; never the reason that a run fails."""
    try:
        with get_client(sync_client=True) as client:
            tags = client.read_flow_run(UUID(run_id)).tags
            client.update_flow_run(UUID(run_id), tags=[*tags, tag])
    except Exception:  # Prefect or the network: whatever it raises, the run has ended well without
        logger.warning("run %s has no tag %r in Prefect", run_id, tag, exc_info=True)

"""What a study found, in numbers and in words, with what must be said about the best of many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mlratchet.models.metrics import Metric
from mlratchet.models.pipeline.tune import TuneConfig
from mlratchet.models.tuning.optimism import Corrected
from mlratchet.models.tuning.study import BASELINE, TrialFacts, best_of, counts, document

SHOWN = 15  # trials in a table for people


@dataclass(frozen=True, kw_only=True, eq=False)
class Summary:
    """Of one study."""

    study: str
    pipeline: str
    metric: Metric
    tune: TuneConfig
    trials: list[TrialFacts]
    importances: dict[str, float]
    corrected: Corrected | None
    scoring_rows: int
    stopped: str
    mlflow_url: str | None
    assignments: tuple[str, ...]  # of the best, for `ratchet run --set`

    @property
    def best(self) -> TrialFacts | None:
        """The trial with the best value."""
        return best_of(self.trials, higher_is_better=self.metric.direction == "higher")

    @property
    def baseline(self) -> TrialFacts | None:
        """The file's own values, once they are scored."""
        return next((t for t in self.trials if t.number == BASELINE and t.state == "complete"), None)

    @property
    def improvement(self) -> float | None:
        """Of the best over the file's values on the scoring rows, above zero when better; None where it is unknown."""
        if self.best is None or self.baseline is None:
            return None
        assert self.best.value is not None
        assert self.baseline.value is not None
        sign = 1.0 if self.metric.direction == "higher" else -1.0
        return sign * (self.best.value - self.baseline.value)

    @property
    def found_better(self) -> bool:
        """Whether there is anything to apply."""
        return self.improvement is not None and self.improvement > 0

    def ranked(self) -> list[TrialFacts]:
        """Complete ones best first, then the others by number."""
        sign = -1.0 if self.metric.direction == "higher" else 1.0
        complete = [t for t in self.trials if t.state == "complete" and t.value is not None]
        return sorted(complete, key=lambda t: (sign * float(t.value or 0.0), t.number)) + [
            t for t in self.trials if t.state not in ("complete", "duplicate")
        ]

    def caveat(self) -> str:
        """Selection bias, said every time."""
        complete = counts(self.trials).get("complete", 0)
        words = (
            f"The best of {complete} on the same {self.scoring_rows} rows is optimistic: its score was what chose it."
        )
        if self.corrected is not None and self.best is not None and self.best.value is not None:
            c = self.corrected
            words += (
                f" On rows that did not choose, such a search gets about {c.value:.4f} instead of "
                f"{self.best.value:.4f} ({c.confidence:.0%} interval {c.low:.4f} to {c.high:.4f}, "
                f"{c.resamples} bootstrap resamples)."
            )
            words += self._told_apart(c)
        return f"{words} The gates judge on other rows."

    def _told_apart(self, corrected: Corrected) -> str:
        """Whether these rows can tell the best from the file's values."""
        if not self.found_better or self.baseline is None or self.baseline.value is None:
            return ""
        base, sign = self.baseline.value, 1.0 if self.metric.direction == "higher" else -1.0
        if sign * (corrected.value - base) <= 0:
            return f" That is not better than the file's {base:.4f}."
        if corrected.low <= base <= corrected.high:
            return f" The interval holds the file's {base:.4f}: so few rows cannot tell the two apart."
        return ""

    def lines(self) -> list[str]:
        """For the terminal."""
        ended = ", ".join(f"{count} {state}" for state, count in counts(self.trials).items())
        lines = [f"study {self.study[:12]} of {self.pipeline}: {ended or 'no trials yet'}{self._stopped()}"]
        best, base = self.best, self.baseline
        if best is None or best.value is None:
            return [*lines, "no trial is complete yet; the same command goes on"]
        if base is not None and base.value is not None:
            lines.append(f"  the file's values (trial 0): {self.metric.name} {base.value:.4f}")
        if self.found_better:
            lines.append(
                f"  best (trial {best.number}): {self.metric.name} {best.value:.4f}, better by {self.improvement:.4f}"
            )
            lines += [f"    {key} = {value}" for key, value in sorted(best.values.items())]
        elif base is not None:
            lines.append("  nothing better was found: the file's values stand")
        if self.importances:
            shares = ", ".join(f"{key} {share:.0%}" for key, share in self._important())
            lines.append(f"  importance: {shares}")
        lines.append(f"  {self.caveat()}")
        if self.mlflow_url:
            lines.append(f"  MLflow: {self.mlflow_url}")
        if self.found_better:
            lines.append(f"  apply it:  {self.command()}")
        return lines

    def _stopped(self) -> str:
        words = {
            "timeout": "; stopped by tune.timeout_seconds, the same command goes on",
            "interrupted": "; interrupted, the same command goes on",
            "exhausted": "; the space holds no more configurations",
        }
        return words.get(self.stopped, "")

    def _important(self) -> list[tuple[str, float]]:
        return sorted(self.importances.items(), key=lambda pair: -pair[1])

    def command(self) -> str:
        """That sends the best through the gates."""
        settings = " ".join(f"--set {quoted(assignment)}" for assignment in self.assignments)
        return f"ratchet run {self.pipeline} {settings}"

    def markdown(self) -> str:
        """For Prefect and MLflow."""
        keys = self.tune.keys()
        head = ["trial", "state", self.metric.name, *(f"`{key}`" for key in keys), "epochs", "seconds"]
        rows = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
        for trial in self.ranked()[:SHOWN]:
            name = f"{trial.number} (the file)" if trial.number == BASELINE else str(trial.number)
            value = f"{trial.value:.4f}" if trial.value is not None else "-"
            state = f"{trial.state}, reused" if trial.reused else trial.state
            cells = [name, state, value, *(_cell(trial.values.get(key, "")) for key in keys)]
            rows.append("| " + " | ".join([*cells, str(len(trial.curve)), f"{trial.seconds:.1f}"]) + " |")
        text = [
            f"# Study {self.study[:12]} of {self.pipeline}",
            "",
            *self._story(),
            "",
            *rows,
        ]
        if len(self.ranked()) > SHOWN:
            text.append(f"\nThe first {SHOWN} of {len(self.ranked())} are shown.")
        if self.importances:
            text += ["", "| key | importance (fANOVA) |", "|---|---|"]
            text += [f"| `{key}` | {share:.1%} |" for key, share in self._important()]
        if self.found_better:
            text += ["", "Through the gates:", "", "```sh", self.command(), "```"]
        return "\n".join(text) + "\n"

    def _story(self) -> list[str]:
        return [f"- {line.strip()}" for line in self.lines() if not line.startswith(("    ", "  apply it", "  MLflow"))]

    def document(self) -> dict[str, Any]:
        """JSON."""
        best, corrected = self.best, self.corrected
        return {
            "study": self.study,
            "pipeline": self.pipeline,
            "metric": self.metric.name,
            "direction": self.metric.direction,
            "stopped": self.stopped,
            "counts": counts(self.trials),
            "scoring_rows": self.scoring_rows,
            "baseline": document(self.baseline) if self.baseline else None,
            "best": document(best) if best else None,
            "improvement": self.improvement,
            "corrected": {"value": corrected.value, "low": corrected.low, "high": corrected.high}
            if corrected
            else None,
            "importances": self.importances,
            "caveat": self.caveat(),
            "set": list(self.assignments) if self.found_better else [],
            "command": self.command() if self.found_better else None,
            "mlflow": self.mlflow_url,
            "trials": [document(trial) for trial in self.trials],
        }

    def best_so_far(self) -> list[tuple[int, float]]:
        """(trial, best value up to it)."""
        found: list[tuple[int, float]] = []
        for end in range(1, len(self.trials) + 1):
            best = best_of(self.trials[:end], higher_is_better=self.metric.direction == "higher")
            if best is not None and best.value is not None and self.trials[end - 1].state == "complete":
                found.append((self.trials[end - 1].number, best.value))
        return found


def quoted(assignment: str) -> str:
    """For a shell."""
    plain = all(character.isalnum() or character in "._=-+:/" for character in assignment)
    return assignment if plain else "'" + assignment.replace("'", "'\\''") + "'"


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)

"""The decision: one gate's verdict with everything behind it, as canonical JSON named by its digest."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

from mlratchet.models.decisions.document import ChampionRecord, CheckRecord, Decision, PartRecord, as_decision
from mlratchet.models.errors import SecurityError
from mlratchet.models.gates.result import CheckResult, GateResult, Part
from mlratchet.models.moments import utc
from mlratchet.models.ports.storage import ObjectNotFound, ObjectStore
from mlratchet.models.printable import one_line


def build_decision(
    pipeline: str,
    gate: str,
    result: GateResult,
    *,
    version: int | None,
    work_key: str,
    champion_version: int | None,
    digests: Mapping[str, str],
    actor: str,
    now_s: float,
    run_id: str,
    champion: ChampionRecord | None = None,
    environment: Mapping[str, str] | None = None,
    times: Mapping[str, float] | None = None,
    reason: str = "",
    finding: str = "",
) -> Decision:
    """The document. Values that are not finite are None; the reason says why.

    Args:
        digests: Of policy, pipeline, dataset, model, code and rows, whatever of it exists at this gate.
        champion: Of the version compared with: version, generation, manifest, decision.
        environment: As of `models.identity.environment`: where the statistics were computed.
        reason: Why the run was asked for, of one that monitoring asked for; `finding` is the digest behind it.
        times: Seconds since the epoch of what led here, for reading only; the verdict is of `now_s`.
    """
    asked: Decision = {"reason": reason, "finding": finding} if finding else {}  # type: ignore[typeddict-item]  # a part
    return {
        **asked,
        "kind": "gate",
        "pipeline": pipeline,
        "gate": gate,
        "verdict": result.verdict,
        "version": version,
        "work_key": work_key,
        "champion_version": champion_version,
        "champion": champion,
        "bootstrap": result.bootstrap,
        "holdout_uses": result.holdout_uses,
        "digests": dict(digests),
        "environment": dict(environment or {}),
        "times": dict(times or {}),
        "actor": actor,
        "run_id": run_id,
        "at_s": now_s,
        "checks": plain_checks(result),
    }


def plain_checks(result: GateResult) -> list[CheckRecord]:
    """The checks as a decision holds them."""
    return [
        CheckRecord(
            kind=check.kind,
            metric=check.metric,
            verdict=check.verdict,
            reason=check.reason,
            threshold=check.threshold,
            value=_value(check),
            interval=_interval(check),
            n=check.n,
            method=check.method,
            seed=check.seed,
            parts=[
                PartRecord(
                    label=part.label, verdict=part.verdict, n=part.n, value=_value(part), interval=_interval(part)
                )
                for part in check.parts
            ],
            **_level(check),  # type: ignore[typeddict-item]  # one optional key or none
        )
        for check in result.checks
    ]


def _level(found: CheckResult) -> dict[str, float]:
    """Beside an interval only."""
    return {"interval_level": found.interval_level} if found.interval_level and _interval(found) is not None else {}


def _value(found: CheckResult | Part) -> float | None:
    return found.value if found.value is not None and math.isfinite(found.value) else None


def _interval(found: CheckResult | Part) -> list[float] | None:
    ends = found.interval
    return list(ends) if ends is not None and all(math.isfinite(end) for end in ends) else None


def load_decision(store: ObjectStore, digest: str) -> Decision:
    """Read back, its digest verified, its signature not: for showing. Raises ``SecurityError`` for a changed one, one
    that is gone, or one that cannot be told in words: no gate wrote that."""
    key = f"decisions/{digest}.json"
    try:
        decision = as_decision(json.loads(store.get(key, sha256=digest)), f"{store.bucket}/{key}")
        explain(decision)
    except ObjectNotFound as exc:
        raise SecurityError(f"{exc}; a decision that was made is gone") from exc
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, OSError, RecursionError) as exc:
        raise SecurityError(f"{store.bucket}/{key}: is not a decision; no gate wrote it") from exc
    return decision


def digests_behind(store: ObjectStore, digest: str) -> list[dict[str, str]]:
    """The digests of a promotion's decision, and those of every gate's decision that it names, as an override does.

    Raises ``SecurityError`` as `load_decision` does.
    """
    named = load_decision(store, digest).get("digests") or {}
    gates = [one for name, one in named.items() if name.startswith("gate.")]
    return [named, *(load_decision(store, one).get("digests") or {} for one in gates)]


WORDS = ((">=", "≥"), ("<=", "≤"), (">", "above"))  # a page would read a leading > as a quotation
SIGNS = {"pass": "✓", "fail": "✗", "inconclusive": "?", "not_applicable": "-"}


def explain(decision: Decision) -> str:
    """In words, a line per check."""
    subject = f"version {decision['version']}" if decision["version"] else f"work {decision['work_key'][:12]}"
    against = f", compared with version {decision['champion_version']}" if decision["champion_version"] else ""
    lines = [f"{decision['gate']} gate of {decision['pipeline']}, {subject}{against}: {decision['verdict']}"]
    if decision.get("reason"):
        lines.append(f"  {decision['actor']}: {decision['reason']}")
    lines += [f"  {SIGNS[check['verdict']]} {check['kind']}: {check['reason']}" for check in decision["checks"]]
    if decision.get("expires_s"):
        lines.append(f"  may be used until {utc(decision['expires_s'])}")
    for one in decision.get("overrides", ()):
        lines.append(f"  ! overrides the {one['gate']} gate, which said {one['verdict']}: {'; '.join(one['reasons'])}")
    lines += [f"  {line}" for line in wear_in_words(decision)]
    return "\n".join(map(one_line, lines))


def described(decision: Decision) -> str:
    """In words, as Markdown. The verdict is a line of its own: a card that has room for one shows it, and would show of
    a block nothing."""
    headline, _, rest = explain(decision).partition("\n")
    return f"{headline}\n\n```\n{rest}\n```" if rest else headline


def wear_in_words(decision: Decision) -> list[str]:
    """A line on how often the test rows had gated; none where it is not known."""
    uses = decision.get("holdout_uses")
    return [f"these test rows had gated {uses} time{'' if uses == 1 else 's'} before"] if uses is not None else []


def table(decision: Decision) -> list[dict[str, str]]:
    """A row per check, for a page that cuts off what is too wide: the verdict first. Its cells are Markdown, in which a
    lone dash is a list."""
    rows = []
    for check in decision["checks"]:
        interval = check["interval"]
        rows.append(
            {
                "verdict": check["verdict"],
                "check": check["kind"],
                "metric": check["metric"],
                "value": "none" if check["value"] is None else f"{check['value']:.4f}",
                "interval": "none" if interval is None else interval_words(interval, check.get("interval_level")),
                "n": str(check["n"]),
                "threshold": readable(check["threshold"]),
            }
        )
    return rows


def interval_words(interval: list[float], level: float | None) -> str:
    """With its confidence, where that was written down."""
    words = f"{interval[0]:.4f} to {interval[1]:.4f}"
    return words if level is None else f"{words} ({100 * level:.4g} %)"


def readable(threshold: str) -> str:
    """A threshold without the signs that Markdown takes for its own."""
    for sign, word in WORDS:
        if threshold.startswith(sign):
            return word + threshold.removeprefix(sign)
    return threshold

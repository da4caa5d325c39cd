"""A decision as a page in Markdown: what an auditor or a colleague reads first."""

from __future__ import annotations

import datetime as dt
from typing import Any

from mlratchet.models.gates.decision import SIGNS, readable


def decision_page(decision: dict[str, Any], digest: str) -> str:
    """Verdict, a row per check, a row per slice, the reasons, and the digests of everything behind it."""
    subject = f"version {decision['version']}" if decision["version"] else f"work `{decision['work_key'][:12]}`"
    against = f", compared with version {decision['champion_version']}" if decision["champion_version"] else ""
    when = dt.datetime.fromtimestamp(decision["at_s"], dt.UTC).isoformat(timespec="seconds")
    lines = [
        f"# {decision['gate']} gate of {decision['pipeline']}: {decision['verdict']}",
        "",
        f"{subject}{against}; {when}, asked by {_cell(decision['actor'])}.",
        f"Decision `{digest}`.",
        "",
        *_table([_row(check) for check in decision["checks"]], ("check", "on", "value", "interval", "n", "asked", "")),
    ]
    for check in decision["checks"]:
        if check.get("parts"):
            parts = [_row({**part, "kind": "", "metric": part["label"], "threshold": ""}) for part in check["parts"]]
            rows = [(row[1], row[2], row[3], row[4], row[6]) for row in parts]
            title = f"## {check['kind']}: {_cell(check['metric'])}"
            lines += ["", title, "", *_table(rows, ("slice", "value", "interval", "n", ""))]
    lines += ["", "## In words", ""]
    lines += [f"- {SIGNS[check['verdict']]} {check['kind']}: {_cell(check['reason'])}" for check in decision["checks"]]
    if decision.get("holdout_uses") is not None:
        lines.append(f"- these test rows had gated {decision['holdout_uses']} times before")
    lines += ["", "## Methods and seeds", ""]
    lines += [
        f"- {check['kind']} {_cell(check['metric'])}: {_cell(check['method'])}"
        + (f", seed {check['seed']}" if check["seed"] is not None else "")
        for check in decision["checks"]
        if check["method"]
    ]
    lines += ["", "## What was judged", "", *_table(sorted(decision["digests"].items()), ("what", "digest"))]
    return "\n".join(lines) + "\n"


def _row(check: dict[str, Any]) -> tuple[str, ...]:
    interval = check["interval"]
    return (
        check["kind"],
        check["metric"],
        "-" if check["value"] is None else f"{check['value']:.4f}",
        "-" if interval is None else f"{interval[0]:.4f} to {interval[1]:.4f}",
        str(check["n"]),
        readable(check["threshold"]),
        f"{SIGNS[check['verdict']]} {check['verdict']}",
    )


def _cell(text: str) -> str:
    """Names come from data and people: nothing in them may be taken for Markdown or HTML."""
    for sign in "\\`*_[]<>|#":
        text = text.replace(sign, "&#" + str(ord(sign)) + ";")
    return " ".join(text.split())


def _table(rows: Any, head: tuple[str, ...]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return lines + [f"| {' | '.join(_cell(str(cell)) for cell in row)} |" for row in rows]

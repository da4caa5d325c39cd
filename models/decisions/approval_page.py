"""What an approver reads before answering, as Markdown: Prefect shows it beside the form."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence

from mlratchet.models.decisions.approval_request import ApprovalRequest
from mlratchet.models.decisions.decision import table
from mlratchet.models.decisions.document import Decision
from mlratchet.models.gates.checks.approval import ApprovalCheck

FEW = 3  # metrics in the dialog; the page has all

Rows = Sequence[tuple[str, float, float | None]]  # metric, candidate, champion


def headline(request: ApprovalRequest) -> str:
    """One sentence."""
    subject = request.subject
    replaces = f"replace version {subject.champion_version}" if subject.champion_version else "be the first champion"
    end = replaces if subject.gate == "champion" else "move to staging"
    return f"May version {subject.version} of {subject.pipeline} {end}?"


def who_is_asked(checks: Sequence[ApprovalCheck]) -> str:
    """In words, a sentence per check."""
    how = {"signature": "signed with their own key", "ui": "signed, or in Prefect's form"}
    return " ".join(f"{check.minimum} of {', '.join(check.approvers)}, {how[check.require]}." for check in checks)


def commands(request: ApprovalRequest) -> list[str]:
    """What an approver types, as the first of those who are asked; others put their own name there."""
    subject = request.subject
    who = request.checks()[0].approvers[0]
    command = f'ratchet approve {subject.pipeline} {subject.version} --as {shlex.quote(who)} --reason "..."'
    return [command, f"{command} --reject"]


def hint(request: ApprovalRequest, url: str) -> str:
    """One line for whoever watches the run that waits; `url` is its page in Prefect."""
    who, command = who_is_asked(request.checks()), commands(request)[0]
    return f"waiting for approval: {who} `{command}`, or Resume on {url} (`ratchet open {url}`)"


def form_description(request: ApprovalRequest, rows: Rows) -> str:
    """Above the form: short, because the dialog is small."""
    checks = request.checks()
    lines = [f"**{headline(request)}**", "", f"Asked: {who_is_asked(checks)}", "", metric_table(rows[:FEW])]
    if all(check.require == "signature" for check in checks):
        lines += ["", f"To approve: `{commands(request)[0]}`. This form can only reject."]
    return "\n".join(lines)


def request_page(request: ApprovalRequest, decision: Decision, rows: Rows, links: Mapping[str, str]) -> str:
    """The whole page."""
    subject = request.subject
    parts = [
        f"# {headline(request)}",
        "Everything that needs nobody has passed.",
        f"**Asked:** {who_is_asked(request.checks())}",
        "\n".join(f"- [{words}]({url})" for words, url in links.items()),
        "## On the same test rows",
        metric_table(rows),
        "## Checks",
        check_table(decision),
        "## To answer",
        "Press *Resume* on the run's page, or:",
        "```sh\n" + "\n".join(commands(request)) + "\n```",
        (
            "An answer counts for these and nothing else: "
            f"manifest `{subject.manifest[:12]}`, policy `{subject.policy[:12]}`, dataset `{subject.dataset[:12]}`, "
            f"decision `{request.decision[:12]}`. Asked by {request.asked_by}."
        ),
    ]
    return "\n\n".join(part for part in parts if part)


def metric_table(rows: Rows) -> str:
    """Candidate beside champion."""
    if not rows:
        return ""
    compared = any(theirs is not None for _, _, theirs in rows)
    head = "| metric | this version |" + (" champion | difference |" if compared else "")
    lines = [head, "|---|---|" + ("---|---|" if compared else "")]
    for name, ours, theirs in rows:
        line = f"| {name} | {_number(ours)} |"
        if compared:
            line += f" {_number(theirs)} | {_number(ours - theirs, signed=True) if theirs is not None else '-'} |"
        lines.append(line)
    return "\n".join(lines)


def check_table(decision: Decision) -> str:
    """Every check with value, interval, threshold and verdict."""
    columns = ("verdict", "check", "metric", "value", "interval", "n", "threshold")
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    lines += [
        "| " + " | ".join(str(row.get(column, "-")).replace("|", "/") for column in columns) + " |"
        for row in table(decision)
    ]
    return "\n".join(lines)


def _number(value: float | None, *, signed: bool = False) -> str:
    if value is None or not math.isfinite(value):
        return "-"
    return f"{value:+.4f}" if signed else f"{value:.4f}"

"""A decision as one self-contained HTML page: what an auditor or a colleague reads first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from mlratchet.models.decisions.decision import SIGNS, wear_in_words
from mlratchet.models.decisions.document import CheckRecord, Decision, PartRecord
from mlratchet.models.moments import utc

COLOURS = {"pass": "#1a7f37", "fail": "#cf222e", "inconclusive": "#9a6700", "not_applicable": "#6e7781"}
STYLE = (
    "body{font:14px/1.5 system-ui,sans-serif;max-width:72em;margin:2em auto;padding:0 1em;color:#1f2328}"
    "table{border-collapse:collapse;margin:.5em 0 1.5em}td,th{border:1px solid #d0d7de;padding:.25em .6em;"
    "text-align:left;vertical-align:top;overflow-wrap:anywhere}th{background:#f6f8fa}code{font-size:12px}"
)
CHECK_HEAD = ("check", "on", "value", "interval", "n", "asked", "verdict", "method", "seed")


def decision_page(decision: Decision, digest: str) -> str:
    """Verdict, a row per check, a row per slice, the reasons, and the digests of everything behind it."""
    subject = f"version {decision['version']}" if decision["version"] else f"work {decision['work_key'][:12]}"
    against = f", compared with version {decision['champion_version']}" if decision["champion_version"] else ""
    when = utc(decision["at_s"])
    title = f"{decision['gate']} gate of {decision['pipeline']}: {decision['verdict']}"
    reasons = [f"{SIGNS[check['verdict']]} {check['kind']}: {check['reason']}" for check in decision["checks"]]
    reasons += wear_in_words(decision)
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(title)}</title><style>{STYLE}</style>"
        f"<h1 style='color:{COLOURS[decision['verdict']]}'>{escape(title)}</h1>"
        f"<p>{escape(subject + against)}; {when}, asked by {escape(decision['actor'])}.<br>"
        f"decision <code>{escape(digest)}</code></p>"
        + _table(CHECK_HEAD, [_check_row(check) for check in decision["checks"]])
        + "<h2>In words</h2><ul>"
        + "".join(f"<li>{escape(reason)}</li>" for reason in reasons)
        + "</ul>"
        + "".join(_parts(check) for check in decision["checks"] if check.get("parts"))
        + "<h2>What was judged</h2>"
        + _table(("what", "digest"), [(escape(k), f"<code>{escape(v)}</code>") for k, v in _digests(decision)])
        + "</html>\n"
    )


def _digests(decision: Decision) -> Iterable[tuple[str, str]]:
    return sorted((str(name), str(value)) for name, value in decision["digests"].items())


def _check_row(check: CheckRecord) -> tuple[str, ...]:
    texts = (check["kind"], check["metric"], *_numbers(check), check["threshold"])
    seed = "" if check["seed"] is None else str(check["seed"])
    return (*map(escape, texts), _verdict(check["verdict"]), escape(check["method"]), seed)


def _parts(check: CheckRecord) -> str:
    rows = [
        (
            escape(part["label"]),
            *_numbers(part),
            "" if part["verdict"] == "not_applicable" else _verdict(part["verdict"]),
        )
        for part in check["parts"]
    ]
    title = escape(f"{check['kind']}: {check['metric']} {check['threshold']}")
    return f"<h2>{title}</h2>" + _table(("slice", "value", "interval", "n", "verdict"), rows)


def _numbers(found: CheckRecord | PartRecord) -> tuple[str, str, str]:
    interval = found["interval"]
    return (
        "-" if found["value"] is None else f"{found['value']:.4f}",
        "-" if interval is None else f"{interval[0]:.4f} to {interval[1]:.4f}",
        str(found["n"]),
    )


def _verdict(verdict: str) -> str:
    return f"<b style='color:{COLOURS[verdict]}'>{SIGNS[verdict]} {verdict.replace('_', ' ')}</b>"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Cells are HTML already."""
    top = "".join(f"<th>{name}</th>" for name in head)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{top}</tr>{body}</table>"

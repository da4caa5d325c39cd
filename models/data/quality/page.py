"""The quality of a delivery as one self-contained HTML page: no script, no request to anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from mlratchet.models.data.quality.drawing import distribution
from mlratchet.models.data.quality.measure import Measure
from mlratchet.models.data.quality.measures import MEASURES, ON_DEMAND
from mlratchet.models.data.quality.report import QualityReport
from mlratchet.models.data.rules import QualityConfig

FIELDS = 60  # that are drawn, those that moved most first
STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#1d2433;max-width:1216px;margin:2rem auto;padding:0 32px}
h1{font-size:1.6rem;margin-bottom:.2rem}h2{font-size:1.15rem;margin-top:2rem;border-bottom:1px solid #dfe3ec}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th{font-weight:600;text-align:left;color:#5b6478}
td,th{padding:.3rem .6rem;border-bottom:1px solid #eef0f5;vertical-align:top}
td.n,th.n{text-align:right;white-space:nowrap}td.detail{word-break:break-word;max-width:520px}
.note{color:#5b6478;font-size:.87rem}
.error{color:#b3261e;font-weight:600}.warn{color:#8a5300;font-weight:600}.ignore{color:#5b6478}
.fields{display:grid;grid-template-columns:repeat(3,1fr);gap:24px}
.field h3{font-size:.95rem;margin:0;overflow-wrap:anywhere}
svg text{font:11px system-ui,sans-serif;fill:#5b6478}svg{max-width:100%;height:auto}
.key i{display:inline-block;width:12px;height:12px;margin:0 4px 0 12px;vertical-align:-1px}
"""


def quality_page(pipeline: str, line: str, report: QualityReport, config: QualityConfig, *, snapshot_id: str) -> str:
    """`line` says what was read."""
    parts = [
        f"<h1>{escape(pipeline)}: quality of a delivery</h1>",
        f"<p>{escape(line)}</p><p class='note'>Snapshot {escape(snapshot_id[:12])}</p>",
        _broken(report.broken, config),
        f"<h2>Measures</h2>{_measures(report.measures)}",
        _fields(report),
        _suspects(report),
    ]
    return (
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{escape(pipeline)}: quality</title>"
        f"<style>{STYLE}</style></head><body>{''.join(parts)}</body></html>"
    )


def _broken(broken: Mapping[str, str], config: QualityConfig) -> str:
    if not broken:
        return ""
    order = {"error": 0, "warn": 1, "ignore": 2}
    rows = sorted(broken, key=lambda rule: (order[config.policy_of(rule)], rule))
    told = "".join(
        f"<tr><td>{rule}</td><td class='{config.policy_of(rule)}'>{config.policy_of(rule)}</td>"
        f"<td>{escape(broken[rule])}</td></tr>"
        for rule in rows
    )
    return f"<h2>Rules that it breaks</h2><table><tr><th>rule</th><th>policy</th><th></th></tr>{told}</table>"


def _measures(measures: Mapping[str, Measure]) -> str:
    rows = []
    for name, words in MEASURES.items():
        one = measures.get(name)
        if one is None:
            value, n, detail = "–", "", "taken where a check asks for it" if name in ON_DEMAND else "not of this data"
        elif one.n == 0:
            value, n, detail = "–", "0", one.detail
        else:
            value, n, detail = f"{one.value:,.4g}", f"{one.n:,}", one.detail
        rows.append(
            f"<tr><td>{name}<div class='note'>{escape(words)}</div></td><td class='n'>{value}</td>"
            f"<td class='n'>{n}</td><td class='detail'>{escape(detail)}</td></tr>"
        )
    head = "<tr><th>measure</th><th class='n'>value</th><th class='n'>n</th><th></th></tr>"
    return f"<table>{head}{''.join(rows)}</table>"


def _fields(report: QualityReport) -> str:
    fields: Mapping[str, Any] = report.profile.get("fields", {})
    if not fields:
        return ""
    drift = {one.name: one for one in report.drifts}
    before: Mapping[str, Any] = (report.reference or {}).get("fields", {})
    names = sorted(fields, key=lambda name: -drift[name].size if name in drift else 0.0)
    shown = []
    for name in names[:FIELDS]:
        one = fields[name]
        facts = [one["kind"], f"{one['given'] / max(1, one['n']):.1%} given"]
        facts += [drift[name].words().removeprefix(name).strip() + " from the reference"] if name in drift else []
        facts += [f"says {report.powers[name]:.0%} by itself"] if report.powers.get(name, 0) >= 0.01 else []
        facts += [f"{report.outliers[name]:,} far out"] if name in report.outliers else []
        held = before.get(name)
        picture = distribution(one, held if held is not None and held["kind"] == one["kind"] else None)
        told = f"<h3>{escape(name)}</h3><div class='note'>{escape('; '.join(facts))}</div>"
        shown.append(f"<div class='field'>{told}{picture}</div>")
    more = f"<p class='note'>{len(names) - FIELDS:,} fields more.</p>" if len(names) > FIELDS else ""
    sample = f"{report.profile['n']:,} of {report.profile['of']:,} records"
    key = (
        "<p class='note key'><i style='background:#2f6fde'></i>this delivery"
        + ("<i style='background:#b9c2d3'></i>the champion's dataset" if before else "")
        + f" &nbsp; from {sample}; numbers between the 1st and the 99th percentile</p>"
    )
    return f"<h2>Fields</h2>{key}<div class='fields'>{''.join(shown)}</div>{more}"


def _suspects(report: QualityReport) -> str:
    found = report.noise
    if found is None or not found.suspects:
        return ""
    rows = "".join(
        f"<tr><td>{escape(one.id)}</td><td>{escape(one.given)}</td><td>{escape(one.suggested)}</td>"
        f"<td class='n'>{one.confidence:.3f}</td></tr>"
        for one in found.suspects
    )
    head = "<tr><th>record</th><th>label</th><th>looks like</th><th class='n'>probability</th></tr>"
    return (
        f"<h2>Labels to look at</h2><p class='note'>{len(found.suspects):,} of {found.found:,}, the surest first, by "
        f"{escape(found.by)}; {found.n:,} were looked at.</p><table>{head}{rows}</table>"
    )

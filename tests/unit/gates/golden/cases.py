"""Every kind of check in the ways it is declared, and evidence good, worse, worn, first, seen and missing.

`everything()` is what checks.json records; it was written by the code before a check was one class:
``python -c "from tests.unit.gates.golden import cases; cases.record()"``.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
from mlratchet.models.approval.standing import Approvals
from mlratchet.models.approval.statement import Subject
from mlratchet.models.data.quality import Measure
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.evaluation.perturb import perturbation_name
from mlratchet.models.evaluation.seen import mark_seen
from mlratchet.models.gates.evidence import AttributionShift, ContractReplay, Evidence, LiveReplay
from mlratchet.models.gates.judge import Rules, judge
from mlratchet.models.gates.needs import demands_of
from mlratchet.models.gates.pilot import Pilot
from mlratchet.models.gates.policy import GatePolicy, HoldoutPolicy
from mlratchet.models.gates.power import power_notes
from mlratchet.models.gates.result import GateResult
from mlratchet.models.gates.validation import validate_policy
from mlratchet.models.identity.canonical import canonical_json
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.objectives.naming import metrics_for
from pydantic import ValidationError

FILE = Path(__file__).with_name("checks.json")
FUNCTIONS = "tests.unit.gates.gate_functions"
CLASSES = ("0", "1", "2")
DATASET = "d" * 64
N = 600
NOISE = {"kind": "gaussian_noise", "sigma": 0.1}
FAST: dict[str, Any] = {"resamples": 1000}
ON: dict[str, Any] = {"metric": "accuracy", **FAST}

SCORED: list[dict[str, Any]] = [
    {"kind": "absolute", "minimum": 0.8, **ON},
    {"kind": "absolute", "minimum": 0.86, "compare": "interval", **ON},
    {"kind": "absolute", "metric": "log_loss", "maximum": 2.0, "compare": "interval", "seed": 3, **FAST},
    {"kind": "relative", "version": 4, "margin": 0.05, **ON},
    {"kind": "relative", "version": "previous", "margin": 0.0, "compare": "estimate", **ON},
    {"kind": "non_inferiority", "margin": 0.05, **ON},
    {"kind": "non_inferiority", "metric": "log_loss", "margin": 0.5, "confidence": 0.9, **FAST},
    {"kind": "superiority", **ON},
    {"kind": "superiority", "margin": 0.05, **ON},
    {"kind": "slice", "by": ["side"], "minimum": 0.7, **ON},
    {"kind": "slice", "by": ["side", "day"], "minimum": 0.85, **ON, "minimum_rows": 50},
    {"kind": "slice", "by": ["side"], "slices": ["side=a", "side=none"], "margin": 0.1, **ON},
    {"kind": "slice", "metric": "log_loss", "by": ["day"], "maximum": 3.0, "compare": "estimate", **FAST},
    {"kind": "slice", "function": f"{FUNCTIONS}:halves", "minimum": 0.6, **ON},
    {"kind": "calibration", "measure": "ece", "maximum": 0.5, **FAST},
    {"kind": "calibration", "measure": "brier", "maximum": 0.4, "compare": "interval", **FAST},
    {"kind": "robustness", "perturbation": NOISE, "maximum_drop": 0.05, **ON},
    {"kind": "robustness", "perturbation": NOISE, "maximum_drop": 0.05, "compare": "interval", **ON},
    {"kind": "fairness", "by": ["side"], "maximum_gap": 0.2, **ON},
    {"kind": "fairness", "by": ["side"], "maximum_gap": 0.05, "compare": "interval", **ON},
    {"kind": "anchor", "maximum_loss": 0.05, **ON},
    {"kind": "anchor", "version": 4, "maximum_loss": 0.02, **ON},
    {"kind": "attribution", "maximum_shift": 0.3},
    {"kind": "budget", "maximum_seconds": 900.0},
    {"kind": "budget", "maximum_core_seconds": 10.0},
    {"kind": "budget", "maximum_gpu_seconds": 10.0},
    {"kind": "custom", "function": f"{FUNCTIONS}:agrees", "parameters": {"at_least": 5}},
    {"kind": "custom", "function": f"{FUNCTIONS}:raises"},
]
MEASURED: list[dict[str, Any]] = [
    {"kind": "latency", "maximum_milliseconds": 50.0},
    {"kind": "latency", "quantile": "p99", "maximum_milliseconds": 2.0},
    {"kind": "size", "maximum_megabytes": 5.0},
    {"kind": "memory", "maximum_megabytes": 200.0},
    {"kind": "parity", "maximum_difference": 0.1},
    {"kind": "contract"},
    {"kind": "contract", "minimum_requests": 5},
    {"kind": "approval", "approvers": ["alice", "bob"], "minimum": 2},
]
DATA: list[dict[str, Any]] = [
    {"kind": "data", "measure": "rows", "minimum": 50.0},
    {"kind": "data", "measure": "label_prior_shift", "maximum": 0.1},
    {"kind": "data", "measure": "volume_ratio", "maximum": 0.1},
    {"kind": "custom", "function": f"{FUNCTIONS}:agrees"},
]
PROBATION = [
    {"kind": "latency", "maximum_milliseconds": 50.0},
    {"kind": "contract", "minimum_requests": 3},
    {"kind": "custom", "function": f"{FUNCTIONS}:agrees"},
]
GATES: dict[str, list[dict[str, Any]]] = {
    "data": DATA,
    "candidate": SCORED,
    "staging": [*SCORED, *MEASURED],
    "champion": [*MEASURED, *SCORED],
    "probation": PROBATION,
}
WRONG: list[tuple[str, dict[str, Any]]] = [
    ("champion", {"kind": "absolute", "metric": "acuracy", "minimum": 0.9}),
    ("champion", {"kind": "absolute", "metric": "accuracy", "maximum": 0.9}),
    ("champion", {"kind": "absolute", "metric": "accuracy", "minimum": 9.0}),
    ("champion", {"kind": "absolute", "metric": "accuracy"}),
    ("champion", {"kind": "anchor", "metric": "accurcy", "maximum_loss": 0.1}),
    ("champion", {"kind": "anchor", "metric": "accuracy", "maximum_loss": 2.0}),
    ("champion", {"kind": "fairness", "metric": "accuracy", "by": ["day"], "maximum_gap": 1.5}),
    ("champion", {"kind": "fairness", "metric": "accuracy", "by": ["nothing"], "maximum_gap": 0.5}),
    ("champion", {"kind": "robustness", "metric": "none", "perturbation": NOISE, "maximum_drop": 0.5}),
    ("champion", {"kind": "relative", "metric": "accuracy", "version": 1, "margin": 1.0}),
    ("champion", {"kind": "slice", "metric": "log_loss", "by": ["day"], "minimum": 0.1}),
    ("champion", {"kind": "slice", "metric": "accuracy", "by": ["none"], "minimum": 0.1}),
    ("champion", {"kind": "slice", "metric": "accuracy", "function": f"{FUNCTIONS}:halve", "minimum": 0.1}),
    ("champion", {"kind": "slice", "metric": "accuracy", "function": "not.there:f", "minimum": 0.1}),
    ("champion", {"kind": "calibration", "measure": "ece", "maximum": 4.0}),
    ("champion", {"kind": "custom", "function": f"{FUNCTIONS}:agrees", "parameters": {"at_lest": 1}}),
    ("champion", {"kind": "custom", "function": f"{FUNCTIONS}:agree"}),
    ("champion", {"kind": "approval", "approvers": ["alice"], "minimum": 2}),
    ("champion", {"kind": "approval", "approvers": ["alice", "alice"]}),
    ("champion", {"kind": "budget"}),
    ("champion", {"kind": "data", "measure": "rows", "minimum": 1.0}),
    ("candidate", {"kind": "latency", "maximum_milliseconds": 1.0}),
    ("probation", {"kind": "absolute", "metric": "accuracy", "minimum": 0.1}),
    ("data", {"kind": "data", "measure": "row", "minimum": 1.0}),
]


def scored(seed: int, accuracy: float) -> RowOutputs:
    rng = np.random.default_rng(seed)
    y = np.arange(N) % 3
    output = rng.normal(0, 0.5, (N, 3)).astype(np.float32)
    wrong = rng.random(N) >= accuracy
    output[np.arange(N), np.where(wrong, (y + 1) % 3, y)] += 3.0
    columns = {
        "side": ["a" if i % 4 < 2 else "b" for i in range(N)],
        "day": ["mon" if i % 10 < 8 else "tue" for i in range(N)],
    }
    return RowOutputs(ids=[f"r{i}" for i in range(N)], y=y, output=output, columns=columns, dataset_id=DATASET)


def evidence_by_name() -> dict[str, tuple[Evidence, bool, Rules]]:
    """(evidence, first model, rules) by name."""
    noise = perturbation_name(next(c for c in policy().checks("candidate") if c.kind == "robustness").perturbation)
    subject = Subject(
        pipeline="p", gate="champion", version=5, work_key="w", manifest="m", policy="", dataset=DATASET,
        champion_version=4,
    )  # fmt: skip
    good = Evidence(
        version=5, dataset_id=DATASET, candidate=scored(1, 0.9), champion=scored(2, 0.88),
        data_measures={"rows": Measure(value=600.0, n=600), "label_prior_shift": Measure(value=0.2, n=9, detail="2 up"),
                       "volume_ratio": Measure(value=1.0, n=0)},
        latency_ms={"p95": 3.0, "p99": 4.0}, latency_n=30, size_bytes=10_000, memory_mb=300.0,
        parity_max_difference=1e-6, parity_n=80, contract=ContractReplay(n=3), perturbed={noise: scored(3, 0.87)},
        versions={1: scored(4, 0.9), 4: scored(5, 0.91)}, anchor_version=1, previous_version=4,
        cost={"train_seconds": 20.0, "core_seconds": 40.0}, holdout_uses=2,
        attribution_shift=AttributionShift(value=0.1, n=40, detail="b2 most", interval=(0.05, 0.15)),
        live=LiveReplay(n=7, latency_ms={"p95": 60.0}), approval=Approvals(subject=subject, now_s=1e9),
    )  # fmt: skip
    worse = dataclasses.replace(
        good, candidate=scored(1, 0.6), contract=ContractReplay(n=3, failures=("row 1: 500", "row 2: 500")),
        live=LiveReplay(n=2, failures=("a",)), attribution_shift=AttributionShift(value=0.9, n=40), size_bytes=10**8,
        cost={"train_seconds": 2000.0, "core_seconds": -1.0}, memory_mb=-3.0,
    )  # fmt: skip
    seen = dataclasses.replace(
        good,
        champion=mark_seen(scored(2, 0.88), [f"r{i}" for i in range(300)]),
        versions={1: mark_seen(scored(4, 0.9), [f"r{i}" for i in range(N)]), 4: scored(5, 0.91)},
    )
    first = dataclasses.replace(
        good, champion=None, versions={}, anchor_version=None, previous_version=0, attribution_shift=None
    )
    stricter = Rules(holdout=HoldoutPolicy(warn_after=2, then="stricter"), fails_inconclusive=True)
    return {
        "good": (good, False, Rules()),
        "worse": (worse, False, Rules(now_s=2e9)),
        "worn": (good, False, stricter),
        "rotate": (good, False, Rules(holdout=HoldoutPolicy(warn_after=1, then="rotate"))),
        "seen": (seen, False, Rules(holdout=HoldoutPolicy())),
        "first": (first, True, Rules()),
        "missing": (Evidence(missing={"champion": "it is gone"}), False, Rules(holdout=HoldoutPolicy())),
    }


def policy(**gates: Any) -> GatePolicy:
    return GatePolicy.model_validate({**GATES, **gates})


def refused(gate: str, check: dict[str, Any]) -> str:
    try:
        validate_policy(policy(**{gate: [check]}), "classification", CLASSES, columns=("side", "day"))
    except ConfigurationError as error:
        return str(error)
    except ValidationError as error:
        return "; ".join(f"{one['loc'][:2]}: {one['msg']}" for one in error.errors())
    return "accepted"


def judged(result: GateResult) -> dict[str, Any]:
    """As data, but for the digest of a user's source, which is tested where it belongs."""
    plain = dataclasses.asdict(result)
    for check in plain["checks"]:
        check["method"] = check["method"].partition(", source")[0]
    return plain


def everything() -> dict[str, Any]:
    whole = policy()
    rows = {"ours": scored(1, 0.9), "theirs": scored(2, 0.88)}
    metrics = metrics_for("classification", CLASSES)
    demands = demands_of(whole)
    return {
        "policy": canonical_json(whole.model_dump(mode="json", exclude={"policy"})).decode(),
        "digest": whole.digest(),
        "again": GatePolicy.model_validate_json(whole.model_dump_json()).digest(),
        "results": {
            f"{name} {gate}": judged(
                judge(gate, whole.checks(gate), evidence, first_model=first, task="classification",
                      class_names=CLASSES, rules=rules)
            )
            for name, (evidence, first, rules) in evidence_by_name().items()
            for gate in ("data", "champion", "probation")
        },
        "warnings": validate_policy(whole, "classification", CLASSES, columns=("side", "day")),
        "wrong": [refused(gate, check) for gate, check in WRONG],
        "power": [
            power_notes(whole, Pilot(test_share=0.2, metrics=metrics, **more))
            for more in ({}, {"test_rows": 100}, {"test_rows": 600, **rows})
        ],
        "demands": {
            "perturbations": sorted(demands.perturbations), "versions": sorted(demands.versions),
            "previous": demands.previous, "first": demands.first, "columns": dict(demands.columns),
            "slices": [list(map(str, one)) for one in demands.slices], "attributions": demands.attributions,
        },
    }  # fmt: skip


def record() -> None:
    FILE.write_text(json.dumps(everything(), sort_keys=True) + "\n")

"""Which of Ratchet's own modules decide what: the rows of a dataset, the weights of a training, the verdict of a gate.

An identity holds the source of these modules and of no other, so that an edit moves what it decides and nothing else. A
folder (`models.training.*`) covers all that is below it; the longest name that fits a module wins. A test walks the
imports of every step and asks that each module it meets stands here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from mlratchet.models.finding import PRODUCT, ROOT
from mlratchet.models.identity.canonical import digest
from mlratchet.models.identity.closure import Closure, source_of
from mlratchet.models.identity.normal_form import read_file

Says = Literal["decides", "through", "nothing"]


@dataclass(frozen=True, kw_only=True)
class Deciding:
    """What decides one kind of result. Module names are below `mlratchet`."""

    starts: tuple[str, ...]
    """Where the code that makes such results is entered: the test walks from here."""
    decides: tuple[str, ...]
    """Always part of the identity."""
    through: tuple[str, ...] = ()
    """Part of the identity of the pipelines whose workload imports them."""
    nothing: Mapping[str, str]
    """What is met on the way and changes no result -> why. What only this imports is not met."""

    def says(self, module: str) -> Says | None:
        """How a module stands here; None when it does not."""
        found: dict[str, Says] = {
            **dict.fromkeys(self.decides, "decides"),
            **dict.fromkeys(self.through, "through"),
            **dict.fromkeys(self.nothing, "nothing"),
        }
        fitting = [pattern for pattern in found if fits(module, pattern)]
        return found[max(fitting, key=len)] if fitting else None

    def modules(self) -> dict[str, Path]:
        """Every module that always decides -> its file."""
        candidates = {name: path for pattern in self.decides for name, path in files_of(pattern)}
        return {name: path for name, path in sorted(candidates.items()) if self.says(name) == "decides"}

    def digest(self) -> str:
        """SHA-256 hex of what these modules do."""
        return digest({name: read_file(path).digest for name, path in self.modules().items()})

    def code(self, *closures: Closure) -> dict[str, Any]:
        """The code behind a result, as JSON values: the user's own by module, and Ratchet's as far as it decides."""
        whole: dict[str, dict[str, str]] = {"modules": {}, "product": {}, "packages": {}, "files": {}}
        for closure in closures:
            for kind, found in closure.parts().items():
                whole[kind] |= found
        reached = {
            name: value
            for name, value in whole["product"].items()
            if self.says(name.removeprefix(f"{PRODUCT}.")) == "through"
        }
        return {**whole, "product": reached, "ratchet": self.digest()}


@cache
def reached_through_workloads() -> frozenset[str]:
    """Full names of the modules of Ratchet that count for the pipelines whose workload imports them."""
    return frozenset(
        f"{PRODUCT}.{name}"
        for one in EVERY.values()
        for pattern in one.through
        for name, _ in files_of(pattern)
        if one.says(name) == "through"
    )


def fits(module: str, pattern: str) -> bool:
    """Whether a name, or a folder written as `folder.*`, covers a module."""
    folder = pattern.removesuffix(".*")
    return module == folder or (folder != pattern and module.startswith(f"{folder}."))


def files_of(pattern: str) -> Iterable[tuple[str, Path]]:
    """(module, file) of a name or of everything below a folder."""
    place = ROOT.joinpath(*pattern.removesuffix(".*").split("."))
    paths = place.rglob("*.py") if pattern.endswith(".*") else (place.with_suffix(".py"), place / "__init__.py")
    for path in paths:
        if path.is_file():
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            yield name.removesuffix(".__init__"), path


ROAD: Mapping[str, str] = {
    "models.config": "strictness of configuration: what was read stands in identities value by value",
    "models.errors": "words of errors",
    "models.finding": "finds source, which counts by itself",
    "models.fault_points": "armed by tests alone",
    "models.functions": "finds a user's function, whose own source counts",
    "models.garbage.*": "removes what nothing names",
    "models.identity.*": "names what exists: where it names otherwise, every name moves by itself",
    "models.ledger.*": "the history of promotions",
    "models.moments": "words of times",
    "models.nearest": "words of errors",
    "models.own_line": "words of errors",
    "models.png": "draws",
    "models.pipeline.*": "reads the file: what was read stands in identities value by value",
    "models.ports.*": "protocols",
    "models.promotion.*": "moves versions, makes none",
    "models.registration.*": "writes down what was made",
    "models.metrics.away": "asks a child for a metric, whose own source counts",
    "models.objectives.away": "asks a child for an objective, whose own source counts",
    "models.sources.arrow_memory": "says where tables lie in memory, not what is in them",
    "models.workloads.prepared": "asks a child for tensors: the source of the workload and of its preparation counts",
    "models.workloads.handed_over": "carries records from a child: what they are, who read them says",
    "models.workloads.told": "asks a child for a workload, whose own source counts",
    "models.workloads.loading": "finds a user's class, whose own source counts",
    "infra.*": "carries bytes, which are verified against digests, and processes",
    "tasks.actions.*": "what people start; not on the road of a retrain",
    "tasks.showing.*": "shows what was made",
    "tasks.step": "retries",
    "tasks.steps.*": "one call each, of what stands in these lists",
    "tasks.support.*": "finds what exists already",
    "tasks.wiring": "opens adapters and hands them on",
}
"""Decides nothing, whatever the result, where a longer name does not say otherwise."""

DATA = Deciding(
    starts=("tasks.steps.ingest", "tasks.steps.validate", "tasks.steps.preprocess"),
    # an objective refuses targets; rows are named by their raw cells; what nobody can use is set aside
    decides=(
        "models.data.*",
        "models.objectives.*",
        "models.schema.cell_bytes",
        "models.sources.raw_cells",
        "models.sources.record_table",
        "models.sources.stored_examples",
        "models.tensors.named",
        "models.tensors.spec",
        "models.workloads.guarded",
    ),
    through=("models.workloads.*", "models.preparation.*", "models.sources.*", "models.schema.*"),
    nothing={
        **ROAD,
        "models.data.quality.*": "measures records and changes none: it judges",
        "models.data.quarantine": "writes down what was set aside",
        "models.data.kept_pieces": "keeps what was read of an object: what that is, who read it says",
        "models.data.mapped": "reads what a digest names from copies: the rows are the same",
        "models.data.reading": "writes down what was set aside",
        "models.evaluation.*": "measures the outputs of models",
        "models.gates.*": "judges rows, changes none",
        "models.metrics.*": "measures the outputs of models",
        "models.inference_log.config": "says what is written down of requests, not how one is answered",
        "models.objectives.losses.*": "trains: the rows are the same",
        "models.networks.*": "trains: the rows are the same",
        "models.tensors.batch": "gives rows to models: the rows are the same",
        "models.tensors.sharded": "reads rows piece by piece: they are the same",
        "models.tensors.words": "holds words: they are the same",
        "models.objectives.pictures.*": "draws",
    },
)
"""The rows of a dataset, and which side each is on: in the dataset's id, and through it in the work key."""

WEIGHTS = Deciding(
    starts=("tasks.steps.train", "infra.launch.rank"),
    decides=(
        "models.training.*",
        "models.objectives.*",
        "models.metrics.*",
        "models.tensors.*",
        "models.data.shards",
        "infra.launch.rank",
        "infra.launch.group",
    ),
    through=("models.workloads.*", "models.sources.*", "models.schema.*", "models.networks.*"),
    nothing={
        **ROAD,
        "models.objectives.answers.*": "says what outputs mean, and which targets a dataset holds",
        "models.objectives.pictures.*": "draws",
        "models.training.cost": "counts what a training cost, when it is over",
        "models.training.profiling": "records steps, changes none",
        "models.training.forward_lines": "words of errors",
        "models.training.rehearsal": "refuses what could not train, trains nothing that is kept",
        "models.training.rehearsal_rows": "rows of a rehearsal, which nothing keeps",
        "models.training.resumable": "refuses what a resume would lose",
        "models.tensors.program_archive": "refuses programs, changes none",
        "models.tensors.program_calls": "refuses programs, changes none",
        "models.tensors.program_writes": "refuses programs, changes none",
        "models.tensors.expression_size": "refuses programs, changes none",
        "models.tensors.zeroed": "memory that a program fills, which none that was kept answers with",
        "models.artifact.weights": "reads weights that somebody brings: their digest stands in the key",
        "models.data.*": "makes datasets: theirs is the id that stands in the key",
        "models.decisions.*": "judges what was trained",
        "models.evaluation.*": "measures what was trained; metrics, which can stop a training, are not among it",
        "models.gates.*": "judges what was trained",
        "models.preparation.*": "makes datasets: theirs is the id that stands in the key",
        "models.tuning.*": "proposes values, which stand in the key; cuts rows, which have a dataset's id",
    },
)
"""The weights of a training: in the work key."""

JUDGEMENT = Deciding(
    starts=(
        "tasks.steps.validate",
        "tasks.steps.evaluate",
        "tasks.steps.gate",
        "tasks.steps.approval",
        "tasks.steps.stage",
        "tasks.steps.canary",
        "tasks.steps.probation",
        "infra.artifact.measure",
    ),
    decides=(
        "models.approval.*",
        "models.artifact.signature",
        "models.data.near_duplicates",
        "models.data.quality.*",
        "models.data.rules",
        "models.data.sketches.*",
        "models.data.split",
        "models.decisions.foreign_judge",
        "models.decisions.judge_again",
        "models.decisions.stored_evidence",
        "models.evaluation.*",
        "models.gates.*",
        "models.inference_log.*",
        "models.metrics.*",
        "models.objectives.*",
        "models.serving.*",
        "models.tensors.*",
        "models.training.cost",
        "infra.artifact.exported",
        "infra.artifact.measure",
        "infra.serving.replay",
        "tasks.steps.canary",
        "tasks.steps.evaluate",
        "tasks.steps.probation",
        "tasks.steps.stage",
        "tasks.steps.validate",
        "tasks.support.attribute",
        "tasks.support.examples",
        "tasks.support.recorded_requests",
        "tasks.support.score_versions",
        "tasks.support.seen_rows",
    ),
    nothing={
        **ROAD,
        "models.inference_log.config": "says what is written down of requests, not how one is answered",
        "models.objectives.losses.*": "trains: the digest of the weights stands in the evidence",
        "models.objectives.pictures.*": "draws",
        "models.artifact.*": "packages weights: their digests stand in the evidence",
        "models.data.*": "makes datasets: their ids stand in the gate run",
        "models.decisions.*": "writes down what was judged, and shows it",
        "models.evaluation.attribution_plots": "draws",
        "models.evaluation.config": "settings of what is shown beside the gates",
        "models.evaluation.plots": "draws",
        "models.evaluation.slice_plots": "draws",
        "models.gates.power": "says before a run what it will be able to show",
        "models.gates.validation": "refuses policies that could never hold",
        "models.preparation.*": "prepares rows: the dataset's id stands in the gate run",
        "models.tensors.program_archive": "refuses programs, changes none",
        "models.tensors.program_calls": "refuses programs, changes none",
        "models.tensors.program_writes": "refuses programs, changes none",
        "models.tensors.expression_size": "refuses programs, changes none",
        "models.tensors.zeroed": "memory that a program fills, which none that was kept answers with",
        "models.networks.*": "trains: the digest of the weights stands in the evidence",
        "models.schema.*": "reads rows: the dataset's id stands in the gate run",
        "models.sources.*": "reads rows: the dataset's id stands in the gate run",
        "models.training.*": "trains: the digest of the weights stands in the evidence",
        "models.workloads.*": "trains and reads: the work key stands in the gate run",
    },
)
"""The verdict of a gate on given weights and rows: in the gate run's id, and in decisions as `code`."""

EVERY: Mapping[str, Deciding] = {"data": DATA, "weights": WEIGHTS, "judgement": JUDGEMENT}


def code_of_training(workload: Closure, factory: str | None) -> dict[str, Any]:
    """The code that decides the weights, as JSON values: of the workload, of an optimizer's factory
    (`package.module:function`), and Ratchet's own."""
    return WEIGHTS.code(workload, *([source_of(factory)] if factory is not None else []))

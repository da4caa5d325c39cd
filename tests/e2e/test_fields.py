"""Six pipelines on real data, each from raw objects to a champion that answers a raw example over HTTP.

`make test` takes a table and splice sites: a small part of the data, few epochs, the whole road; the sites are ahead
of a linear model, and with shuffled labels they are not. `make test-full` takes the other fields, too, and the files as
they ship, on all of the data.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import yaml
from mlratchet.flows.cli.demo_fields import FIELDS, FieldDemo, ask
from mlratchet.infra.real_data.catalogue import objects_of
from mlratchet.infra.real_data.packages import PackageUnavailableError
from mlratchet.infra.seed import bring_to
from mlratchet.models.decisions.decision import load_decision

from tests.conftest import REPOSITORY

pytestmark = [pytest.mark.stack, pytest.mark.slow]
SHIPPED = REPOSITORY / "deployments" / "pipelines" / "fields"
Files = dict[str, bytes]


def lines(key: str, every: int) -> Callable[[Files], Files]:
    """Some rows of a table with a header."""

    def cut(files: Files) -> Files:
        head, *rows = files[key].splitlines()
        return {key: b"\n".join([head, *rows[::every]]) + b"\n"}

    return cut


def pictures(files: Files) -> Files:
    return {key: files[key] for key in sorted(files)[::8]}


def prompts(files: Files) -> Files:
    """Some prompts by every voice, and the table of these."""
    head, *rows = files["prompts/prompts.csv"].decode().splitlines()
    some = sorted({row.rsplit(",", 1)[1] for row in rows})[::10]
    kept = [row for row in rows if row.rsplit(",", 1)[1] in some]
    sounds = {f"prompts/{row.split(',')[0]}" for row in kept}
    found = {key: data for key, data in files.items() if key in sounds}
    return {**found, "prompts/prompts.csv": "\n".join([head, *kept]).encode()}


def sites(files: Files) -> Files:
    """Some splice sites."""
    head, *rows = gzip.decompress(files["splice/mpsa.csv.gz"]).decode().splitlines()
    return {"splice/mpsa.csv": "\n".join([head, *rows[::6]]).encode()}


@dataclass(frozen=True, kw_only=True)
class Small:
    """How a pipeline is run in seconds."""

    data: str
    part: Callable[[Files], Files]
    epochs: int


SMALL: Mapping[str, Small] = {
    "tabular": Small(data="income", part=lines("income/income.csv", 8), epochs=3),
    "vision": Small(data="mnist", part=pictures, epochs=3),
    "text": Small(data="glosses", part=lines("glosses/glosses.csv", 60), epochs=2),
    "audio": Small(data="prompts", part=prompts, epochs=2),
    "recommender": Small(data="movielens", part=lines("movielens/histories/ratings.csv", 25), epochs=1),
    "splice": Small(data="splice", part=sites, epochs=4),
}
AHEAD = ("splice",)  # of a linear model, also with so few rows


def real(name: str) -> Files:
    """The objects of a data set; skipped aloud where its package cannot be had."""
    try:
        return objects_of(name, REPOSITORY / ".ratchet" / "packages")
    except PackageUnavailableError as error:
        pytest.skip(str(error))


def smaller(name: str, epochs: int) -> dict[str, Any]:
    """The file as it ships, with few epochs, one process, and gates that so few rows can pass."""
    document: dict[str, Any] = yaml.safe_load((SHIPPED / f"{name}.yaml").read_text())
    document["name"] = f"small-{name}"
    document["source"]["prefix"] = f"small-{document['source']['prefix']}"
    document["train"] |= {"epochs": epochs, "processes": 1}
    gates, error = document["gates"], "rmse" if name in ("recommender", "splice") else "log_loss"
    gates["data"] = [check for check in gates["data"] if check["measure"] != "class_count"]
    beside = [check for check in gates["candidate"] if check["kind"] == "baseline"]
    assert beside, f"{name}.yaml holds no baseline"
    gates["candidate"] = beside if name in AHEAD else [{"kind": "budget", "maximum_seconds": 600}]
    gates["champion"] = [
        {"kind": "absolute", "metric": error, "maximum": 100.0},
        {"kind": "non_inferiority", "metric": error, "margin": 5.0},
    ]
    return document


def deliver(stack: Any, files: Files) -> None:
    prefix = f"small-{next(iter(files)).split('/')[0]}/"
    bring_to(
        stack.adapters.raw, prefix, {f"small-{key}": data for key, data in files.items()}, on_progress=lambda *_: None
    )


EVERY_TIME = ("tabular", "splice")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in EVERY_TIME else [pytest.mark.full]) for name in SMALL]
)
def test_a_small_part_goes_the_whole_road_and_answers_a_raw_example(stack: Any, name: str) -> None:
    small, document = SMALL[name], smaller(name, SMALL[name].epochs)
    deliver(stack, small.part(real(small.data)))
    (stack.pipelines / f"small-{name}.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    report = stack.json("run", f"small-{name}")
    assert report["outcome"] == "promoted", report["line"]
    example, answer = ask(stack.adapters, f"small-{name}", report["url"], report["version"])
    assert set(example) <= set(document["schema"]["fields"])
    assert answer.get("probabilities") or np.isfinite(answer["value"])
    if name in AHEAD:
        ahead(stack, report, "rmse")
        assert stack.json("audit", f"small-{name}", "--replay")["passed"]
    stack("stop", f"small-{name}")


def ahead(stack: Any, report: dict[str, Any], metric: str) -> None:
    """The candidate gate compared with a linear model of the same run, on the same rows, and let it through."""
    gate = next(gate for gate in report["gates"] if gate["gate"] == "candidate")
    checks = load_decision(stack.adapters.store, gate["decision"])["checks"]
    check = next(check for check in checks if (check["kind"], check["metric"]) == ("baseline", metric))
    assert check["verdict"] == "pass"
    assert check["interval"] is not None
    assert check["interval"][0] > 0
    assert "baseline, trained on" in check["reason"]


def shuffled_cells(key: str, column: str) -> Callable[[Files], Files]:
    """A table in which each row has the cell of another."""

    def shuffle(files: Files) -> Files:
        head, *rows = csv.reader(io.StringIO(files[key].decode()))
        place, order = head.index(column), np.random.default_rng(0).permutation(len(rows))
        cells = [row[place] for row in rows]
        for row, other in zip(rows, order, strict=True):
            row[place] = cells[other]
        sink = io.StringIO()
        csv.writer(sink, lineterminator="\n").writerows([head, *rows])
        return files | {key: sink.getvalue().encode()}

    return shuffle


def shuffled_pictures(files: Files) -> Files:
    """Each file holds the picture of another."""
    names = sorted(files)
    order = np.random.default_rng(0).permutation(len(names))
    return {name: files[names[other]] for name, other in zip(names, order, strict=True)}


def shuffled_classes(files: Files) -> Files:
    """Each sequence has the class that another's description says."""
    ((key, data),) = files.items()
    head, *rest = re.split(r"class=(\w+)", data.decode())
    order = np.random.default_rng(0).permutation(len(rest) // 2)
    said = (f"class={rest[2 * one]}{after}" for one, after in zip(order, rest[1::2], strict=True))
    return {key: (head + "".join(said)).encode()}


SHUFFLED: Mapping[str, tuple[str, Callable[[Files], Files], Callable[[Files], Files], int]] = {
    "tabular": ("income", lines("income/income.csv", 4), shuffled_cells("income/income.csv", "INCOME"), 2),
    "vision": ("mnist", pictures, shuffled_pictures, 2),
    "text": ("glosses", lines("glosses/glosses.csv", 40), shuffled_cells("glosses/glosses.csv", "class"), 2),
    "audio": ("prompts", prompts, shuffled_cells("prompts/prompts.csv", "voice"), 2),
    "recommender": ("movielens", lines("movielens/histories/ratings.csv", 25),
                    shuffled_cells("movielens/histories/ratings.csv", "rating"), 1),
    "sequence": ("peptides", dict, shuffled_classes, 2),
    "splice": ("splice", sites, shuffled_cells("splice/mpsa.csv", "y"), 2),
}  # fmt: skip
"""Of each field: the data, the part of it that is asked, what tears label and row apart, and epochs."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name == "splice" else [pytest.mark.full]) for name in SHUFFLED]
)
def test_with_shuffled_labels_the_gate_refuses(stack: Any, name: str) -> None:
    """Who learnt nothing is not ahead of a linear model that learnt nothing either."""
    source, part, shuffle, epochs = SHUFFLED[name]
    document = smaller(name, epochs) | {"name": f"shuffled-{name}"}
    shipped = yaml.safe_load((SHIPPED / f"{name}.yaml").read_text())
    document["gates"]["candidate"] = [one for one in shipped["gates"]["candidate"] if one["kind"] == "baseline"]
    document["source"]["prefix"] = f"small-shuffled-{shipped['source']['prefix']}"
    deliver(stack, {f"shuffled-{key}": data for key, data in shuffle(part(real(source))).items()})
    (stack.pipelines / f"shuffled-{name}.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    report = stack.json("run", f"shuffled-{name}", code=4)
    assert report["outcome"] == "stopped_by_gate"
    assert [gate["gate"] for gate in report["gates"] if gate["verdict"] != "pass"] == ["candidate"]
    assert re.search(r": gain over the (linear|bias) baseline", report["line"])
    assert stack.adapters.ledger.head(f"shuffled-{name}") is None


@pytest.mark.full
@pytest.mark.parametrize("one", FIELDS, ids=lambda one: one.pipeline)
def test_all_of_the_data_is_ahead_of_a_linear_model(stack: Any, one: FieldDemo) -> None:
    files = real(one.data)
    (stack.pipelines / "fields").mkdir(exist_ok=True)
    shutil.copy(SHIPPED / f"{one.pipeline}.yaml", stack.pipelines / "fields")
    bring_to(stack.adapters.raw, f"{one.data}/", files, on_progress=lambda *_: None)
    report = stack.json("run", one.pipeline)
    assert report["outcome"] == "promoted", report["line"]
    ahead(stack, report, one.metric)
    example, answer = ask(stack.adapters, one.pipeline, report["url"], report["version"])
    assert example
    assert answer
    if one.pipeline == "vision":
        assert report["metrics"]["accuracy"] >= 0.97
    stack("stop", one.pipeline)

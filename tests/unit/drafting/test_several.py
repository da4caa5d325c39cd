"""Drafts of several labels at once, and of rows that are ranked by query: fields, gates, and what is refused."""

from __future__ import annotations

import csv
import random
from pathlib import Path
from typing import Any

import pytest
from mlratchet.models.drafting.draft import draft
from mlratchet.models.errors import DataError
from mlratchet.models.gates.checks.absolute import AbsoluteCheck
from mlratchet.models.pipeline.checking import check_gates, check_source
from mlratchet.models.pipeline.loading import parse_pipeline
from mlratchet.models.pipeline.spec import PipelineSpec
from mlratchet.models.sources.record import RawObject
from mlratchet.models.workloads.loading import load_workload

TOLD = {"urgent": "asap", "billing": "invoice", "rare": "lawsuit"}


def tickets(folder: Path) -> Path:
    """Which words a text holds says which labels it has; one of them is rare."""
    draw = random.Random(0)
    file = folder / "tickets.csv"
    with file.open("w", newline="") as sink:
        rows = csv.writer(sink)
        rows.writerow(["ticket", "words", "urgent", "billing", "rare", "both"])
        for at in range(400):
            has = {name: draw.random() < share for name, share in (("urgent", 0.3), ("billing", 0.6), ("rare", 0.03))}
            words = draw.sample(["please", "help", "with", "our", "last", "one"], 4)
            words += [TOLD[name] for name, on in has.items() if on]
            says = ["ja" if has["urgent"] else "nein", int(has["billing"]), "x" if has["rare"] else "-"]
            rows.writerow([f"t{at}", " ".join(draw.sample(words, len(words))), *says, f"n{at % 3}"])
    return file


def films(folder: Path) -> Path:
    """Better films are rated higher by everyone."""
    draw = random.Random(0)
    file = folder / "films.csv"
    with file.open("w", newline="") as sink:
        rows = csv.writer(sink)
        rows.writerow(["user_id", "film", "stars", "delta"])
        for user in range(60):
            for film in draw.sample(range(30), 12):
                rows.writerow([f"u{user}", f"f{film}", min(5, film // 6 + draw.randint(0, 1)), draw.uniform(-1, 1)])
    return file


def read(paths: list[Path], **asked: Any) -> tuple[PipelineSpec, Any, tuple[str, ...]]:
    """The drafted file as `ratchet validate` sees it, its workload and the notes."""
    drafted = draft(paths, **asked)
    spec = parse_pipeline(drafted.text, where="drafted.yaml")
    workload = load_workload(spec.workload.use, dict(spec.workload.parameters))
    check_gates(spec, workload)
    check_source(spec, workload)
    return spec, workload, drafted.notes


def floors(spec: PipelineSpec) -> dict[str, float]:
    """Of the candidate gate, by metric."""
    return {one.metric: one.minimum or 0.0 for one in spec.gates.candidate if isinstance(one, AbsoluteCheck)}


def test_columns_that_say_yes_or_no_are_labels_each_with_a_gate_that_can_tell(tmp_path: Path) -> None:
    spec, workload, notes = read([tickets(tmp_path)], labels=["urgent", "billing", "rare"])
    assert (workload.task, workload.class_names()) == ("multi_label", ("urgent", "billing", "rare"))
    assert spec.example_schema is not None
    fields = spec.example_schema.fields
    assert fields["urgent"].values == ("nein", "ja")
    assert fields["rare"].values == ("-", "x")  # the word that fewer have
    assert fields["billing"].kind == "number"
    asked = floors(spec)
    assert set(asked) == {"roc_auc_macro", "roc_auc_label_urgent", "roc_auc_label_billing"}
    assert min(asked.values()) > 0.6  # a constant answer has 0.5
    assert any("none has a gate: rare" in one for one in notes)


def test_rows_of_a_query_are_ranked_and_the_query_is_no_input(tmp_path: Path) -> None:
    spec, workload, notes = read([films(tmp_path)], labels=["stars"], rank="user_id")
    schema = spec.example_schema
    assert schema is not None
    assert (workload.task, schema.group, schema.label) == ("ranking", "user_id", "stars")
    assert set(schema.inputs) == {"film", "delta"}
    data = (tmp_path / "films.csv").read_bytes()
    item, source = (
        RawObject(key="films.csv", size_bytes=len(data), sha256="0" * 64),
        spec.source.model_dump(mode="json"),
    )
    named_by = workload.identity_columns([item], lambda _: data, source)
    assert named_by == ("delta", "film", "user_id")  # a film that two rate is two rows
    (floor,) = floors(spec).values()
    assert floor > 0.6
    (margin,) = [one.margin for one in spec.gates.champion if one.kind == "non_inferiority"]  # type: ignore[attr-defined]
    assert 0.01 <= margin < 0.1
    assert any("about 18 queries" in one for one in notes)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"labels": ["urgent", "bilings"]}, "no column 'bilings'; did you mean 'billing'"),
        ({"labels": ["urgent", "both"]}, "column 'both' is no label of several"),
        ({"labels": ["urgent", "urgent"]}, "each once"),
        ({"labels": ["urgent", "billing"], "rank": "both"}, "one number is a relevance"),
        ({"labels": ["billing"], "rank": "bot"}, "--rank: no column 'bot'; did you mean 'both'"),
        ({"labels": ["urgent"], "rank": "words"}, "a relevance is a number from 0 on"),
        ({"labels": ["billing"], "rank": "both"}, "3 queries; expected at least 20"),
    ],
)
def test_what_cannot_be_learnt_says_what_can(tmp_path: Path, asked: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError) as caught:
        draft([tickets(tmp_path)], **asked)
    assert words in str(caught.value)


def test_a_relevance_is_not_below_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a relevance is a number from 0 on"):
        draft([films(tmp_path)], labels=["delta"], rank="user_id")

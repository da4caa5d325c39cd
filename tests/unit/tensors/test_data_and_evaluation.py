"""Records of named tensors become shards, and their rows are measured, perturbed, explained and compared by name."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mlratchet.infra.child.call import ForkedChildren
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.artifact.signature import Signature, signature_of
from mlratchet.models.data.config import DataConfig, SourceConfig
from mlratchet.models.data.dataset import load_dataset
from mlratchet.models.data.preprocess import read_dataset_records
from mlratchet.models.data.quality import inspect
from mlratchet.models.data.records import records_of
from mlratchet.models.data.row_index import load_index, prepared_digest
from mlratchet.models.data.shards import load_split, write_shard, write_split
from mlratchet.models.data.snapshot import take_snapshot
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.evaluation.explain import explain, part_names_of, shift
from mlratchet.models.evaluation.join import what_differs
from mlratchet.models.evaluation.perturb import check_perturbation, perturb
from mlratchet.models.evaluation.score import score
from mlratchet.models.identity.canonical import canonical_json, digest_bytes
from mlratchet.models.objectives.naming import objective_of
from mlratchet.models.ports.children import install
from mlratchet.models.sources.record import InputSpec, Record, Reject, Split, inputs_of, named_input
from mlratchet.models.tensors.batch import asked_by_name
from mlratchet.models.tensors.named import Inputs, Ragged
from mlratchet.models.tensors.spec import TensorSpec
from mlratchet.models.tuning.rows import who_each_is
from mlratchet.models.workloads.loading import load_workload
from mlratchet.models.workloads.told import reading_away, told_workload
from pydantic import TypeAdapter
from safetensors.numpy import save

from tests.unit.tensors import named_models
from tests.unit.tensors.conftest import HERE, dataset_of
from tests.unit.tensors.named_models import ITEM, TOKENS, USER, Readers

PICTURE = TensorSpec(name="picture", shape=(1, 4, 4), dtype="float32")
MIXED = (USER, TOKENS, PICTURE)


def rows(count: int = 12) -> Split:
    rng = np.random.default_rng(0)
    examples = [
        {
            "user": np.asarray(rng.integers(0, 20)),
            "words": rng.integers(1, 50, rng.integers(0, 6)),
            "picture": rng.normal(size=(1, 4, 4)),
        }
        for _ in range(count)
    ]
    return Split(
        ids=[f"r{at}" for at in range(count)], x=Inputs.stack(examples, MIXED), y=np.arange(count, dtype=np.int64) % 2
    )


def test_a_shard_of_one_input_has_the_bytes_that_it_always_had(store: MemoryStore) -> None:
    x = np.random.default_rng(0).normal(size=(3, 2)).astype(np.float32)
    records = [Record(id=str(at), x=row, y=at % 2, columns={"region": "eu"}) for at, row in enumerate(x)]
    about = canonical_json({"ids": ["0", "1", "2"], "columns": {"region": ["eu"] * 3}})
    data = save({"x": x, "y": np.asarray([0, 1, 0], np.int64), "about": np.frombuffer(about, dtype=np.uint8)})
    assert write_shard(store, records).sha256 == digest_bytes(data)


def test_named_rows_are_read_back_as_they_were_written_and_found_by_their_content(store: MemoryStore) -> None:
    manifest = load_dataset(store, dataset_of(store, "Readers"))
    train = load_split(store, manifest, "train")
    assert [type(train.x.columns[name]) for name in ("user", "words")] == [np.ndarray, Ragged]
    again = write_split(store, train, rows_per_shard=60)
    assert again == manifest.splits["train"]
    entries = load_index(store, manifest, ("no", "yes")).entries
    for identity, x in zip(train.ids, train.x.examples(), strict=True):
        assert entries[identity].prepared == prepared_digest(Record(id=identity, x=x, y=0), ())
    who = who_each_is(store, manifest, train)
    assert len(set(who)) == len(train.ids)
    first = next(iter(train.x.examples()))
    assert isinstance(first, dict)
    longer = {**first, "words": np.append(first["words"], 0)}  # a zero more is another row
    assert prepared_digest(Record(id="a", x=longer, y=0), ()) != entries[train.ids[0]].prepared


def test_a_record_that_is_none_is_set_aside_wherever_it_is_read(store: MemoryStore) -> None:
    raw = MemoryStore("raw")
    raw.put(
        "t/rows.jsonl",
        b'{"id": "a", "user": 1, "words": [1, 2], "label": 0}\n{"id": "b", "user": 2, "words": [], "label": 1}\n'
        b'{"id": "c", "words": [1], "label": 1}\n{"id": "d", "user": 1.5, "words": [1], "label": 1}\n'
        b'{"id": "e", "user": 1, "words": [[1, 2]], "label": 0}\n',
    )
    snapshot = take_snapshot(raw, store, prefix="t/")
    here = Readers()
    told = reading_away(f"{HERE}:Readers", {}, here)
    found = [read_dataset_records(store, snapshot, one, SourceConfig(prefix="t/")) for one in (here, told)]
    for records, rejects in found:
        assert [one.id for one in records] == ["a", "b"]
        assert [(one.where, one.code) for one in rejects] == [(f"rows.jsonl:{at}", "bad_shape") for at in (3, 4, 5)]
        assert "got no input 'user'" in rejects[0].reason
    ours, theirs = (inputs_of(records, here.tensors()) for records, _ in found)
    assert {n: a.tolist() for n, a in ours.arrays().items()} == {n: a.tolist() for n, a in theirs.arrays().items()}
    measures = inspect(store, found[0][0], [], None, DataConfig(), ("no", "yes")).measures
    assert measures["constant_input_fraction"].value == 0
    broken = [Record(id="n", x={"a": np.asarray([1.0, np.nan])}, y=0), Record(id="m", x={"a": np.ones(2)}, y=1)]
    named = records_of(broken, (TensorSpec(name="a", shape=(2,), dtype="float64"),))
    measures = inspect(store, named, list[Reject](), None, DataConfig(), ("no", "yes")).measures
    assert (measures["non_finite_fraction"].value, measures["constant_input_fraction"].value) == (0.5, 0.5)


def test_what_a_child_tells_of_a_workload_holds_its_tensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "readers_shop.py").write_text(Path(named_models.__file__).read_text())
    monkeypatch.chdir(tmp_path)
    install(ForkedChildren(tmp_path / ".home"))
    try:
        told = told_workload("readers_shop:Readers", {})
    finally:
        install(None)
    assert "readers_shop" not in sys.modules
    assert told.tensors() == (USER, TOKENS)
    assert not told.takes_one


def test_a_signature_names_its_tensors_and_an_older_one_reads_back() -> None:
    signature = signature_of(Readers())
    assert Signature.from_json(signature.to_json()) == signature
    assert signature.tensors == (USER, TOKENS)
    old = Signature(task="regression", classes=(), input=InputSpec(kind="table", shape=(2,), dtype="float32"))
    assert "tensors" not in old.to_json()
    assert [str(one) for one in Signature.from_json(old.to_json()).tensors] == ["x (float32 [2])"]


def test_versions_with_other_tensors_are_not_compared() -> None:
    def layout(*tensors: TensorSpec) -> Signature:
        return Signature(task="classification", classes=("no", "yes"), input=named_input(tensors))

    assert what_differs(layout(USER, TOKENS), layout(TOKENS, USER)) == ""
    wider = TensorSpec(name="user", shape=(), dtype="int64", value_range=(0, 99))
    assert what_differs(layout(USER), layout(wider)) == ""
    assert "its inputs are item (int64 []), here they are user" in what_differs(layout(USER), layout(ITEM))
    one = Signature(
        task="classification", classes=("no", "yes"), input=InputSpec(kind="tensor", shape=(), dtype="int64")
    )
    assert "its inputs are" in what_differs(layout(USER), one)


def spec(kind: str, **more: Any) -> Any:
    from mlratchet.models.evaluation.perturb import PerturbationSpec

    return TypeAdapter(PerturbationSpec).validate_python({"kind": kind, **more})


def half(x: Inputs, rng: np.random.Generator) -> Inputs:
    del rng
    picture = x.columns["picture"]
    assert isinstance(picture, np.ndarray)
    return Inputs({**x.columns, "picture": picture / 2})


def shorter(x: Inputs, rng: np.random.Generator) -> Inputs:
    del rng
    words = x.columns["words"]
    assert isinstance(words, Ragged)
    return Inputs({**x.columns, "words": Ragged(words.values[:0], words.offsets * 0)})


@pytest.mark.parametrize(
    ("one", "changed"),
    [
        (spec("gaussian_noise", sigma=0.5), {"picture"}),
        (spec("missing_input", fraction=0.5, fill="zero"), {"user", "words", "picture"}),
        (spec("token_dropout", fraction=0.5, token=49), {"words"}),
        (spec("token_swap", fraction=1.0), {"words"}),
        (spec("custom", function=f"{__name__}:half"), {"picture"}),
    ],
    ids=lambda one: getattr(one, "kind", None),
)
def test_a_perturbation_changes_the_tensors_that_it_is_about(one: Any, changed: set[str]) -> None:
    before = rows()
    check_perturbation(one, named_input(MIXED), "gate")
    after, again = (perturb(before, one, named_input(MIXED)).x for _ in range(2))
    arrays, kept = after.arrays(), before.x.arrays()
    assert {n.split(".")[1] for n, a in arrays.items() if not np.array_equal(a, kept[n])} == changed
    assert all(np.array_equal(a, again.arrays()[n]) for n, a in arrays.items())
    if one.kind == "token_swap":
        assert [sorted(a["words"].tolist()) for a in after.examples() if isinstance(a, dict)] == [
            sorted(b["words"].tolist()) for b in before.x.examples() if isinstance(b, dict)
        ]


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (spec("brightness", delta=0.1), "brightness is about none of the inputs: user"),
        (spec("permute", columns=["a"]), "permute is about none of the inputs"),
        (spec("missing_input", fraction=0.5), r"whole numbers \(user\): fill must be zero"),
    ],
)
def test_a_perturbation_that_is_about_no_tensor_is_refused(one: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        check_perturbation(one, named_input(MIXED), "gate")


def test_a_perturbation_keeps_shapes_and_lengths() -> None:
    with pytest.raises(ConfigurationError, match=r"got int64 of shape \(0,\), expected int64 of shape"):
        perturb(rows(), spec("custom", function=f"{__name__}:shorter"), named_input(MIXED))


def test_attributions_name_the_inputs_that_the_answer_comes_from() -> None:
    def model(part: str) -> Any:
        def ask(batch: dict[str, torch.Tensor]) -> torch.Tensor:
            if part == "words":
                return batch["words"].sum(dim=1).float()
            return batch["picture"][:, 0, 1, 2] if part == "picture" else batch["user"].float()

        return ask

    sample = rows(30)
    names = part_names_of(sample.x)
    assert names == (*(f"picture[{at}]" for at in range(16)), "user", "words")
    found = explain(
        {"candidate": model("words"), "champion": model("picture"), "other": model("user")}, sample.x,
        sample.y.astype(np.float32), objective=objective_of("regression"), input_spec=named_input(MIXED), steps=8,
    )  # fmt: skip
    share = {name: dict(zip(names, one.importance(), strict=True)) for name, one in found.items()}
    assert share["champion"]["picture[6]"] == pytest.approx(1.0)
    assert share["candidate"]["words"] > 0.9  # a text without words says nothing, and is spread evenly
    assert share["other"]["user"] > 0.9
    assert found["champion"].completeness < 1e-6
    assert shift(found["candidate"], found["champion"], seed=0).value > 0.8


def test_rows_are_scored_in_batches_by_name(store: MemoryStore) -> None:
    split = load_split(store, load_dataset(store, dataset_of(store, "Readers")), "train")
    workload = load_workload(f"{HERE}:Readers", {})
    torch.manual_seed(0)
    model = asked_by_name(workload.build_model().eval(), workload.tensors())
    whole, cut = score(model, split), score(model, split, batch_rows=7)
    assert whole.output.shape == (len(split.ids), 2)
    np.testing.assert_allclose(whole.output, cut.output, atol=1e-6)


def test_a_workload_that_says_nowhere_what_it_takes_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="says nowhere what its model takes; write input_spec, or tensors"):
        load_workload(f"{HERE}:SaysNothing", {})


def test_one_tensor_by_the_name_of_x_is_as_one_without_a_name(store: MemoryStore) -> None:
    workload = load_workload(f"{HERE}:OnlyX", {})
    assert workload.input_spec() == InputSpec(kind="tensor", shape=(2,), dtype="float32")
    manifest = load_dataset(store, dataset_of(store, "OnlyX"))
    train = load_split(store, manifest, "train")
    assert (train.x.array.shape[1:], train.x.array.dtype) == ((2,), np.float32)
    assert workload.takes_one

"""Every model that the six fields are offered, as a pipeline file names it: it learns for a few steps, goes on from a
checkpoint with the same bits, and its exported program answers as it does."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
from mlratchet.models.config import WorkloadRef
from mlratchet.models.networks.build import SEQUENCES, NetworkOptions
from mlratchet.models.networks.pictures import PICTURES
from mlratchet.models.ports.memory import ObjectsInMemory
from mlratchet.models.training.config import TrainConfig
from mlratchet.models.training.rehearsal import rehearse

USE = "mlratchet.models.workloads.fields:SchemaWorkload"
TABLE = {"size": {"kind": "number", "nullable": True}, "colour": {"kind": "category", "values": ["red", "blue"]}}
PICTURE, SOUND, NOTE = {"p": {"kind": "image"}}, {"s": {"kind": "audio"}}, {"t": {"kind": "text"}}
LETTERS = {"dna": {"kind": "letters", "alphabet": "dna"}}
PAIR = {"user": {"kind": "entity"}, "item": {"kind": "entity"}}
SMALL_PICTURE = {"p": {"height": 16, "width": 16}}
SMALL_SOUND = {"s": {"rate_hz": 8000, "bands": 8, "hop_ms": 50.0, "window_ms": 50.0}}
KMERS = {"dna": {"encoding": "kmers", "k": 3}}

Offered = tuple[dict[str, Any], dict[str, Any], dict[str, Any]]  # fields, preparation of fields, parameters
MODELS: dict[str, Offered] = {
    "tabular: MLP with embeddings": (TABLE, {}, {"model": "mlp"}),
    "tabular: ResNet-style": (TABLE, {}, {"model": "resnet"}),
    "tabular: FT-Transformer": (TABLE, {}, {"model": "ft_transformer"}),
    "vision: small CNN": (PICTURE, SMALL_PICTURE, {"encoders": {"p": "cnn"}, "picture_width": 8}),
    "vision: ResNet-18": (PICTURE, SMALL_PICTURE, {"encoders": {"p": "resnet18"}}),
    "vision: ViT-tiny": (PICTURE, SMALL_PICTURE, {"encoders": {"p": "vit_tiny"}}),
    "text: embedding bag": (NOTE, {}, {"encoders": {"t": "bag"}}),
    "text: text CNN": (NOTE, {}, {"encoders": {"t": "cnn"}}),
    "text: small transformer": (NOTE, {}, {"encoders": {"t": "transformer"}}),
    "audio: log-mel CNN": (SOUND, SMALL_SOUND, {"encoders": {"s": "cnn"}}),
    "audio: conformer-tiny": (SOUND, SMALL_SOUND, {"encoders": {"s": "conformer"}}),
    "recommender: matrix factorisation": (PAIR, {}, {"model": "matrix_factorisation"}),
    "recommender: two towers": (PAIR, {}, {"model": "two_towers"}),
    "recommender: DLRM-style": (PAIR | TABLE, {}, {"model": "dlrm"}),
    "recommender: ranking": (PAIR, {}, {"model": "two_towers", "task": "ranking"}),
    "sequence: 1-D CNN": (LETTERS, {}, {"encoders": {"dna": "cnn"}}),
    "sequence: transformer over k-mers": (LETTERS, KMERS, {"encoders": {"dna": "transformer"}}),
}
TRAIN = TrainConfig.model_validate(
    {"epochs": 1, "global_batch_size": 8, "optimizer": {"name": "adamw", "learning_rate": 0.003}}
)


def offered(name: str) -> WorkloadRef:
    fields, preparation, parameters = MODELS[name]
    number = name.startswith("recommender")
    label = {"kind": "number", "minimum": 1, "maximum": 5} if number else {"kind": "category", "values": ["x", "y"]}
    schema: dict[str, Any] = {"label": "y", "fields": {**fields, "y": label}}
    if "task" in parameters:
        schema["group"] = "user"
    small = {"schema": schema, "preparation": {"fields": preparation}, "width": 8, "depth": 1, "hidden": [8]}
    return WorkloadRef(use=USE, parameters={**small, **parameters})


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_a_model_learns_resumes_with_the_same_bits_and_is_exported(name: str) -> None:
    """By what does it in a run: the loop of a rank in exact mode, its checkpoints, and the export of the artifact,
    whose answers to one row, two and many are held against the model's."""
    found = rehearse(ObjectsInMemory("rehearsal"), offered(name), TRAIN, world=1)
    assert found.problem == ""
    assert found.notes == ()  # a loss that is not finite would leave the resume untried


def test_the_page_of_the_fields_names_every_model_that_a_file_can() -> None:
    page = (Path(__file__).parents[3] / "docs" / "workloads.md").read_text()
    names = {*get_args(NetworkOptions.model_fields["model"].annotation), *SEQUENCES, *PICTURES} - {"auto"}
    assert sorted(name for name in names if f"`{name}`" not in page) == []
    tried = {
        word
        for _, _, options in MODELS.values()
        for word in (options.get("model"), *options.get("encoders", {}).values())
    }
    assert names <= tried

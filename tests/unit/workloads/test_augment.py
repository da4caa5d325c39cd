"""Pictures and sounds of training rows are changed at random, by the engine's generator, and nothing else is."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest
from mlratchet.models.config import WorkloadRef
from mlratchet.models.ports.memory import ObjectsInMemory
from mlratchet.models.sources.record import Split
from mlratchet.models.sources.stored_examples import EXAMPLE, UNPREPARED
from mlratchet.models.tensors.named import Inputs
from mlratchet.models.training.batches import Plan, StepRows
from mlratchet.models.training.config import TrainConfig
from mlratchet.models.training.rehearsal import rehearse
from mlratchet.models.workloads.augment import PictureChanges, SoundChanges, _changed
from mlratchet.models.workloads.fields import SchemaWorkload
from mlratchet.models.workloads.made_up import made_up_examples
from mlratchet.models.workloads.prepared import fit_away

USE = "mlratchet.models.workloads.fields:SchemaWorkload"
SCHEMA: dict[str, Any] = {
    "label": "kind",
    "fields": {
        "photo": {"kind": "image"}, "call": {"kind": "audio"}, "size": {"kind": "number"},
        "kind": {"kind": "category", "values": ["a", "b"]},
    },
}  # fmt: skip
AUGMENT = {
    "photo": {"shift": 2, "flip": True, "crop": 0.2, "noise": 0.1},
    "call": {"shift": 3, "time_mask": 5, "band_mask": 4},
}


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
@pytest.mark.parametrize("changes", [{"shift": 2}, {"flip": True}, {"crop": 0.4}, {"noise": 3.0}])
def test_a_picture_is_moved_cropped_mirrored_or_noisy(changes: dict[str, Any], dtype: Any) -> None:
    x = np.arange(20 * 3 * 8 * 8).reshape(20, 3, 8, 8) % 200
    x = x.astype(dtype)
    before = x.copy()
    found = _changed(x, None, PictureChanges.model_validate(changes), rng())
    assert (found.shape, found.dtype) == (x.shape, x.dtype)
    assert np.array_equal(x, before)  # rows of the dataset are left as they are
    assert 3 < sum(not np.array_equal(one, other) for one, other in zip(x, found, strict=True)) <= 20
    assert np.array_equal(found, _changed(x, None, PictureChanges.model_validate(changes), rng()))
    assert not np.array_equal(found, _changed(x, None, PictureChanges.model_validate(changes), rng(1)))
    if "noise" not in changes:
        assert set(np.unique(found)) <= set(np.unique(x))
    if "flip" in changes:
        assert all(np.array_equal(o, n) or np.array_equal(o[:, :, ::-1], n) for o, n in zip(x, found, strict=True))


def test_a_sound_is_masked_and_moved_within_its_own_length() -> None:
    x = np.ones((10, 12, 6), dtype=np.float32)
    lengths = np.full(10, 8)
    x[:, 8:] = 0
    found = _changed(x, lengths, SoundChanges(time_mask=3, band_mask=2, shift=4), rng())
    assert (found[:, 8:] == 0).all()  # what fills a batch up stays
    steps = (found[:, :8] == 0).all(axis=2).sum(axis=1)
    bands = (found[:, :8] == 0).all(axis=1).sum(axis=1)
    assert steps.max() == 3
    assert bands.max() == 2
    assert (steps == 0).any()
    noisy = _changed(x, lengths, SoundChanges(noise=0.5), rng())
    assert 0.4 < (noisy[:, :8] - 1).std() < 0.6


@pytest.mark.parametrize(
    ("augment", "words"),
    [
        ({"foto": {"flip": True}}, "augment.foto: no input of that name; did you mean 'photo'"),
        ({"size": {"noise": 1.0}}, "augment.size: is a number, and only pictures and sounds are changed"),
        ({"photo": {"flipp": True}}, "augment.photo.flipp: no such change; did you mean 'flip'"),
        ({"call": {"flip": True}}, "augment.call.flip: no such change"),
        ({"photo": {"crop": 1.5}}, "augment.photo.crop: .*less than 1, got 1.5"),
    ],
)
def test_what_cannot_be_changed_is_refused_with_its_name(augment: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        SchemaWorkload(schema=SCHEMA, augment=augment)


@pytest.fixture(scope="module")
def prepared() -> tuple[dict[str, Any], Inputs]:
    """Parameters with what the preparation was fitted to, and the tensors of rows."""
    parameters = {"schema": SCHEMA, "augment": AUGMENT, "width": 8, "hidden": [8]}
    documents = made_up_examples(SchemaWorkload(schema=SCHEMA).schema, 16)
    rows = [{EXAMPLE: np.frombuffer(json.dumps(one).encode(), dtype=np.uint8)} for one in documents]
    state, found = fit_away(
        WorkloadRef(use=USE, parameters=parameters), {"train": [lambda: Inputs.stack(rows, (UNPREPARED,))]}
    )
    return {**parameters, "fitted": base64.b64encode(state).decode()}, found["train"][0]


def test_a_step_draws_the_same_after_a_resume_and_changes_pictures_and_sounds_alone(
    prepared: tuple[dict[str, Any], Inputs],
) -> None:
    parameters, x = prepared
    rows = Split(ids=[str(n) for n in range(len(x))], x=x, y=np.arange(len(x)) % 2)
    plan = Plan(rows=len(x), batch=8, smallest=1, seed=3, shards=2, first=0, count=2)
    plain = {name: value for name, value in parameters.items() if name != "augment"}
    steps, resumed, as_they_are = (
        [StepRows(rows, plan, SchemaWorkload(**one))[step] for step in order]
        for one, order in ((parameters, (0, 1, 2)), (parameters, (2, 0, 1)), (plain, (0, 1, 2)))
    )
    for step, at in ((0, 1), (1, 2), (2, 0)):
        for (mine, y, _), (again, y_again, _), (untouched, *_) in zip(
            steps[step][1], resumed[at][1], as_they_are[step][1], strict=True
        ):
            assert isinstance(mine, dict)
            assert isinstance(again, dict)
            assert isinstance(untouched, dict)
            assert all(bool((mine[name] == again[name]).all()) for name in mine)
            assert bool((y == y_again).all())
            differ = {name for name in mine if not bool((mine[name] == untouched[name]).all())}
            assert differ == {"photo", "call"}


def test_it_is_rehearsed_and_is_no_part_of_what_serves(prepared: tuple[dict[str, Any], Inputs]) -> None:
    parameters, _ = prepared
    plain = {name: value for name, value in parameters.items() if name != "augment"}
    assert SchemaWorkload(**parameters).input_spec() == SchemaWorkload(**plain).input_spec()
    schema = {**SCHEMA, "fields": {name: SCHEMA["fields"][name] for name in ("photo", "kind")}}
    alone = {"schema": schema, "augment": {"photo": AUGMENT["photo"]}, "hidden": [8]}  # one tensor, without a name
    ref = WorkloadRef(use=USE, parameters=alone)
    train = TrainConfig.model_validate({"epochs": 1, "global_batch_size": 8})
    assert rehearse(ObjectsInMemory("rehearsal"), ref, train, world=1).problem == ""

"""Every network that a pipeline file can name: it learns, and its answer for a row depends on that row alone."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from mlratchet.models.networks.build import NetworkInput, NetworkOptions, build_network
from mlratchet.models.training.warm_start import match_tensors
from safetensors.torch import load, save
from torch import nn

NUMBERS = NetworkInput(name="numbers", kind="numbers", shape=(3,))
CATEGORIES = NetworkInput(name="categories", kind="categories", shape=(2,), codes=(5, 300))
WORDS = NetworkInput(name="note", kind="tokens", codes=(50,))
SOUND = NetworkInput(name="clip", kind="steps", shape=(8,))
PICTURE = NetworkInput(name="photo", kind="picture", shape=(1, 8, 8))
USER, ITEM = (NetworkInput(name=name, kind="entity", codes=(20,)) for name in ("user", "item"))
GENRE = NetworkInput(name="categories", kind="categories", shape=(1,), codes=(4,), side="item")
AGE = NetworkInput(name="numbers", kind="numbers", shape=(1,), side="user")

NETWORKS: dict[str, tuple[list[NetworkInput], dict[str, Any]]] = {
    "mlp": ([NUMBERS, CATEGORIES], {"model": "mlp"}),
    "categories alone": ([CATEGORIES], {}),
    "an entity and a matrix": ([USER, NetworkInput(name="grid", kind="numbers", shape=(2, 3))], {"model": "mlp"}),
    "resnet": ([NUMBERS, CATEGORIES], {"model": "resnet"}),
    "ft_transformer": ([NUMBERS, CATEGORIES, WORDS], {"model": "ft_transformer", "width": 16}),
    "ft_transformer of a matrix": (
        [NetworkInput(name="grid", kind="numbers", shape=(2, 3)), CATEGORIES],
        {"model": "ft_transformer", "width": 16},
    ),
    "bag": ([WORDS, NUMBERS], {}),
    "text cnn": ([WORDS], {"encoders": {"note": "cnn"}}),
    "text transformer": ([WORDS], {"encoders": {"note": "transformer"}, "width": 16}),
    "log-mel cnn": ([SOUND], {"width": 16}),
    "conformer": ([SOUND], {"encoders": {"clip": "conformer"}, "width": 16}),
    "small cnn": ([PICTURE], {}),
    "resnet18": ([PICTURE], {"encoders": {"photo": "resnet18"}}),
    "vit": ([PICTURE, NUMBERS], {"encoders": {"photo": "vit_tiny"}}),
    "factorisation": ([USER, ITEM], {"model": "matrix_factorisation"}),
    "two towers": ([USER, ITEM, GENRE, AGE], {"model": "two_towers"}),
    "dlrm": ([USER, ITEM, CATEGORIES, NUMBERS], {"model": "dlrm"}),
}


def rows(features: list[NetworkInput], count: int, *, steps: int = 7, seed: int = 0) -> dict[str, torch.Tensor]:
    """Random rows of every tensor, ragged ones of 1 to `steps` steps, zeros behind."""
    draw, made = torch.Generator().manual_seed(seed), dict[str, torch.Tensor]()
    for one in features:
        if one.kind in ("tokens", "steps"):
            length = torch.randint(1, steps + 1, (count,), generator=draw)
            length[0] = steps
            known = torch.arange(steps)[None] < length[:, None]
            if one.kind == "tokens":
                made[one.name] = torch.randint(1, one.codes[0], (count, steps), generator=draw) * known
            else:
                made[one.name] = torch.randn(count, steps, *one.shape, generator=draw) * known.unsqueeze(-1)
            made[f"{one.name}_lengths"] = length
        elif one.kind == "categories":
            made[one.name] = torch.stack([torch.randint(c, (count,), generator=draw) for c in one.codes], dim=1)
        elif one.kind == "entity":
            made[one.name] = torch.randint(one.codes[0], (count,), generator=draw)
        else:
            made[one.name] = torch.randn(count, *one.shape, generator=draw)
    return made


def built(name: str, **more: Any) -> tuple[nn.Module, list[NetworkInput]]:
    features, options = NETWORKS[name]
    torch.manual_seed(1)
    return build_network(features, NetworkOptions(**{**options, **more}), 1), features


@pytest.mark.parametrize("name", NETWORKS)
def test_a_row_is_answered_by_itself(name: str) -> None:
    """Whatever stands beside it, and however far it is padded."""
    network, features = built(name)
    network.eval()
    batch = rows(features, 4)
    with torch.inference_mode():
        together = network(**batch)
        for i in range(4):
            alone = {key: value[i : i + 1] for key, value in batch.items()}
            for one in features:
                if one.kind in ("tokens", "steps"):
                    alone[one.name] = alone[one.name][:, : int(alone[f"{one.name}_lengths"])]
            assert torch.allclose(network(**alone), together[i : i + 1], atol=1e-5)


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n == "resnet18")) for n in NETWORKS])
def test_it_learns(name: str) -> None:
    """The loss on 16 rows falls to less than a half."""
    network, features = built(name, dropout=0.0)
    batch = rows(features, 16, seed=3)
    target = torch.randn(16, 1, generator=torch.Generator().manual_seed(5))
    if "photo" in batch:  # a few steps do not learn noise by heart: is the upper or the lower half brighter?
        upper, lower = batch["photo"].chunk(2, dim=2)
        upper += target[:, :, None, None]
        lower -= target[:, :, None, None]
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3 if "photo" in batch else 1e-2, weight_decay=0.0)
    losses = []
    for _ in range(40):
        loss = nn.functional.mse_loss(network(**batch), target)
        losses.append(float(loss))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimizer.step()
        if losses[-1] < losses[0] / 2:
            return
    pytest.fail(f"{name}: {losses[0]:.3f} to {losses[-1]:.3f}")


@pytest.mark.parametrize("name", NETWORKS)
def test_every_parameter_takes_part(name: str) -> None:
    """A parameter without a gradient stops DDP."""
    network, features = built(name, dropout=0.0)
    network(**rows(features, 32)).square().sum().backward()
    idle = [key for key, value in network.named_parameters() if value.grad is None]
    assert idle == []


def test_an_unknown_entity_gets_what_is_known_of_the_other() -> None:
    network, _ = built("factorisation")
    score = network(user=torch.tensor([0, 0]), item=torch.tensor([3, 4]))
    biases = network.biases[1].weight[[3, 4]]  # type: ignore[union-attr,index]
    assert torch.allclose(score, network.mean + biases)


@pytest.mark.parametrize(
    ("features", "options", "words"),
    [
        ([], {}, "no field"),
        ([WORDS], {"encoders": {"notes": "cnn"}}, "no field 'notes'"),
        ([WORDS], {"encoders": {"note": "resnet18"}}, "bag, cnn, transformer, conformer"),
        ([SOUND], {"encoders": {"clip": "bag"}}, "expected one of cnn"),
        ([NUMBERS], {"encoders": {"numbers": "cnn"}}, "no encoder to choose"),
        ([USER, ITEM, NUMBERS], {"model": "matrix_factorisation"}, "entities alone"),
        ([USER, ITEM, NUMBERS], {"model": "two_towers"}, "tells of neither user nor item"),
        ([NUMBERS], {"model": "dlrm"}, "needs fields of kind entity"),
        ([WORDS], {"kernel": 4, "encoders": {"note": "cnn"}}, "kernel must be odd"),
    ],
)
def test_what_does_not_fit_is_refused(features: list[NetworkInput], options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        build_network(features, NetworkOptions(**options), 1)


def test_networks_differ_in_name_and_kind() -> None:
    """No two of the table above are the same network under another name."""
    shapes = {name: [tuple(p.shape) for p in built(name)[0].parameters()] for name in NETWORKS}
    for one, other in itertools.combinations(shapes, 2):
        assert shapes[one] != shapes[other], (one, other)


@pytest.mark.parametrize("name", ["small cnn", "resnet18", "vit"])
def test_weights_of_a_file_are_taken_but_for_the_answer(name: str) -> None:
    """As `ratchet import-weights` brings them, into a pipeline that asks for other classes."""
    features, options = NETWORKS[name]
    theirs = build_network(features, NetworkOptions(**options), 10)
    ours = build_network(features, NetworkOptions(**options), 3)
    merged, report = match_tensors(ours.state_dict(), load(save(theirs.state_dict())))
    assert report.reshaped == ("head.weight", "head.bias")
    assert report.new == ()
    ours.load_state_dict(merged)
    for (key, mine), given in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert torch.equal(mine, given[: len(mine)] if key.startswith("head.") else given), key

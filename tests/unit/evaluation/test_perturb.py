"""Perturbations change what they say, nothing else, and always the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.evaluation.perturb import PerturbationSpec, check_perturbation, perturb, perturbation_name
from mlratchet.models.sources.record import InputSpec, Split
from pydantic import TypeAdapter, ValidationError

TABLE = InputSpec(kind="table", shape=(3,), dtype="float32", columns=("a", "b", "c"))
IMAGE = InputSpec(kind="image", shape=(1, 6, 6), dtype="float32", value_range=(0.0, 1.0))
TOKENS = InputSpec(kind="tensor", shape=(9,), dtype="int64")


def spec(kind: str, **kw: Any) -> Any:
    return TypeAdapter(PerturbationSpec).validate_python({"kind": kind, **kw})


def rows(kind: InputSpec, n: int = 400) -> Split:
    rng = np.random.default_rng(3)
    if kind is TOKENS:
        x: Any = rng.integers(0, 50, (n, 9)).astype(np.int64)
    elif kind is TABLE:
        x = (rng.normal(size=(n, 3)) * [1.0, 100.0, 0.01] + 5).astype(np.float32)
    else:
        x = rng.random((n, *kind.shape)).astype(np.float32)
    return Split(ids=[str(i) for i in range(n)], x=x, y=np.arange(n), columns={"region": ["eu"] * n})


CASES = [
    (TABLE, spec("gaussian_noise", sigma=0.5)),
    (TABLE, spec("missing_input", columns=["b"])),
    (TABLE, spec("missing_input", fraction=0.3, fill="zero")),
    (TABLE, spec("permute", columns=["a", "c"])),
    (IMAGE, spec("gaussian_noise", sigma=0.2)),
    (IMAGE, spec("brightness", delta=0.3)),
    (IMAGE, spec("contrast", factor=0.4)),
    (IMAGE, spec("shift", pixels=2)),
    (IMAGE, spec("missing_input", fraction=0.1)),
    (TOKENS, spec("token_dropout", fraction=0.2)),
    (TOKENS, spec("token_swap", fraction=0.5)),
    (TOKENS, spec("missing_input", fraction=0.1, fill="zero")),
]


@pytest.mark.parametrize(("kind", "one"), CASES, ids=[perturbation_name(one) for _, one in CASES])
def test_a_perturbation_is_pure_seeded_and_leaves_targets_alone(kind: InputSpec, one: Any) -> None:
    check_perturbation(one, kind, "here")
    before = rows(kind)
    kept = before.x.array.copy()
    after, again = perturb(before, one, kind), perturb(before, one, kind)
    assert np.array_equal(after.x.array, again.x.array)
    assert not np.array_equal(after.x.array, kept)
    assert np.array_equal(before.x.array, kept)
    assert (after.ids, after.columns, after.x.array.dtype, after.x.array.shape) == (
        before.ids,
        before.columns,
        before.x.array.dtype,
        before.x.array.shape,
    )
    assert np.array_equal(after.y, before.y)
    if kind is IMAGE:
        assert after.x.array.min() >= 0
        assert after.x.array.max() <= 1
    other = perturb(before, one.model_copy(update={"seed": 9}), kind)
    random = one.kind not in ("brightness", "contrast") and not getattr(one, "columns", ())
    assert np.array_equal(other.x.array, after.x.array) is not random or one.kind == "permute"


def test_noise_on_a_table_is_in_units_of_each_column() -> None:
    before = rows(TABLE, n=20_000)
    change = perturb(before, spec("gaussian_noise", sigma=0.5), TABLE).x.array - before.x.array
    assert change.std(axis=0) / before.x.array.std(axis=0) == pytest.approx([0.5] * 3, rel=0.03)


def test_missing_columns_hold_their_mean_and_the_others_stay() -> None:
    before = rows(TABLE)
    after = perturb(before, spec("missing_input", columns=["b"]), TABLE).x.array
    assert after[:, 1] == pytest.approx(before.x.array[:, 1].mean(), rel=1e-5)
    assert np.array_equal(after[:, [0, 2]], before.x.array[:, [0, 2]])
    gone = perturb(before, spec("missing_input", fraction=0.25, fill="nan"), TABLE).x.array
    assert np.isnan(gone).mean() == pytest.approx(0.25, abs=0.05)


def test_permuting_keeps_the_columns_values_together() -> None:
    before = rows(TABLE)
    after = perturb(before, spec("permute", columns=["a", "c"]), TABLE).x.array
    assert np.array_equal(after[:, 1], before.x.array[:, 1])
    pairs = {tuple(row) for row in before.x.array[:, [0, 2]]}
    assert {tuple(row) for row in after[:, [0, 2]]} == pairs


def test_a_shift_moves_by_exactly_the_pixels_and_repeats_the_edge() -> None:
    before = rows(IMAGE, n=200)
    after = perturb(before, spec("shift", pixels=2), IMAGE).x.array
    x = before.x.array
    moves = [
        np.concatenate([x[:, :, :1], x[:, :, :1], x[:, :, :-2]], axis=2),
        np.concatenate([x[:, :, 2:], x[:, :, -1:], x[:, :, -1:]], axis=2),
        np.concatenate([x[..., :1], x[..., :1], x[..., :-2]], axis=3),
        np.concatenate([x[..., 2:], x[..., -1:], x[..., -1:]], axis=3),
    ]
    same = np.stack([(after == moved).all(axis=(1, 2, 3)) for moved in moves])
    assert same.any(axis=0).all()
    assert (same.sum(axis=1) > 20).all()  # every direction is drawn


def test_tokens_keep_their_padding() -> None:
    before = rows(TOKENS)
    dropped = perturb(before, spec("token_dropout", fraction=1.0, token=7), TOKENS).x.array
    assert np.array_equal(dropped == 0, before.x.array == 0)
    assert set(np.unique(dropped)) == {0, 7}
    swapped = perturb(before, spec("token_swap", fraction=1.0), TOKENS).x.array
    assert np.array_equal(np.sort(swapped, axis=1), np.sort(before.x.array, axis=1))
    assert np.array_equal(swapped == 0, before.x.array == 0)


def test_names_are_canonical() -> None:
    assert perturbation_name(spec("gaussian_noise", sigma=0.1)) == "gaussian_noise(seed=0,sigma=0.1)"
    assert perturbation_name(spec("permute", columns=["a", "c"], seed=2)) == "permute(columns=a+c,seed=2)"
    names = {perturbation_name(one) for _, one in CASES}
    assert len(names) == len({str(one) for _, one in CASES})


@pytest.mark.parametrize(
    ("kind", "one", "words"),
    [
        (TABLE, spec("brightness", delta=0.1), "needs images"),
        (IMAGE, spec("token_swap", fraction=0.1), "needs integer tokens"),
        (TOKENS, spec("gaussian_noise", sigma=1.0), "needs float values"),
        (TABLE, spec("permute", columns=["d"]), "no input column 'd'; there are: a, b, c"),
        (IMAGE, spec("shift", pixels=6), "leaves nothing"),
        (TOKENS, spec("missing_input", fraction=0.5), "fill must be zero"),
        (TABLE, spec("custom", function="json:dump_"), "did you mean 'dump'"),
    ],
)
def test_what_cannot_be_done_to_an_input_is_refused(kind: InputSpec, one: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        check_perturbation(one, kind, "gates.candidate.2")


@pytest.mark.parametrize(
    "bad", [{"kind": "gaussian_noise", "sigma": 0.0}, {"kind": "missing_input"}, {"kind": "blur"},
            {"kind": "gaussian_noise", "sigma": float("nan")}, {"kind": "shift", "pixels": 1, "angle": 3}]
)  # fmt: skip
def test_a_specification_is_read_strictly(bad: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(PerturbationSpec).validate_python(bad)


def test_a_custom_result_of_another_shape_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="expected float32 of shape"):
        perturb(rows(TABLE), spec("custom", function=f"{__name__}:half"), TABLE)


def half(x: Any, rng: np.random.Generator) -> Any:
    return x[: len(x) // 2]

"""Sketches: the same in any pieces and any order, in constant memory, and back from JSON."""

import json

import numpy as np
import pyarrow as pa
import pytest
from mlratchet.models.monitoring.sketches import (
    NumberSketch,
    ValueSketch,
    VectorSketch,
    merged,
    of,
    sketch_from_json,
)
from mlratchet.models.monitoring.sketches.values import MOST
from mlratchet.models.monitoring.sketches.vectors import SAMPLE


@pytest.mark.parametrize("shift", [0.0, 1.7e9, -40.0])
def test_quantiles_and_moments_of_numbers(shift: float) -> None:
    values = np.random.default_rng(1).normal(0, 3, 50_000) + shift
    found = of(values, "number")
    assert isinstance(found, NumberSketch)
    assert found.mean == pytest.approx(values.mean(), abs=1e-6)
    assert found.deviation == pytest.approx(values.std(), rel=1e-6)
    for level in (0.01, 0.25, 0.5, 0.75, 0.99):
        assert found.quantile(level) == pytest.approx(np.quantile(values, level), abs=0.04 * 3)
    assert (found.minimum, found.maximum) == pytest.approx((values.min(), values.max()))


def test_a_bin_holds_what_lies_between_its_neighbours() -> None:
    found = NumberSketch(centre=10.0, scale=2.0)
    values = np.r_[10.0, 9.999, 10.001, 8.0, 12.0, 1e9, -1e9, 10 + 2 * 0.7, 10 - 2 * 0.7]
    for value in values:
        one = found.like()
        one.update([value])
        assert one.counts.sum() == 1
        place = 10 + 2 * np.clip((value - 10) / 2, -256, 256)
        middle = one.centre + one.scale * _middle(one)
        assert middle == pytest.approx(place, abs=0.02 * abs(place - 10) + 0.01)


def _middle(one: NumberSketch) -> float:
    from mlratchet.models.monitoring.sketches.numbers import MIDDLES_B

    return float(MIDDLES_B[np.flatnonzero(one.counts)[0]])


def test_missing_and_endless_numbers_are_counted() -> None:
    found = of(pa.array([1.0, None, float("nan"), float("inf"), 3.0]), "number")
    assert isinstance(found, NumberSketch)
    assert (found.rows, found.missing, found.infinite, found.n) == (5, 2, 1, 3)
    assert found.mean == 2.0
    assert found.counts.sum() == 3


@pytest.mark.parametrize("kind", ["number", "category", "text", "image"])
def test_pieces_in_any_order_give_the_sketch_of_the_whole(kind: str) -> None:
    rng = np.random.default_rng(3)
    column = {
        "number": pa.array(rng.integers(0, 900, 5000) / 8),  # sums of such are exact
        "category": pa.array(rng.choice(["a", "b", "c", None], 5000).tolist()),
        "text": pa.array(["x" * int(n) for n in rng.integers(1, 40, 5000)]),
        "image": pa.array(rng.normal(size=(5000, 6)).astype(np.float32).tolist(), pa.list_(pa.float32())),
    }[kind]
    whole = of(column, kind)  # type: ignore[arg-type]
    pieces = [of(column.slice(start, 700), kind, like=whole) for start in range(0, 5000, 700)]  # type: ignore[arg-type]
    one, other = merged(pieces), merged(pieces[::-1])
    if isinstance(whole, VectorSketch):  # whose sample depends on where a row stands in its piece
        assert isinstance(one, VectorSketch)
        assert isinstance(other, VectorSketch)
        assert np.array_equal(one.sample, other.sample)
        assert one.sums == pytest.approx(whole.sums)
    else:
        assert one.to_json() == other.to_json() == whole.to_json()


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (np.r_[np.random.default_rng(4).normal(size=300), np.nan, np.inf], "number"),
        (["a", "b", None, "a"], "category"),
        ([f"id {index}" for index in range(3000)], "entity"),
        (np.random.default_rng(5).normal(size=(700, 3)).astype(np.float32), "audio"),
        ([], "number"),
    ],
)
def test_back_from_json(column: object, kind: str) -> None:
    found = of(column, kind)  # type: ignore[arg-type]
    again = sketch_from_json(json.loads(json.dumps(found.to_json(), allow_nan=False)))
    assert again.to_json() == found.to_json()
    assert type(again) is type(found)


def test_a_changed_state_is_refused() -> None:
    state = of([1.0, 2.0], "number").to_json() | {"counts": [7]}
    with pytest.raises(ValueError, match="counts"):
        sketch_from_json(state)
    with pytest.raises(ValueError, match="expected one of numbers, values, vectors"):
        sketch_from_json({"form": "other"})


def test_frequent_values_stay_among_many_others() -> None:
    rng = np.random.default_rng(7)
    many = [f"seldom {index}" for index in range(20_000)]
    values = [*many, *["often"] * 5000, *["also"] * 2000]
    rng.shuffle(values)
    found = ValueSketch()
    for start in range(0, len(values), 3000):
        piece = ValueSketch()
        piece.update(values[start : start + 3000])
        found.merge(piece)
    assert not found.whole
    assert len(found.counts) <= MOST
    assert found.short <= len(values) / MOST
    assert 5000 - found.short <= found.counts["often"] <= 5000
    assert found.buckets.sum() == len(values)


def test_a_sample_of_vectors_is_bounded_and_without_preference() -> None:
    rows = np.linspace(0, 1, 20_000, dtype=np.float32)[:, None]
    found = VectorSketch(size=1)
    for piece in np.array_split(rows, 9):
        found.update(piece)
    assert found.sample.shape == (SAMPLE, 1)
    assert found.sample.mean() == pytest.approx(0.5, abs=3 * 0.29 / np.sqrt(SAMPLE))
    same = VectorSketch(size=1)
    same.update(np.ones((2000, 1)))
    assert len(same.sample) == SAMPLE


def test_a_sample_of_an_earlier_release_stays_as_large_as_it_was() -> None:
    rows = np.random.default_rng(0).normal(size=(3000, 2))
    small = VectorSketch(size=2, most=512)
    small.update(rows)
    state = small.to_json()
    assert "most" not in state  # as it was written
    again = sketch_from_json(state)
    assert again.to_json() == state
    now = again.like()
    now.update(rows)
    assert len(now.sample) == 512  # type: ignore[union-attr]  # of vectors
    large = VectorSketch(size=2)
    large.update(rows)
    assert len(sketch_from_json(large.to_json()).sample) == SAMPLE  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="samples of 512 and 1024"):
        now.merge(large)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="make one `like` the other"):
        merged([of([1.0, 2.0], "number"), of([5.0, 9.0], "number")])
    with pytest.raises(ValueError, match="a sketch of values and one of numbers"):
        merged([of([1.0, 2.0], "number"), of(["a"], "category")])
    with pytest.raises(ValueError, match="of kind number"):
        of(["a word"], "number")


def test_a_prepared_row_that_is_missing_or_of_another_length_is_counted_as_missing() -> None:
    found = of(pa.array([[1.0, 2.0], None, [3.0], [4.0, 5.0]], pa.list_(pa.float32())), "text")
    assert isinstance(found, VectorSketch)
    assert (found.rows, found.missing) == (4, 2)
    assert found.sums.tolist() == [5.0, 7.0]

"""Pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from mlratchet.models.errors import DataError
from mlratchet.models.preparation.base import State
from mlratchet.models.preparation.images import ImageOptions, ImagePreparation
from mlratchet.models.schema.fields import Field
from mlratchet.models.sources.decoding import UnreadableImageError, decode_image

from tests.unit.preparation.examples import picture, png

RNG = np.random.default_rng(0)
PICTURES = [picture(RNG) for _ in range(12)]


def table(files: list[Any]) -> pa.Table:
    where = [f"p/{at}.png" for at in range(len(files))]
    return pa.table({"photo": pa.array(files, pa.binary()), "@where": where})


def fitted(options: dict[str, Any], files: list[Any] = PICTURES, **field: Any) -> tuple[ImagePreparation, State]:
    one = ImagePreparation({"photo": Field(kind="image", **field)}, ImageOptions(height=4, width=5, **options))
    return one, one.fit(lambda: iter([table(files)]))


def decoded(files: list[bytes], channels: int = 3) -> Any:
    return np.stack([decode_image(one, height=4, width=5, channels=channels, where="p") for one in files])


def test_channels_have_mean_0_and_deviation_1() -> None:
    one, state = fitted({})
    pixels = decoded(PICTURES).astype(np.float64)
    mean, deviation = (part[:, None, None] for part in (pixels.mean(axis=(0, 2, 3)), pixels.std(axis=(0, 2, 3))))
    found = one.apply(table(PICTURES), state).array
    assert found == pytest.approx((pixels - mean) / deviation, abs=1e-5)
    assert found.shape == (12, 3, 4, 5)


def test_without_normalising_pixels_run_from_0_to_1() -> None:
    one, state = fitted({"normalise": "none", "channels": 1})
    assert (one.apply(table(PICTURES), state).array == decoded(PICTURES, channels=1)).all()


def test_bytes_are_those_of_the_pictures() -> None:
    one, state = fitted({"normalise": "bytes"})
    found = one.apply(table(PICTURES), state).array
    assert found.dtype == np.uint8
    assert (found.astype(np.float32) / 255 == decoded(PICTURES)).all()
    assert one.tensors(state)[0].dtype == "uint8"


def test_a_channel_of_one_colour_is_0() -> None:
    red = [png(np.full((3, 3, 3), (value, 0, 255), dtype=np.uint8)) for value in (10, 200)]
    one, state = fitted({}, red)
    assert (one.apply(table(red), state).array[:, 1:] == 0).all()


def test_no_picture_is_0() -> None:
    one, state = fitted({}, nullable=True)
    assert (one.apply(table([None, PICTURES[0]]), state).array[0] == 0).all()


def test_a_sample_is_of_the_smallest_digests() -> None:
    few = [fitted({"sample": 5}, order)[1].digest for order in (PICTURES, PICTURES[::-1], PICTURES * 2)]
    assert len(set(few)) == 1
    assert few[0] != fitted({})[1].digest


def test_what_is_no_picture_is_refused_with_its_place() -> None:
    one, state = fitted({}, nullable=True)
    rows = table([PICTURES[0], b"no picture", None, PICTURES[1][:50]])
    with pytest.raises(UnreadableImageError, match=r"^p/1.png: not an image"):
        one.apply(rows, state)
    assert [(one.where, one.code, one.field) for one in one.refused(rows)] == [
        ("p/1.png", "not_an_image", "photo"),
        ("p/3.png", "truncated_image", "photo"),
    ]


def test_a_picture_that_lacks_where_none_may_is_refused() -> None:
    one, state = fitted({})
    with pytest.raises(DataError, match=r"p/0.png: field 'photo' is not given"):
        one.apply(table([None]), state)


def test_a_picture_larger_than_declared_is_refused() -> None:
    one, state = fitted({"normalise": "none", "max_pixels": 10})
    with pytest.raises(UnreadableImageError, match="too many pixels"):
        one.apply(table(PICTURES[:1]), state)

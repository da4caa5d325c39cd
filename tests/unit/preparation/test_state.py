"""The bytes of a state."""

from __future__ import annotations

import numpy as np
import pytest
from mlratchet.models.errors import DataError
from mlratchet.models.preparation.base import State, tensor_name

HELD = State(
    document={"b": [1, 0.1, "ü"], "a": {"x": None}},
    tensors={"z": np.arange(6, dtype=np.int64).reshape(2, 3), "a": np.array(0.5), "none": np.zeros((0, 2), np.uint8)},
)


def test_a_state_is_read_as_it_was_written() -> None:
    again = State.from_bytes(HELD.to_bytes())
    assert again.document == HELD.document
    for name, one in HELD.tensors.items():
        assert (again.tensors[name].dtype, again.tensors[name].shape) == (one.dtype, one.shape)
        assert (again.tensors[name] == one).all()
    assert again.digest == HELD.digest


def test_equal_states_have_equal_bytes_whatever_their_order() -> None:
    other = State(
        document=dict(reversed(HELD.document.items())),
        tensors={name: np.asfortranarray(one) if one.ndim else one for name, one in reversed(HELD.tensors.items())},
    )
    assert other.to_bytes() == HELD.to_bytes()


def test_numbers_that_json_does_not_hold_are_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        State(document={"a": float("nan")}).to_bytes()


@pytest.mark.parametrize("cut", [slice(0), slice(5), slice(20), slice(-1), slice(1, None)])
def test_bytes_that_are_none_are_refused(cut: slice) -> None:
    with pytest.raises(DataError, match=r"state of a preparation: .* fit the preparation again"):
        State.from_bytes(HELD.to_bytes()[cut])


def test_bytes_that_are_written_otherwise_are_refused() -> None:
    from safetensors.numpy import save

    with pytest.raises(DataError, match="state of a preparation"):
        State.from_bytes(save({"a": np.zeros(1)}, metadata={"document": '{"b": 1, "a": 2}'}))
    with pytest.raises(DataError, match="state of a preparation"):
        State.from_bytes(save({"a": np.zeros(1)}))


def test_what_is_made_of_a_state_is_made_once() -> None:
    made: list[int] = []
    assert [HELD.once("length", lambda: made.append(1) or 7) for _ in range(3)] == [7, 7, 7]
    assert made == [1]


@pytest.mark.parametrize(
    ("field", "name"),
    [
        ("user", "user"),
        ("user id", "user_id"),
        ("2nd", "_2nd"),
        ("größe", "größe"),
        ("class", "class_"),
        ("self", "self_"),
        ("ﬁeld²", "field2"),
        ("a-b.c", "a_b_c"),
    ],
)
def test_a_field_has_a_name_that_python_takes(field: str, name: str) -> None:
    assert tensor_name(field) == name

"""Which sketches are near each other: neighbours in several sorted orders, verified, and joined to clusters.

Shape legend: N sketches, P pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

WINDOW = 8  # neighbours behind each that are compared with it
Array = np.ndarray[Any, Any]


def near_pairs(
    keys: Iterable[Array], ties: Array, near: Callable[[Array, Array], Array], *, same_key: bool
) -> tuple[Array, Array]:
    """Pairs (P,), (P,) that `near(ours, theirs)` confirms.

    Args:
        keys: (N,) each: what is near is equal in one of them (`same_key`), or stands side by side in its order.
        ties: (N,) says the order of what is equal, so that the order of the sketches says nothing.
        near: Of pairs of places (P,), (P,): which are.
        same_key: Whether only equal keys are compared.
    """
    ours: list[Array] = []
    theirs: list[Array] = []
    for one in keys:
        order = np.lexsort((ties, one))
        ordered = one[order]
        first = np.searchsorted(ordered, ordered) if same_key else None
        steps = [(np.arange(len(order) - step), np.arange(step, len(order))) for step in range(1, WINDOW + 1)]
        if first is not None:
            behind = np.arange(len(order))
            steps.append((first[behind - first > WINDOW], behind[behind - first > WINDOW]))
        for left, right in steps:
            if not len(left):
                continue
            if same_key:
                equal = ordered[left] == ordered[right]
                left, right = left[equal], right[equal]
            left, right = order[left], order[right]
            found = near(left, right)
            ours.append(left[found])
            theirs.append(right[found])
    nothing = np.empty(0, dtype=np.int64)
    return np.concatenate([*ours, nothing]), np.concatenate([*theirs, nothing])


def joined(count: int, pairs: Iterable[tuple[Array, Array]]) -> Array:
    """The number (N,) of the cluster of each place: whoever is joined by a chain of pairs has the same."""
    from scipy.sparse import coo_array  # a third of a second, that most runs do not need
    from scipy.sparse.csgraph import connected_components

    nothing = np.empty(0, dtype=np.int64)
    found = list(pairs)
    left = np.concatenate([*(one for one, _ in found), nothing])
    right = np.concatenate([*(one for _, one in found), nothing])
    graph = coo_array((np.ones(len(left), dtype=bool), (left, right)), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1])

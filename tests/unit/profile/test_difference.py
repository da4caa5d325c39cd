"""What changed from one dataset to another."""

from __future__ import annotations

import json

import numpy as np
import pytest
from mlratchet.models.profile.difference import DataDifference, difference_of, largest_gap, variation
from mlratchet.models.profile.difference_page import difference_page

from .conftest import Made, Make, shop_row


def between(a: Made, b: Made) -> DataDifference:
    before, after = ((one.manifest, one.layout, one.profile()) for one in (a, b))
    return difference_of(a.store, before, after, snapshots=(a.snapshot, b.snapshot))


def test_equal_datasets_differ_in_nothing(make: Make) -> None:
    rows = [shop_row(number) for number in range(300)]
    found = between(make(rows), make(rows))
    assert (found.added, found.removed, found.changed, found.relabelled, dict(found.moved)) == (0, 0, 0, 0, {})
    assert found.same == 300
    assert {one.distance for one in found.fields} == {0.0}
    assert found.examples == {}


def test_rows_are_added_removed_changed_and_relabelled(make: Make) -> None:
    before = [shop_row(number) for number in range(300)]
    after = [shop_row(number) for number in range(10, 320)]
    after[5] = shop_row(15, price="999")
    after[7] = shop_row(17, returned="yes")
    after[8] = shop_row(18, channel="shop")  # read, checked, and no input
    found = between(make(before), make(after))
    assert (found.added, found.removed, found.changed, found.relabelled) == (20, 10, 2, 1)
    assert found.same == 290 - 3
    named = {kind: {row.id for row in rows} for kind, rows in found.examples.items()}
    assert named["changed"] == {"o15", "o18"}
    assert named["relabelled"] == {"o17"}
    assert named["removed"] == {f"o{number}" for number in range(10)}
    (relabelled,) = found.examples["relabelled"]
    assert relabelled.before.endswith(", no")
    assert relabelled.after.endswith(", yes")
    assert found.classes["yes"] == (75, 78)
    json.dumps(found.document(), allow_nan=False)


def test_rows_that_moved_to_another_side_are_counted_by_the_way(make: Make) -> None:
    rows = [shop_row(number) for number in range(300)]
    found = between(make(rows), make(rows, data="data: {split: {salt: other}}"))
    assert found.changed == found.added == found.removed == 0
    assert sum(found.moved.values()) > 50
    assert all(way.split(" -> ")[0] != way.split(" -> ")[1] for way in found.moved)
    assert found.same == 300 - sum(found.moved.values())


def test_a_field_that_is_distributed_otherwise_comes_first(make: Make) -> None:
    before = [shop_row(number) for number in range(300)]
    after = [shop_row(number, price=f"{number + 200}", land=("CH", "DE")[number % 2]) for number in range(300)]
    found = between(make(before), make(after))
    assert [one.name for one in found.fields][:2] == ["price", "land"]
    land = found.fields[1]
    assert (land.new_words, land.gone_words) == (("CH",), ("AT",))
    assert (found.fields[0].missing_before, found.fields[0].missing_after) == (0.1, 0.0)
    page = difference_page(found, name="shop", a="1", b="2")
    assert "shop: what changed from 1 to 2" in page
    assert "new: CH" in page


def test_delivered_objects_are_compared_by_their_bytes(make: Make) -> None:
    head = "order,land,price,day,note,channel,returned"
    one, two, three = ("\n".join([head, *(shop_row(n) for n in ids), ""]).encode() for ids in (
        range(100), range(100, 200), range(200, 300),
    ))  # fmt: skip
    found = between(make({"a.csv": one, "b.csv": two}), make({"a.csv": one, "b.csv": three, "c.csv": two}))
    assert found.objects is not None
    assert (found.objects.added, found.objects.removed, found.objects.changed) == (("c.csv",), (), ("b.csv",))


def test_distances_are_those_of_the_books() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=500), rng.normal(0.4, 1, size=700)
    from scipy.stats import ks_2samp

    assert largest_gap(a, b) == pytest.approx(ks_2samp(a, b).statistic)
    assert variation({"x": 1, "y": 3}, {"x": 3, "z": 1}) == pytest.approx(0.75)
    assert variation({}, {"x": 1}) == 1.0

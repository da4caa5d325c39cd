"""From which version a champion began is what its decision signed: nobody names rows as seen by adding an ancestor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from mlratchet.models.data.shards import load_split
from mlratchet.models.errors import SecurityError
from mlratchet.models.evaluation.seen import SEEN_COLUMN
from mlratchet.models.identity.canonical import canonical_json
from mlratchet.models.registration.record import Registration, find_registration, registration_key
from mlratchet.tasks.steps.evaluate import evaluate
from mlratchet.tasks.support.beginning import parent_of, refuse_seen_rows

from .conftest import Road, program

pytestmark = pytest.mark.usefixtures("without_pictures")
GOOD, FAIR = (1.0, 1.0, 0.0), (1.0, 0.6, 0.0)


@dataclass
class Family:
    """A version on a split of its own, one that began from it on another, and a run on a third."""

    road: Road
    run: Any
    datasets: dict[str, Any]
    seen: dict[str, set[str]]

    def version(self, salt: str, **more: Any) -> Registration:
        """Trained on the rows of that split."""
        return self.road.version(program(FAIR), dataset_id=self.datasets[salt].id, revision="0" * 64, **more)

    def forge(self, record: Registration, **changes: Any) -> None:
        """As whoever can write to the bucket does."""
        forged = record.model_copy(update=changes).model_dump(mode="json", exclude_unset=True)
        self.road.store.put(registration_key(record.work_key), canonical_json(forged))

    def marked(self, champion: Registration) -> set[str]:
        """Test rows that are left out of a comparison with it."""
        incumbent = find_registration(self.road.store, champion.work_key)
        work = self.road.work(self.datasets["ours"], incumbent)
        found = evaluate.fn(self.run, work, self.datasets["ours"], self.road.trained(GOOD)).evidence().champion
        return {i for i, mark in zip(found.ids, found.columns[SEEN_COLUMN], strict=True) if mark}

    def known(self, *salts: str) -> set[str]:
        """Test rows that are training rows by these splits."""
        test = set(load_split(self.road.store, self.datasets["ours"], "test").ids)
        return test & set().union(*(self.seen[salt] for salt in salts))


@pytest.fixture
def family(road: Road) -> Family:
    datasets, seen = {}, {}
    for salt in ("parent's", "champion's", "another's", "ours"):
        run = road.run("{kind: non_inferiority, metric: accuracy, margin: 0.1}", gate="champion")
        split = run.spec.data.split.model_copy(update={"salt": salt})
        run.spec = run.spec.model_copy(update={"data": run.spec.data.model_copy(update={"split": split})})
        datasets[salt] = road.dataset(run)
        seen[salt] = {i for side in ("train", "validation") for i in load_split(road.store, datasets[salt], side).ids}
    return Family(road, run, datasets, seen)


@pytest.mark.parametrize("champion_before", [True, False])
def test_an_honest_ancestor_is_followed(family: Family, champion_before: bool) -> None:
    parent = family.version("parent's", champion=champion_before)
    champion = family.version("champion's", parent=parent)
    assert family.marked(champion) == family.known("parent's", "champion's") > family.known("champion's")


def test_a_forged_ancestor_is_refused(family: Family) -> None:
    another = family.version("another's")
    champion = family.version("champion's")
    assert family.marked(champion) == family.known("champion's")
    for more in ({}, {"parent_registration": another.digest()}):
        family.forge(champion, parent_version=1, **more)
        with pytest.raises(SecurityError, match=r"it names parent version 1.* the registration was changed") as refused:
            family.marked(champion)
        assert refused.value.exit_code == 6


def test_an_ancestor_that_is_taken_away_is_refused(family: Family) -> None:
    champion = family.version("champion's", parent=family.version("parent's"))
    family.forge(champion, parent_version=None, parent_registration=None)
    with pytest.raises(SecurityError, match=r"it names no parent.* the registration was changed"):
        family.marked(champion)


@pytest.mark.parametrize("champion_before", [True, False])
def test_an_ancestor_that_names_other_rows_is_refused(family: Family, champion_before: bool) -> None:
    """Also one that was never champion, for which no ledger entry speaks: its child names it by digest."""
    parent = family.version("parent's", champion=champion_before)
    champion = family.version("champion's", parent=parent)
    family.forge(parent, dataset_id=family.datasets["another's"].id)
    with pytest.raises(SecurityError, match=r"w1\.json.* registration .*was changed"):
        family.marked(champion)
    grandchild = family.version("another's", parent=champion)
    with pytest.raises(SecurityError, match=r"w1\.json.* registration .*was changed"):
        family.marked(grandchild)


def test_a_version_of_before_registrations_were_named_is_compared_with_as_it_was(family: Family) -> None:
    parent = family.version("parent's", names_registration=False)
    champion = family.version("champion's", parent=parent, names_registration=False)
    assert "parent_registration" in champion.model_fields_set
    both = family.known("parent's", "champion's")
    assert family.marked(champion) == both
    stored = champion.model_dump(mode="json", exclude={"parent_registration"})
    family.road.store.put(registration_key(champion.work_key), canonical_json(stored))
    assert family.marked(champion) == both


def test_a_training_does_not_begin_from_a_changed_registration(family: Family) -> None:
    champion = family.version("champion's")
    family.version("another's")
    family.forge(champion, parent_version=2)
    forged = find_registration(family.road.store, champion.work_key)
    assert forged is not None
    with pytest.raises(SecurityError, match="the registration was changed"):
        parent_of(family.run, 1)
    child = family.version("another's", parent=forged)
    with pytest.raises(SecurityError, match="the registration was changed"):
        refuse_seen_rows(family.run, family.road.work(family.datasets["ours"]), child)

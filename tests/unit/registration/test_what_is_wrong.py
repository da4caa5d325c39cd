"""An object among the registrations that is none ends what has to know them all, with its name and what to do."""

from __future__ import annotations

import pytest
from mlratchet.infra.keys.files import MemoryKeys
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.errors import SecurityError
from mlratchet.models.identity.signed_records import RecordStore
from mlratchet.models.registration.record import list_registrations, readable_registrations


def store_with(*misnamed: str, foreign: str = "") -> RecordStore:
    """One that holds objects that nobody of ours wrote, and a record that another installation signed."""
    beneath = MemoryStore()
    if foreign:
        RecordStore(beneath, MemoryKeys()).create(foreign, b"{}")
    for key in misnamed:
        beneath.put(key, b"{}")
    return RecordStore(beneath, MemoryKeys())


def test_object_that_is_no_registration_is_named_with_the_way_on() -> None:
    deeper, foreign = f"registrations/{'a' * 64}/copy.json", f"registrations/{'b' * 64}.json"
    for store, key, way in (
        (store_with(deeper), deeper, "move it out of registrations/ with an S3 client"),
        (store_with(foreign=foreign), foreign, "put it back from a copy of the bucket"),
    ):
        with pytest.raises(SecurityError) as refused:
            list_registrations(store)
        said = str(refused.value)
        assert (key in said, way in said, "Nothing was done" in said) == (True, True, True), said


def test_each_of_several_is_named_by_whoever_lists_them() -> None:
    keys = ["registrations/old/a.json", "registrations/old/b.json"]
    store = store_with(*keys)
    with pytest.raises(SecurityError, match=r"and 1 more: `ratchet reconcile` names each"):
        list_registrations(store)
    told = sorted(str(one) for one in readable_registrations(store)[1])
    assert [key in line for key, line in zip(keys, told, strict=True)] == [True, True]

"""The command that is told for a version of a bucket does what it says, however the object is called."""

from __future__ import annotations

import shlex

import pytest
from mlratchet.models.erasure.older_versions import told_version
from mlratchet.models.ports.storage import ObjectInfo


@pytest.mark.parametrize("key", ["shop/a.csv", "shop/a'; rm -rf ~ #.csv", "shop/$(id) `id`.csv", "shop/a b.csv"])
def test_a_command_that_is_told_is_one_command_with_the_name_as_it_is(key: str) -> None:
    info = ObjectInfo(key=key, size_bytes=1, etag="", modified_s=0, version="v;1")
    command = told_version("raw", info).partition("keeps it: `")[2].removesuffix("`")
    assert shlex.split(command)[3:] == ["--bucket", "raw", "--key", key, "--version-id", "v;1"]

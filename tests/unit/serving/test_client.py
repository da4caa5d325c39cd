"""What `ratchet predict` makes of a file."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from mlratchet.infra.serving.client import instance_of
from mlratchet.models.errors import DataError


def test_a_json_file_is_the_instance_and_an_image_travels_as_base64(tmp_path: Path) -> None:
    (tmp_path / "row.json").write_text('{"x0": 1.5}')
    (tmp_path / "image.png").write_bytes(b"\x89PNG")
    assert instance_of(tmp_path / "row.json") == {"x0": 1.5}
    assert instance_of(tmp_path / "image.png") == {"image_base64": base64.b64encode(b"\x89PNG").decode()}


@pytest.mark.parametrize(
    ("name", "words"), [("rows.csv", "is a table"), ("bad.json", "not JSON"), ("absent.json", "cannot be read")]
)
def test_what_is_no_instance_says_what_would_be(tmp_path: Path, name: str, words: str) -> None:
    if not name.startswith("absent"):
        (tmp_path / name).write_text("a;b\n1;2\n")
    with pytest.raises(DataError, match=words):
        instance_of(tmp_path / name)

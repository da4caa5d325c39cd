"""The format `image_folder`: the folder that a picture lies in is its class, as in ``cat/1.png``."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from typing import Literal

from mlratchet.models.errors import DataError
from mlratchet.models.sources.base import Example, Fetch, Format, SourceOptions
from mlratchet.models.sources.pieces import PICTURE, RawPiece, examples_as_tables, read_whole
from mlratchet.models.sources.ranged import Open
from mlratchet.models.sources.record import RawObject, Reject


class ImageFolderOptions(SourceOptions):
    """There is nothing to choose: the first folder below the prefix is the class."""

    format: Literal["image_folder"] = "image_folder"


class ImageFolder(Format):
    """Every object below a folder, in key order; its id is its key."""

    name = "image_folder"
    Options = ImageFolderOptions

    def read(self, objects: list[RawObject], fetch: Fetch, *, columns: Sequence[str]) -> Iterator[Example | Reject]:  # noqa: ARG002
        """An example per object; one that lies in no folder is rejected."""
        if columns:
            raise DataError(f"{self.options.prefix}: image_folder has no columns, got {', '.join(columns)}")
        if not any("/" in item.key for item in objects):
            raise DataError(f"{self.options.prefix}: no folder; expected objects named class/file")
        for item in sorted(objects, key=lambda o: o.key):
            folder, _, rest = unicodedata.normalize("NFC", item.key).partition("/")
            if rest:
                yield Example(where=item.key, values={"label": folder}, label=folder, id=item.key, picture=item)
            else:
                yield Reject(
                    where=item.key, code="no_class", reason=f"{item.key}: lies in no folder, expected class/file"
                )

    def tables(
        self, objects: list[RawObject], open_object: Open, columns: Sequence[str] | None = None
    ) -> Iterator[RawPiece | Reject]:
        """The bytes of each picture (`picture`) that can be decoded, and what is known of it."""
        from mlratchet.models.sources.decoding import undecodable

        def fetch(item: RawObject) -> bytes:
            return read_whole(item, open_object)

        unknown = [name for name in columns or () if name not in (PICTURE, "label")]
        named = self.read(objects, fetch, columns=unknown)
        yield from examples_as_tables(named, open_object, check=undecodable)

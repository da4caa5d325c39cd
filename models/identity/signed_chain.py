"""A chain of signed records in a bucket: `<prefix><name>/<number>.json`, numbered from 1, each with the digest of the
one before. What nobody of ours signed is no entry; one that is gone, changed or does not follow is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Generic, TypeVar

from mlratchet.models.config import StrictModel
from mlratchet.models.errors import SecurityError
from mlratchet.models.identity.canonical import canonical_json, digest
from mlratchet.models.identity.signed_records import ForeignRecord, RevokedRecord
from mlratchet.models.identity.stored import stored_document
from mlratchet.models.ports.storage import ObjectNotFound, ObjectStore
from pydantic import Field, ValidationError

Seen = tuple[int, str]  # number and digest of the newest entry that was seen; (0, "") before


class ChainedEntry(StrictModel):
    """What every entry says of its place."""

    name: str
    """Whose chain it is of."""
    number: int = Field(ge=1)
    previous: str
    """SHA-256 hex of the entry before, without who signed it; empty for the first."""

    def digest(self) -> str:
        """SHA-256 hex of the entry, without who signed it."""
        return digest(self.model_dump(mode="json"))


E = TypeVar("E", bound=ChainedEntry)


class SignedChain(Generic[E]):
    """One chain of one bucket."""

    def __init__(self, store: ObjectStore, prefix: str, name: str, kind: type[E], *, what: str) -> None:
        """`store`: a `RecordStore`. `prefix`: the folder of all chains of the kind. `what`: an entry, in words."""
        self._store, self._kind, self._what = store, kind, what
        self._name, self.folder = name, f"{prefix}{name}/"

    def key(self, number: int) -> str:
        """Where an entry is published."""
        return f"{self.folder}{number:08d}.json"

    def keys(self) -> list[str]:
        """Of whatever lies there, in order."""
        return sorted(info.key for info in self._store.list(self.folder))

    def read(self, key: str) -> E:
        """One entry. Raises ``ForeignRecord`` for what nobody of ours signed, ``SecurityError`` for a record of ours
        that is none, or another's."""
        return self.parse(key, stored_document(self._store, key))

    def parse(self, key: str, document: dict[str, Any]) -> E:
        """What a record says that lies there. Raises ``SecurityError`` for one that is none, or another's."""
        where = f"{self._store.bucket}/{key}"
        try:
            found = self._kind.model_validate(document)
        except ValidationError as error:
            raise SecurityError(f"{where}: is not {self._what}; it was changed") from error
        if key != self.key(found.number) or found.name != self._name:
            raise SecurityError(f"{where}: is entry {found.number} of {found.name}; it was changed")
        return found

    def last_of_ours(self) -> E | None:
        """The newest entry that is ours, whatever was planted after it: where the chain goes on."""
        for key in reversed(self.keys()):
            with suppress(ForeignRecord, SecurityError):
                return self.read(key)
        return None

    def create(self, made: E) -> E:
        """Publish an entry under its number. Raises ``ObjectExists`` where another one has it."""
        self._store.create(self.key(made.number), canonical_json(made.model_dump(mode="json")))
        return made

    def entries(self) -> Iterator[E]:
        """All of it, oldest first. Raises ``SecurityError`` at the first that is gone or does not follow,
        ``ForeignRecord`` at one that is nobody's."""
        before = ""
        for number, key in enumerate(self.keys(), start=1):
            if key != self.key(number):
                raise SecurityError(f"{self._store.bucket}/{key}: expected entry {number}; one was removed or added")
            found = self.read(key)
            if found.previous != before:
                raise SecurityError(f"{self._store.bucket}/{key}: does not follow the entry before it")
            before = found.digest()
            yield found

    def problems(self) -> list[str]:
        """What is wrong with it, one line each: entries that are gone, foreign, or do not follow. What a revoked key
        signed is told with all else by that key, and nothing is said of what comes after it."""
        found: list[str] = []
        before = ""
        for number, key in enumerate(self.keys(), start=1):
            where = f"{self._store.bucket}/{key}"
            if key != self.key(number):
                return [*found, f"{where}: expected entry {number}; one was removed or added"]
            try:
                entry = self.read(key)
            except RevokedRecord:
                return found
            except (SecurityError, ForeignRecord, ObjectNotFound) as error:
                return [*found, str(error)]
            if entry.previous != before:
                found.append(f"{where}: does not follow the entry before it")
            before = entry.digest()
        return found

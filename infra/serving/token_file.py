"""The tokens of an installation: digests in a file of the owner alone, read again when it changes."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path

from mlratchet.infra.machine.atomic import write_private
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.nearest import nearest_hint
from mlratchet.models.serving.tokens import SCOPES, Scope, ServingToken, new_token
from pydantic import ValidationError

logger = logging.getLogger(__name__)
FILE, OWN = "serving-tokens.json", "serving-token"
OWN_NAME = "owner"


class TokenFile:
    """Of a home."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._held: tuple[tuple[int, int] | None, dict[str, ServingToken]] = (None, {})

    def tokens(self) -> Mapping[str, ServingToken]:
        """By id. A file that cannot be read holds none: nobody is let in by it."""
        file = self._home / FILE
        try:
            about = file.stat()
            mark = (about.st_mtime_ns, about.st_ino)
            if self._held[0] != mark:
                told = [ServingToken.model_validate_json(json.dumps(one)) for one in json.loads(file.read_text())]
                self._held = mark, {one.id: one for one in told}
        except FileNotFoundError:
            self._held = None, {}
        except (OSError, ValueError) as error:
            logger.error("%s cannot be read, so that no token is taken: %s", file, type(error).__name__)
            self._held = None, {}
        return self._held[1]

    def make(self, name: str, scopes: tuple[Scope, ...]) -> str:
        """A new one; its text is not kept. Raises ``ConfigurationError`` for a name that is taken or none."""
        if any(one.name == name for one in self.tokens().values()):
            raise ConfigurationError(
                f"token {name!r} is there already; `ratchet tokens revoke {name}`, or another name"
            )
        try:
            text, kept = new_token(name, scopes, now_s=time.time())
        except ValidationError as error:
            words = error.errors()[0]["msg"]
            raise ConfigurationError(f"token {name!r}: {words}; letters, digits, `.`, `-`, `_`") from error
        self._write([*self.tokens().values(), kept])
        return text

    def revoke(self, name: str) -> None:
        """Take it no more, within a second. Raises ``ConfigurationError`` for one that there is not."""
        held = list(self.tokens().values())
        kept = [one for one in held if name not in (one.name, one.id)]
        if len(kept) == len(held):
            raise ConfigurationError(f"no token {name!r}; {nearest_hint(name, [one.name for one in held])}")
        self._write(kept)
        if name == OWN_NAME or any(one.id == name and one.name == OWN_NAME for one in held):
            (self._home / OWN).unlink(missing_ok=True)

    def own(self) -> str:
        """The installation's own, with every scope: what its commands ask with. Made at the first need."""
        file = self._home / OWN
        if not file.is_file():
            write_private(file, self.make(OWN_NAME, SCOPES))
        return file.read_text().strip()

    def _write(self, tokens: list[ServingToken]) -> None:
        os.makedirs(self._home, mode=0o700, exist_ok=True)  # noqa: PTH103 - of a home that was never used
        write_private(self._home / FILE, json.dumps([one.model_dump(mode="json") for one in tokens], indent=1))

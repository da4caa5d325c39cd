"""The keys port of a process that verifies and signs nothing."""

from __future__ import annotations

from pathlib import Path

from mlratchet.infra.keys.files import load_trusted
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.identity.signing import Signer, TrustedKeys


class PublicKeyFile:
    """The public list, read anew each time, so that a revocation counts at once."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def signer(self) -> Signer:
        """See the port. Raises ``ConfigurationError``: this process holds no key."""
        raise ConfigurationError("this process holds no private key: it verifies, and signs nothing")

    def trusted(self) -> TrustedKeys:
        """See the port."""
        return load_trusted(self._file)

"""The keys port of the log writer: its own private key, and the public list."""

from __future__ import annotations

from mlratchet.infra.keys.files import load_trusted, read_private, usable
from mlratchet.infra.settings import LogSettings
from mlratchet.models.identity.signing import Signer, TrustedKeys


class LogKeys:
    """Over the settings of the process. The public list is read anew each time."""

    def __init__(self, settings: LogSettings) -> None:
        self._settings = settings
        self._signer: Signer | None = None

    def signer(self) -> Signer:
        """See the port. Raises ``ConfigurationError`` for a key that verifiers would not believe."""
        if self._signer is None:
            file = self._settings.log_key_file
            signer = read_private(file)
            self._signer = usable(signer, self.trusted(), "log", where=str(file))
        return self._signer

    def trusted(self) -> TrustedKeys:
        """See the port."""
        return load_trusted(self._settings.trusted_keys)

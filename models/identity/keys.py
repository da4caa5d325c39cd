"""The keys port: what signs, and whom to believe."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from mlratchet.models.errors import ConfigurationError
from mlratchet.models.identity.signing import Signer, TrustedKeys


@runtime_checkable
class Keys(Protocol):
    """The keys of one installation. Who only verifies never asks for the signer."""

    def signer(self) -> Signer:
        """The pipeline's private key. Raises ``ConfigurationError`` when there is none that may sign now."""
        ...

    def trusted(self) -> TrustedKeys:
        """The public list as it stands now. Raises ``SecurityError`` or ``ConfigurationError``."""
        ...


class PublicKeys:
    """The keys port of a process that only verifies, as a rank does: it was told whom to believe."""

    def __init__(self, trusted: TrustedKeys) -> None:
        self._trusted = trusted

    def signer(self) -> Signer:
        """Raises ``ConfigurationError``: there is none."""
        raise ConfigurationError("this process holds no key; what it found is signed by the one that started it")

    def trusted(self) -> TrustedKeys:
        """See the port."""
        return self._trusted

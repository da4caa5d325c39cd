"""The keys port: what signs, and whom to believe."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

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
